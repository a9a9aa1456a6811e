package policy

import (
	"cmp"
	"fmt"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

// quiet is how long no connection to a VIP may have received anything until it
// counts as left by its clients.
const quiet = 2 * time.Second

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

// DrainMemory is the state of a service's drain.
type DrainMemory struct {
	Step  DrainStep `json:"step,omitempty"`
	Since time.Time `json:"since,omitzero"` // of DrainPrepare, and then of DrainShift
	Sent  time.Time `json:"sent,omitzero"`  // when every Established peer had the shift
}

// drainOf is the drain that a service is under: its own, the node's, or that of a
// service that shares its fate.
func (d *decider) drainOf(s *Service) (Drain, bool) {
	for _, name := range []string{s.Name, ""} {
		if x, ok := d.drainNamed(name); ok {
			return x, true
		}
	}
	if len(d.in.Drains) == 0 {
		return Drain{}, false
	}
	for _, other := range d.companions(s) {
		if x, ok := d.drainNamed(other.Name); ok {
			x.Reason = "together with service " + other.Name + ": " + cmp.Or(x.Reason, noReason)
			return x, true
		}
	}
	return Drain{}, false
}

func (d *decider) drainNamed(name string) (Drain, bool) {
	x, ok := d.in.Drains[name]
	if !ok || !x.Until.IsZero() && !d.in.Now.Before(x.Until) {
		return Drain{}, false
	}
	d.wake(x.Until)
	return x, true
}

const noReason = "no reason given"

// drain makes a service that is to be drained leave, and then be drained. Health
// goes on deciding beneath.
func (d *decider) drain(s *Service, m, prev *ServiceMemory) {
	if _, ok := d.drainOf(s); !ok {
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
	d.watch(s, m.Drain)
}

// walk takes the steps of a drain as far as they are done by now. What nobody has
// from us is drained at once.
func (d *decider) walk(s *Service, m, prev *ServiceMemory) {
	x := &m.Drain
	if x.Step == DrainNone {
		*x = DrainMemory{Step: DrainPrepare, Since: d.in.Now}
	}
	known := d.anyoneHas(s) || len(prev.Announced) > 0 && d.anythingOnItsWay()
	if !m.Disposition.Announces() || !known {
		x.Step = DrainDone
	}
	if x.Step == DrainPrepare {
		if end := x.Since.Add(prepareTime(s)); !d.in.Prepared[s.Name] && d.in.Now.Before(end) {
			d.wake(end)
			return
		}
		*x = DrainMemory{Step: DrainShift, Since: d.in.Now}
	}
	end := x.Since.Add(s.DrainTime)
	for x.Step < DrainDone {
		done, at := d.drainStepDone(s, x)
		if !done && d.in.Now.Before(end) {
			d.wake(at)
			d.wake(end)
			return
		}
		x.Step++
		if !done {
			x.Step = DrainDone
		}
	}
}

// prepareTime is how long a drain waits for pre_drain: a little longer than that may
// take, for whoever should say that it has ended.
func prepareTime(s *Service) time.Duration {
	if s.PreDrain == nil {
		return 0
	}
	return s.PreDrain.Timeout + time.Second
}

func (d *decider) drainStepDone(s *Service, x *DrainMemory) (bool, time.Time) {
	switch x.Step {
	case DrainShift:
		if d.anythingOnItsWay() || !d.shifted(s) {
			return false, time.Time{}
		}
		x.Sent = d.in.Now
		return true, time.Time{}
	case DrainHold:
		end := x.Sent.Add(s.DrainHold)
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
		if end := f.Received.Add(quiet); f.Open > 0 && d.in.Now.Before(end) {
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
func (d *decider) watch(s *Service, x DrainMemory) {
	if x.Step < DrainShift || x.Step > DrainQuiet {
		return
	}
	for _, h := range s.Addresses {
		d.out.Watch = append(d.out.Watch, h.Addr())
	}
}

// drainReason says how far a drain is, and who wants it.
func (d *decider) drainReason(s *Service, x DrainMemory) Reason {
	want, _ := d.drainOf(s)
	r := Reason{Code: CodeDrained, Since: want.Since, Until: want.Until, Detail: cmp.Or(want.Reason, noReason)}
	if want.Actor != "" {
		r.Detail += " (" + want.Actor + ")"
	}
	if x.Step == DrainDone {
		return r
	}
	r.Code, r.Since, r.Until = CodeDraining, x.Since, x.Since.Add(s.DrainTime)
	if x.Step == DrainPrepare {
		r.Until = r.Until.Add(prepareTime(s))
	}
	r.Detail = d.drainProgress(s, x) + "; " + r.Detail
	return r
}

func (d *decider) drainProgress(s *Service, x DrainMemory) string {
	switch x.Step {
	case DrainPrepare:
		return "waiting for pre_drain"
	case DrainShift:
		return "waiting until every peer has the less preferred route"
	case DrainHold:
		return fmt.Sprintf("every peer has the less preferred route; held for drain_hold of %s", s.DrainHold)
	case DrainNone, DrainQuiet, DrainDone:
	}
	receiving := 0
	for _, h := range s.Addresses {
		f := d.in.Flows[h.Addr()]
		if f.Detail != "" {
			return "connections cannot be seen, so drain_time runs out: " + f.Detail
		}
		receiving += f.Open
	}
	return fmt.Sprintf("waiting until no connection receives anything for %s; %d are open", quiet, receiving)
}
