package policy

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

// Decide says what should be, from what is known. It is pure and never fails;
// what cannot be decided stays as it was, with a reason.
func Decide(in Input) Desired {
	d := decider{in: in, memory: Memory{Services: make(map[string]ServiceMemory, len(in.Services)), Routed: map[netip.Addr]time.Time{}, Stop: in.Prev.Stop}}
	d.out.Phase = d.phase()
	if d.out.Phase == Stopping {
		d.stop()
	}
	for _, s := range in.Services {
		d.service(s)
	}
	d.lingering()
	d.sessions()
	d.observe()
	d.finish()
	return d.out
}

// decider carries one decision from one part to the next.
type decider struct {
	in     Input
	out    Desired
	memory Memory
}

// wake asks for another decision at t, the earliest of all such wishes.
func (d *decider) wake(t time.Time) {
	if t.After(d.in.Now) && (d.out.DecideAt.IsZero() || t.Before(d.out.DecideAt)) {
		d.out.DecideAt = t
	}
}

// phase ends Starting once every check that a service needs has its first
// verdict, so that the first UPDATEs and End-of-RIB tell the whole truth.
func (d *decider) phase() Phase {
	if d.in.Phase != Starting {
		return d.in.Phase
	}
	settled := true
	for _, s := range d.in.Services {
		for _, name := range s.Require.Checks() {
			// One that cannot ask keeps its own services back, not the others.
			if lo, hi := d.checkBounds(name); lo != hi && d.in.Now.Before(d.in.Checks[name].PendingUntil) {
				settled = false
			}
		}
	}
	if !settled {
		return Starting
	}
	return Running
}

// service decides one service and remembers it.
func (d *decider) service(s Service) {
	prev := d.in.Prev.Services[s.Name]
	lo, hi := d.bounds(s.Require)
	m, waits := nextMemory(d.in.Now, s.RecoveryDelay, prev, lo, hi)
	d.wake(waits)
	if d.out.Phase == Stopping && m.Disposition.Announces() {
		m.Disposition = d.leaving(prev)
	}
	if m.Disposition != prev.Disposition || prev.Since.IsZero() {
		m.Since = d.in.Now
	}

	dec := Decision{Service: s.Name, Disposition: m.Disposition, Level: m.Level, Since: m.Since, Reasons: d.serviceReasons(s, m)}
	m.Announced = make(map[netip.Addr]bool, len(s.Addresses))
	for _, h := range s.Addresses {
		dec.Addresses = append(dec.Addresses, d.address(s, &m, prev, h.Prefix))
	}
	if m.Disposition.Announces() && len(m.Announced) == 0 {
		dec.withoutAddress()
	}
	d.out.Decisions = append(d.out.Decisions, dec)
	d.memory.Services[s.Name] = m
}

// withoutAddress makes the decision say that a healthy service is announced on
// none of its addresses, and why, although Memory goes on as if it were.
func (dec *Decision) withoutAddress() {
	var reasons []Reason
	for _, a := range dec.Addresses {
		reasons = append(reasons, a.Reasons...)
	}
	if len(reasons) == 0 {
		return // a service without addresses, which Validate refuses
	}
	dec.Disposition = Withdrawn
	for _, r := range reasons {
		if r.Code == CodeAddressUnknown {
			dec.Disposition = Pending
		}
	}
	dec.Reasons = append(reasons, dec.Reasons...)
	if since := reasons[0].Since; !since.IsZero() {
		dec.Since = since
	}
}

// nextMemory is the heart: from what was, and the bounds between which the
// requirement's level must lie, to what should be. Where checks without a
// verdict leave a gap between the bounds, a service that is announced moves as
// little as it must, and one that is not stays where it is: Unknown starts
// nothing and ends nothing. The time returned ends a recovery delay.
func nextMemory(now time.Time, delay time.Duration, prev ServiceMemory, lo, hi vip.Level) (ServiceMemory, time.Time) {
	m := prev
	if !prev.Disposition.Announces() && lo != hi {
		if prev.Disposition != Withdrawn {
			m.Disposition = Pending
		}
		m.Level, m.RecoverAt = lo, time.Time{}
		return m, time.Time{}
	}
	m.Level = min(max(prev.Level, lo), hi)
	if m.Level == vip.LevelFail {
		m.Disposition, m.Failed, m.RecoverAt = Withdrawn, true, time.Time{}
		return m, time.Time{}
	}
	if m.Failed {
		if end := now.Add(delay); m.RecoverAt.IsZero() || end.Before(m.RecoverAt) { // a reload may have shortened it
			m.RecoverAt = end
		}
		if now.Before(m.RecoverAt) {
			m.Disposition = Recovering
			return m, m.RecoverAt
		}
	}
	m.Failed, m.RecoverAt = false, time.Time{}
	m.Disposition = Announced
	if m.Level == vip.LevelDegraded {
		m.Disposition = Degraded
	}
	return m, time.Time{}
}

// address decides one VIP: whether it should be on this host, whether it is
// announced, and what each peer has.
func (d *decider) address(s Service, m *ServiceMemory, prev ServiceMemory, p netip.Prefix) AddressDecision {
	a := AddressDecision{Prefix: p}
	if d.memory.Stop.Step < StopRemove && (s.WhenWithdrawn == Keep || m.Disposition.Announces()) {
		d.out.Addresses = append(d.out.Addresses, p.Addr())
	}
	if !m.Disposition.Announces() {
		return a
	}
	if r, ok := d.addressUsable(p.Addr(), prev.Announced[p.Addr()]); !ok {
		a.Reasons = []Reason{r}
		return a
	}
	a.Wanted, m.Announced[p.Addr()] = true, true
	ann := s.ECMP.announcement(p, m.Level)
	if m.Disposition == Leaving {
		ann = leavingAnnouncement(ann)
	}
	d.out.Announcements = append(d.out.Announcements, ann)
	a.SentTo, a.Reasons = d.reach(ann)
	return a
}

const (
	addressGrace   = 100 * time.Millisecond // an announced address may be away this long
	unstableLosses = 5                      // losses within unstableWindow that end trust in an address
	unstableWindow = 10 * time.Second
)

// addressUsable says whether an announcement may rest on the address: it is
// present, or was announced and is away for a moment, and is not being taken
// away again and again.
func (d *decider) addressUsable(addr netip.Addr, announced bool) (Reason, bool) {
	f := d.in.Addresses[addr]
	r := Reason{Subject: addr.String(), Detail: f.Detail, Since: f.Since}
	if n := len(f.Lost); n >= unstableLosses {
		if until := f.Lost[n-unstableLosses].Add(unstableWindow); d.in.Now.Before(until) {
			d.wake(until)
			r.Code, r.Until = CodeAddressUnstable, until
			r.Detail = "someone keeps removing it from this host; find out who"
			return r, false
		}
	}
	switch f.State {
	case vip.AddressPresent:
		return Reason{}, true
	case vip.AddressUnknown:
		r.Code = CodeAddressUnknown
	case vip.AddressAbsent:
		r.Code = CodeAddressAbsent
	case vip.AddressTentative:
		r.Code = CodeAddressTentative
	case vip.AddressRefused:
		r.Code = CodeAddressRefused
		return r, false
	}
	until := f.Since.Add(addressGrace)
	if announced && d.in.Now.Before(until) {
		d.wake(until)
		return Reason{}, true
	}
	return r, false
}

// reach says which peers have exactly this announcement, and why the others
// do not.
func (d *decider) reach(ann vip.Announcement) (sent []string, why []Reason) {
	if len(d.in.Peers) == 0 {
		return nil, []Reason{{Code: CodeNoPeer, Detail: "bgp.peers is empty, so nobody hears of it"}}
	}
	if d.out.Phase == Starting {
		return nil, []Reason{{Code: CodeStarting, Detail: "the first round of checks is not over"}}
	}
	for _, p := range d.in.Peers {
		r, ok := d.takes(p, ann.Prefix)
		if ok {
			if got, there := d.in.Sent[p.Name][ann.Prefix]; there && got.Equal(ann) {
				sent = append(sent, p.Name)
				continue
			}
			r = Reason{Code: CodeNotSent, Subject: p.Name}
		}
		why = append(why, r)
	}
	slices.Sort(sent)
	return sent, why
}

// takes says whether a route for prefix can be sent to p at all.
func (d *decider) takes(p Peer, prefix netip.Prefix) (Reason, bool) {
	s := d.in.Sessions[p.Name]
	if s.State != vip.Established {
		detail := s.Detail
		if detail == "" {
			detail = "the session is in state " + s.State.String()
		}
		return Reason{Code: CodeSessionDown, Subject: p.Name, Detail: detail, Since: s.Since}, false
	}
	family := vip.FamilyOf(prefix.Addr())
	if !slices.Contains(s.Families, family) {
		return Reason{Code: CodeFamilyMissing, Subject: p.Name, Since: s.Since, Detail: familyAdvice(family, s)}, false
	}
	if family == vip.IPv6 && s.Remote.Is4() && !d.nextHop6(p).IsValid() {
		return Reason{Code: CodeNoNextHop6, Subject: p.Name,
			Detail: "the session's interface has no global IPv6 address; add one, or set next_hop6 for this peer"}, false
	}
	return Reason{}, true
}

func familyAdvice(f vip.Family, s vip.Session) string {
	if f == vip.IPv4 && s.Remote.Is6() {
		return "IPv4 over an IPv6 session needs extended next hops (RFC 8950) there, or add an IPv4 session"
	}
	return "the peer did not negotiate " + f.String() + "; activate it for this neighbour there"
}

// nextHop6 is the next hop of IPv6 VIPs on an IPv4 session: what the file says,
// or the global IPv6 address of the link that has the session's local address.
func (d *decider) nextHop6(p Peer) netip.Addr {
	if p.NextHop6.IsValid() {
		return p.NextHop6
	}
	local := d.in.Sessions[p.Name].Local
	for _, l := range d.in.Links {
		if !slices.ContainsFunc(l.Prefixes, func(q netip.Prefix) bool { return q.Addr() == local }) {
			continue
		}
		for _, q := range l.Prefixes {
			if a := q.Addr(); a.Is6() && a.IsGlobalUnicast() {
				return a
			}
		}
	}
	return netip.Addr{}
}

func (d *decider) sessions() {
	for _, p := range d.in.Peers {
		w := SessionWant{Peer: p.Name, NextHop6: d.nextHop6(p)}
		switch d.out.Phase {
		case Running:
			w.Up = true
		case Stopping, Stopped:
			w.Up = d.memory.Stop.Step < StopCease
			w.Text = "anyvip: agent stops"
		case Starting:
		}
		d.out.Sessions = append(d.out.Sessions, w)
	}
}

func (d *decider) observe() {
	for name, c := range d.in.Checks {
		d.out.Observe = append(d.out.Observe, Observe{Check: name, Fast: c.Pending})
	}
	slices.SortFunc(d.out.Observe, func(a, b Observe) int { return cmp.Compare(a.Check, b.Check) })
}

func (d *decider) finish() {
	slices.SortFunc(d.out.Announcements, func(a, b vip.Announcement) int { return comparePrefix(a.Prefix, b.Prefix) })
	slices.SortFunc(d.out.Addresses, netip.Addr.Compare)
	d.out.Memory = d.memory
	if d.memory.Stop.Step == StopDone {
		d.out.Phase = Stopped
	}
}

func comparePrefix(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}
