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
	d := decider{in: in, memory: Memory{Services: make(map[string]*ServiceMemory, len(in.Services)), Routed: map[netip.Addr]time.Time{}, Stop: in.Prev.Stop}}
	d.out.Phase = d.phase()
	if d.out.Phase == Stopping {
		d.stop()
	}
	d.sessions()
	d.ways[vip.IPv4], d.ways[vip.IPv6] = d.waysOf(vip.IPv4), d.waysOf(vip.IPv6)
	d.room()
	d.leased()
	d.refuses = anyRefused(in.Leases)
	for i := range in.Services {
		d.service(&in.Services[i])
	}
	d.lingering()
	d.defaults()
	d.observe()
	d.finish()
	return d.out
}

// decider carries one decision from one part to the next.
type decider struct {
	in      Input
	out     Desired
	memory  Memory
	ways    [vip.IPv6 + 1][]way   // by family: to each peer, in the order of Input.Peers
	refers  *graph                // nil: nobody has asked
	best    vip.Level             // of the service that is decided: what it can be at best
	lease   map[netip.Addr]string // addresses that virtual routers bring here, and to which link
	refuses bool                  // an address of a virtual router may not be on this host
	odd     bool                  // a check that was looked at is not simply passing
	here    int                   // VIPs that are wanted on this host and are known there

	remembered []ServiceMemory   // room for those of the services to come
	addressed  []AddressDecision // likewise
	announced  []Reason          // likewise: the one reason of each that is simply announced
	sent       []string          // the last VIP's list of peers that have it: most VIPs share one
	scratch    []string          // reach's, so that not every VIP allocates one
	before     struct {          // wasAnnounced's
		of  *ServiceMemory
		set map[netip.Addr]bool
	}
}

// room is made once for what each VIP adds to, and for what each service does.
func (d *decider) room() {
	n := 0
	for i := range d.in.Services {
		s := &d.in.Services[i]
		n += len(s.Addresses)
		if s.Fallback != nil {
			n += len(s.Addresses) // once more, on its segment
		}
	}
	d.remembered = make([]ServiceMemory, len(d.in.Services))
	d.addressed = make([]AddressDecision, n)
	d.announced = make([]Reason, len(d.in.Services))
	d.out.Addresses = make([]netip.Addr, 0, n)
	d.out.Announcements = make([]vip.Announcement, 0, n)
	d.out.Decisions = make([]Decision, 0, len(d.in.Services))
}

// wake asks for another decision at t, the earliest of all such wishes.
func (d *decider) wake(t time.Time) {
	if t.After(d.in.Now) && (d.out.DecideAt.IsZero() || t.Before(d.out.DecideAt)) {
		d.out.DecideAt = t
	}
}

// phase ends Starting once every check that a service needs has its first
// verdict, so that the first UPDATEs and End-of-RIB tell the whole truth. One that
// takes its time, or has none in time, keeps its own services back, not the others.
func (d *decider) phase() Phase {
	if d.in.Phase != Starting {
		return d.in.Phase
	}
	settled := true
	for i := range d.in.Services {
		for _, l := range d.leaves(&d.in.Services[i]) {
			c := d.in.Checks[l.check]
			if lo, hi := d.checkBounds(l.check, l.floor); lo != hi && d.in.Now.Before(c.PendingUntil) && !c.TakesTime {
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
func (d *decider) service(s *Service) {
	prev, m := d.in.Prev.Services[s.Name], &d.remembered[0]
	d.remembered = d.remembered[1:]
	if prev == nil {
		prev = new(ServiceMemory)
	}
	s = d.withDelaysOfGroup(s)
	d.odd = false
	lo, hi := d.serviceBounds(s)
	d.best = hi
	*m = *prev
	if s.Fallback == nil {
		m.Fallback = FallbackMemory{} // a reload may have taken it away
	}
	d.wake(m.next(&d.in, d.out.Phase, s, lo, hi))
	d.drain(s, m, prev)
	if d.out.Phase == Stopping && m.Disposition.Announces() {
		m.Disposition = d.leaving(prev)
	}
	grow(d.in.Now, m, prev)
	if m.Disposition != prev.Disposition || prev.Since.IsZero() {
		m.Since = d.in.Now
	}

	dec := Decision{Service: s.Name, Disposition: m.Disposition, Level: m.Level, Since: m.Since, Reasons: d.serviceReasons(s, m)}
	if s.Mode == ModeVRRP {
		d.vrrp(s, m, dec)
		return
	}
	dec.Addresses = d.addresses(s, m, prev)
	dec.Drain = d.drainProgress(s, m)
	m.Announced = announcedAddresses(dec.Addresses, prev.Announced)
	if m.Disposition.Announces() && len(m.Announced) == 0 {
		dec.withoutAddress()
	}
	if s.Fallback != nil {
		d.fallback(s, m, &dec)
	}
	d.out.Decisions = append(d.out.Decisions, dec)
	d.memory.Services[s.Name] = m
}

// vrrp is the rest of a decision in mode vrrp.
func (d *decider) vrrp(s *Service, m *ServiceMemory, dec Decision) {
	d.refused(s, m)
	dec.Addresses = d.routers(s, m)
	dec.Drain = d.drainProgress(s, m)
	dec.standby(d, s, m)
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

// observe asks for more probes of checks whose verdict is about to change.
func (d *decider) observe() {
	for name, c := range d.in.Checks {
		if c.Pending {
			d.out.Fast = append(d.out.Fast, name)
		}
	}
	slices.Sort(d.out.Fast)
}

func (d *decider) finish() {
	slices.SortFunc(d.out.Announcements, func(a, b vip.Announcement) int { return comparePrefix(a.Prefix, b.Prefix) })
	slices.SortFunc(d.out.Addresses, netip.Addr.Compare)
	d.out.Leased = d.lease
	slices.SortFunc(d.out.Watch, netip.Addr.Compare)
	d.out.Memory = d.memory
	if d.memory.Stop.Step == StopDone {
		d.out.Phase = Stopped
	}
}

func comparePrefix(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}
