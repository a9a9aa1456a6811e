package policy

import (
	"cmp"
	"fmt"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

// DrainStep is how far the drain of one service has come.
type DrainStep uint8

// The steps, in their order.
const (
	DrainNone    DrainStep = iota
	DrainPrepare           // announced as before; waiting for pre_drain
	DrainShift             // announced with GRACEFUL_SHUTDOWN; waiting until every Established peer has that
	DrainHold              // every peer has it: new connections go elsewhere
	DrainQuiet             // waiting until no connection receives anything
	DrainDone              // withdrawn
)

var drainStepNames = [...]string{"none", "prepare", "shift", "hold", "quiet", "done"}

func (s DrainStep) String() string { return drainStepNames[s] }

// watches says whether the connections are looked at in a step.
func (s DrainStep) watches() bool { return s >= DrainShift && s <= DrainQuiet }

// DrainMemory is the state of a service's drain.
type DrainMemory struct {
	Step  DrainStep `json:"step,omitempty"`
	Since time.Time `json:"since,omitzero"` // of Step
	Begun time.Time `json:"begun,omitzero"` // when DrainPrepare began, and then DrainShift: drain_time counts from there

	Elected bool `json:"elected,omitempty"` // virtual routers were the way to it, and no routes
}

// to begins a step.
func (x *DrainMemory) to(step DrainStep, now time.Time) {
	x.Step, x.Since = step, now
	if step <= DrainShift {
		x.Begun = now
	}
}

// DrainProgress is how far the drain of one service has come, and who wants it.
type DrainProgress struct {
	Step      DrainStep
	Since     time.Time // of Step
	Service   string    // whose drain it is: the service's own, the node's, which has no name, or that of one that shares its fate
	Drain     Drain     // what was asked for
	Routed    bool      // an Established peer still has a route of it
	Counted   bool      // Open and Receiving are known
	Open      int       // connections to the VIPs
	Receiving int       // of them, those that received data in the last vip.Quiet

	WithdrawnBy time.Time // when the route is withdrawn at the latest; zero: it is
}

// InForce says whether a drain holds: its end has not come.
func (x Drain) InForce(now time.Time) bool { return x.Until.IsZero() || now.Before(x.Until) }

// drainOf is the drain that a service is under, and whose that is: its own, the
// node's, which is that of the empty name, or that of a service that shares its fate.
func (d *decider) drainOf(s *Service) (want Drain, of string, ok bool) {
	if len(d.in.Drains) == 0 {
		return Drain{}, "", false
	}
	names := []string{s.Name, ""}
	for _, other := range d.companions(s) {
		names = append(names, other.Name)
	}
	for _, of := range names {
		if want, ok := d.in.Drains[of]; ok && want.InForce(d.in.Now) {
			d.wake(want.Until)
			return want, of, true
		}
	}
	return Drain{}, "", false
}

// drain makes a service that is to be drained leave, and then be drained. Health
// goes on deciding beneath.
func (d *decider) drain(s *Service, m, prev *ServiceMemory) {
	if _, _, ok := d.drainOf(s); !ok {
		m.Drain = DrainMemory{}
		return
	}
	d.walk(s, m, prev)
	switch m.Drain.Step {
	case DrainPrepare:
		d.out.Prepare = append(d.out.Prepare, s.Name)
	case DrainDone:
		m.Disposition = Drained
	case DrainShift, DrainHold, DrainQuiet, DrainNone:
		m.Disposition = Leaving
	}
	d.watch(s, m)
}

// walk takes the steps of a drain as far as they are done by now. What nobody has
// from us is drained at once.
func (d *decider) walk(s *Service, m, prev *ServiceMemory) {
	x := &m.Drain
	if x.Step == DrainNone {
		x.to(DrainPrepare, d.in.Now)
	}
	if x.Elected && !m.elected(s) && x.Step.watches() { // its routes are the way again, and leave as any others
		x.to(DrainShift, d.in.Now)
	}
	x.Elected = m.elected(s)
	known := d.answers(s) || d.anyoneHas(s) || len(prev.Announced) > 0 && d.anythingOnItsWay()
	if x.Step != DrainDone && (!m.Disposition.Announces() || !known) {
		x.to(DrainDone, d.in.Now)
	}
	if x.Step == DrainPrepare {
		if done, end := d.prepared(s, x); !done {
			d.wake(end)
			return
		}
		x.to(DrainShift, d.in.Now)
	}
	end := x.Begun.Add(s.DrainTime)
	for x.Step < DrainDone {
		done, at := d.drainStepDone(s, m)
		if !done && m.elected(s) {
			return // however long: nobody else has the addresses
		}
		if !done && d.in.Now.Before(end) {
			d.wake(at)
			d.wake(end)
			return
		}
		next := x.Step + 1
		if !done {
			next = DrainDone
		}
		x.to(next, d.in.Now)
	}
}

// prepared says whether pre_drain has ended, of all services that are Active together:
// the addresses of one go with those of the others.
func (d *decider) prepared(s *Service, x *DrainMemory) (bool, time.Time) {
	members := []*Service{s}
	if p := d.partyOf(s); p != nil {
		members = p.members
	}
	for _, o := range members {
		if end := x.Begun.Add(prepareTime(o)); !d.in.Prepared[o.Name] && d.in.Now.Before(end) {
			return false, end
		}
	}
	return true, time.Time{}
}

// prepareTime is how long a drain waits for pre_drain: a little longer than that may
// take, for whoever should say that it has ended.
func prepareTime(s *Service) time.Duration {
	if s.PreDrain == nil {
		return 0
	}
	return s.PreDrain.Timeout + time.Second
}

// elected says whether a service is reached through its virtual routers now.
func (m *ServiceMemory) elected(s *Service) bool {
	return s.Mode == ModeVRRP || m.Fallback.On && !m.Fallback.Lost.IsZero()
}

func (d *decider) drainStepDone(s *Service, m *ServiceMemory) (bool, time.Time) {
	x := &m.Drain
	if m.elected(s) { // its router sees to a successor
		return x.Step != DrainHold || !d.answers(s), time.Time{}
	}
	switch x.Step {
	case DrainShift:
		return !d.anythingOnItsWay() && d.shifted(s), time.Time{}
	case DrainHold:
		end := x.Since.Add(s.DrainHold)
		return !d.in.Now.Before(end), end
	case DrainQuiet:
		return d.isQuiet(s)
	case DrainNone, DrainPrepare, DrainDone:
	}
	return true, time.Time{}
}

// anyoneHas says whether an Established peer has a route of the service.
func (d *decider) anyoneHas(s *Service) bool {
	for peer, sent := range d.in.Sent {
		if d.in.Sessions[peer].State != vip.Established {
			continue
		}
		for _, h := range s.Addresses {
			if _, ok := sent[h.Prefix]; ok {
				return true
			}
		}
	}
	return false
}

// shifted says whether what Established peers have of the service carries
// GRACEFUL_SHUTDOWN.
func (d *decider) shifted(s *Service) bool {
	for peer, sent := range d.in.Sent {
		if d.in.Sessions[peer].State != vip.Established {
			continue
		}
		for _, h := range s.Addresses {
			if a, ok := sent[h.Prefix]; ok && !isLeaving(a) {
				return false
			}
		}
	}
	return true
}

// isQuiet says whether no connection to the service has received anything for a
// while. What cannot be seen is not quiet: it has until drain_time.
func (d *decider) isQuiet(s *Service) (bool, time.Time) {
	var next time.Time
	for _, h := range s.Addresses {
		f, known := d.in.Flows[h.Addr()]
		if !known || f.Detail != "" {
			return false, time.Time{}
		}
		if end := f.Received.Add(vip.Quiet); f.Open > 0 && d.in.Now.Before(end) {
			next = later(next, end)
		}
	}
	return next.IsZero(), next
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// watch asks for the connections of a service that leaves: they decide when the
// drain goes on.
func (d *decider) watch(s *Service, m *ServiceMemory) {
	if !m.Drain.Step.watches() || m.elected(s) {
		return
	}
	for _, h := range s.Addresses {
		d.out.Watch = append(d.out.Watch, h.Addr())
	}
}

// drainProgress is what Decision says of a drain; nil without one.
func (d *decider) drainProgress(s *Service, m *ServiceMemory) *DrainProgress {
	x := m.Drain
	if x.Step == DrainNone {
		return nil
	}
	p := &DrainProgress{Step: x.Step, Since: x.Since, WithdrawnBy: d.withdrawnBy(s, m), Routed: d.anyoneHas(s)}
	p.Drain, p.Service, _ = d.drainOf(s)
	if c, counted, _ := d.connections(s, x); counted {
		p.Counted, p.Open, p.Receiving = true, c.Open, c.Receiving
	}
	return p
}

// withdrawnBy is when a drain withdraws the route at the latest; zero: it has.
func (d *decider) withdrawnBy(s *Service, m *ServiceMemory) time.Time {
	x := m.Drain
	if m.elected(s) {
		return time.Time{}
	}
	switch x.Step {
	case DrainPrepare:
		return x.Begun.Add(prepareTime(s) + s.DrainTime)
	case DrainShift, DrainHold, DrainQuiet:
		return x.Begun.Add(s.DrainTime)
	case DrainNone, DrainDone:
	}
	return time.Time{}
}

// connections counts those to all addresses of a service whose drain watches them.
// counted is false before the first look, and while they cannot be seen, which detail
// explains.
func (d *decider) connections(s *Service, x DrainMemory) (sum vip.Flows, counted bool, detail string) {
	if !x.Step.watches() {
		return sum, false, ""
	}
	for _, h := range s.Addresses {
		f, known := d.in.Flows[h.Addr()]
		if !known || f.Detail != "" {
			return vip.Flows{}, false, f.Detail
		}
		sum.Open += f.Open
		sum.Receiving += f.Receiving
	}
	return sum, true, ""
}

// drainReason says how far a drain is, and who wants it.
func (d *decider) drainReason(s *Service, m *ServiceMemory) Reason {
	x := m.Drain
	want, of, _ := d.drainOf(s)
	r := Reason{Code: CodeDrained, Since: want.Since, Until: want.Until, Detail: cmp.Or(want.Reason, "no reason given")}
	if of != "" && of != s.Name {
		r.Detail = "together with service " + of + ": " + r.Detail
	}
	if want.Actor != "" {
		r.Detail += " (" + want.Actor + ")"
	}
	if x.Step == DrainDone {
		return r
	}
	r.Code, r.Since, r.Until = CodeDraining, x.Begun, d.withdrawnBy(s, m)
	r.Detail = d.drainWaits(s, m) + "; " + r.Detail
	return r
}

// drainWaits says what a drain waits for.
func (d *decider) drainWaits(s *Service, m *ServiceMemory) string {
	x := m.Drain
	switch x.Step {
	case DrainPrepare:
		return "waiting for pre_drain"
	case DrainShift:
		return "waiting until every peer has the less preferred route"
	case DrainHold:
		if m.elected(s) {
			return "waiting for another router to take over"
		}
		return fmt.Sprintf("every peer has the less preferred route; held for drain_hold of %s", s.DrainHold)
	case DrainNone, DrainQuiet, DrainDone:
	}
	c, counted, detail := d.connections(s, x)
	text := fmt.Sprintf("waiting until no connection receives anything for %s", vip.Quiet)
	switch {
	case detail != "":
		return "connections cannot be seen, so drain_time runs out: " + detail
	case counted:
		return fmt.Sprintf("%s; %d of %d connections still receive", text, c.Receiving, c.Open)
	}
	return text
}
