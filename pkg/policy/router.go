package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

// RouterStance is how far a virtual router takes part in its election.
type RouterStance uint8

// The stances.
const (
	RouterOut  RouterStance = iota // not at all
	RouterLast                     // only as long as no other router does: drained
	RouterIn                       // as any other
)

var routerStanceNames = [...]string{"out", "last", "in"}

func (s RouterStance) String() string { return routerStanceNames[s] }

// RouterWant is a virtual router that is wanted.
type RouterWant struct {
	Name     string // unique: the service's, and its family where it has both
	Service  string
	Link     vip.Link
	Source   netip.Addr
	Config   *VRRP
	Priority uint8
	Listed   []netip.Addr
	Rides    []netip.Addr
	Stance   RouterStance
}

// routers decides the virtual routers of a service: one for each family.
func (d *decider) routers(s *Service, m *ServiceMemory) []AddressDecision {
	stance := d.stanceOf(m)
	priority := d.priority(s, m)
	out := d.addressed[:len(s.Addresses):len(s.Addresses)]
	d.addressed = d.addressed[len(s.Addresses):]
	for _, f := range []vip.Family{vip.IPv4, vip.IPv6} {
		listed, rides := s.listed(f)
		if len(listed) == 0 {
			continue
		}
		w := RouterWant{Name: s.routerName(f), Service: s.Name, Config: &s.VRRP, Priority: priority, Listed: listed, Rides: rides, Stance: stance}
		why, ok := d.place(s, &w, f)
		if !ok {
			w.Stance = RouterOut
		}
		if w.Link.Name != "" && w.Source.IsValid() {
			d.out.Routers = append(d.out.Routers, w)
		}
		for i, h := range s.Addresses {
			if vip.FamilyOf(h.Addr()) != f {
				continue
			}
			out[i] = d.routed(h.Prefix, d.in.Routers[w.Name])
			if !ok {
				out[i].Reasons = []Reason{why}
			}
		}
	}
	return out
}

// routerName is the name of the service's virtual router of a family.
func (s *Service) routerName(f vip.Family) string {
	if both := slices.ContainsFunc(s.Addresses, func(h HostPrefix) bool { return vip.FamilyOf(h.Addr()) != f }); both {
		return s.Name + "/" + f.String()
	}
	return s.Name
}

// stanceOf is how far the routers of a service take part.
func (d *decider) stanceOf(m *ServiceMemory) RouterStance {
	switch {
	case d.out.Phase != Running:
		return RouterOut
	case m.Disposition == Drained:
		return RouterLast
	case m.Disposition.Announces():
		return RouterIn
	}
	return RouterOut
}

// place finds the link and the source of a virtual router, and says why it cannot
// take part.
func (d *decider) place(s *Service, w *RouterWant, f vip.Family) (Reason, bool) {
	name := s.VRRP.Interface
	i := slices.IndexFunc(d.in.Links, func(l vip.Link) bool { return l.Name == name })
	r := Reason{Code: CodeLink, Subject: name}
	if len(d.in.Links) == 0 {
		return Reason{Code: CodeAddressUnknown, Subject: name, Detail: "this host was not looked at yet"}, false
	}
	if i < 0 {
		r.Detail = "there is no link " + name + " on this host"
		return r, false
	}
	l := d.in.Links[i]
	w.Link = vip.Link{Name: l.Name, Index: l.Index}
	w.Source = sourceOn(l, f, len(s.VRRP.UnicastPeers) > 0)
	switch {
	case !l.Up:
		r.Detail = "the link " + name + " is down"
		return r, false
	case !w.Source.IsValid() && f == vip.IPv6 && len(s.VRRP.UnicastPeers) == 0:
		r.Detail = name + " has no IPv6 link-local address to advertise from: enable IPv6 there"
		return r, false
	case !w.Source.IsValid():
		r.Detail = fmt.Sprintf("%s has no %s address of its own to advertise from", name, f)
		return r, false
	}
	for _, a := range append(slices.Clip(w.Listed), w.Rides...) {
		owns := slices.ContainsFunc(l.Prefixes, func(p netip.Prefix) bool { return p.Addr() == a })
		switch {
		case s.VRRP.Priority == ownerPriority && !owns:
			return Reason{Code: CodeNotOwner, Subject: a.String(), Detail: "priority 255 is for the host that owns it, and it is not on " + name + "; use 254 or less"}, false
		case !owns && !a.IsLinkLocalUnicast() && !slices.ContainsFunc(l.Prefixes, func(p netip.Prefix) bool { return p.Contains(a) }) && !s.offSegment(a):
			return Reason{Code: CodeOffSegment, Subject: a.String(), Detail: fmt.Sprintf("is in no network of %s, which has %v: nobody there would ask for it; write its network behind it, like %s/24, if that is meant", name, l.Prefixes, a)}, false
		}
	}
	return Reason{}, true
}

// offSegment says whether the file says that an address is outside the link's
// networks: it is written with a network of its own.
func (s *Service) offSegment(a netip.Addr) bool {
	return slices.ContainsFunc(s.Addresses, func(h HostPrefix) bool { return h.Addr() == a && h.Segment.IsValid() })
}

// sourceOn is what advertisements come from: the first IPv4 address, the link-local
// IPv6 one, or for unicast the first global one.
func sourceOn(l vip.Link, f vip.Family, unicast bool) netip.Addr {
	for _, p := range l.Prefixes {
		a := p.Addr()
		if vip.FamilyOf(a) == f && (f == vip.IPv4 || a.IsLinkLocalUnicast() != unicast) {
			return a
		}
	}
	return netip.Addr{}
}

// routed is the decision about one address of a virtual router.
func (d *decider) routed(p netip.Prefix, r vip.VirtualRouter) AddressDecision {
	a := AddressDecision{Prefix: p, Wanted: r.Answers}
	if r.Detail != "" {
		a.Reasons = append(a.Reasons, Reason{Code: CodeRouter, Subject: r.Name, Detail: r.Detail})
	}
	for _, o := range r.Others {
		if o.Trouble != 0 {
			a.Reasons = append(a.Reasons, Reason{Code: CodeRival, Subject: o.Addr.String(), Since: o.Last, Detail: fmt.Sprintf("%s (MAC %s)", o.Trouble, o.MAC)})
		}
	}
	return a
}

// priority is what the routers of a service have now. A service that becomes worse
// lowers a Backup at once, and the Active router only after the longest that its checks
// may need to see the same on the others; one that becomes better raises the Active
// router at once, and a Backup after recovery_delay. So a dependency that dies for all
// and returns moves nothing.
func (d *decider) priority(s *Service, m *ServiceMemory) uint8 {
	degraded := m.Level == vip.LevelDegraded
	if degraded != m.Lowered {
		wait := time.Duration(0)
		active := d.anyActive(s)
		switch {
		case degraded && active:
			wait = d.detection(s)
		case !degraded && !active:
			wait = s.RecoveryDelay
		}
		if m.LowerFrom.IsZero() {
			m.LowerFrom = d.in.Now
		}
		if end := m.LowerFrom.Add(wait); !m.Disposition.Announces() || !d.in.Now.Before(end) {
			m.Lowered, m.LowerFrom = degraded, time.Time{}
		} else {
			d.wake(end)
		}
	} else {
		m.LowerFrom = time.Time{}
	}
	v := &s.VRRP
	if !m.Lowered || v.Priority == ownerPriority {
		return v.Priority
	}
	return uint8(max(leastPriority, int(v.Priority)-int(v.Degraded.LowerBy)))
}

func (d *decider) anyActive(s *Service) bool {
	return slices.ContainsFunc([]vip.Family{vip.IPv4, vip.IPv6}, func(f vip.Family) bool { return d.in.Routers[s.routerName(f)].State == vip.RouterActive })
}

// answers says whether this host answers for an address of the service.
func (d *decider) answers(s *Service) bool {
	return slices.ContainsFunc([]vip.Family{vip.IPv4, vip.IPv6}, func(f vip.Family) bool { return d.in.Routers[s.routerName(f)].Answers })
}

// detection is the longest that a check of the service which is worse now may need to
// say so on another server.
func (d *decider) detection(s *Service) (longest time.Duration) {
	for _, l := range d.leaves(s) {
		if lo, _ := d.checkBounds(l.check, l.floor); lo < vip.LevelPass {
			longest = max(longest, d.in.Checks[l.check].Detection)
		}
	}
	return longest
}

// standby makes the decision of a service that takes part say what its routers are.
func (dec *Decision) standby(d *decider, s *Service) {
	for _, a := range dec.Addresses {
		if len(a.Reasons) == 0 {
			continue
		}
		code := a.Reasons[0].Code
		if code == CodeAddressUnknown {
			dec.Disposition = Pending
		} else if code == CodeLink || code == CodeNotOwner || code == CodeOffSegment {
			dec.Disposition = Withdrawn
		} else {
			continue
		}
		dec.Reasons = append([]Reason{a.Reasons[0]}, dec.Reasons...)
		return
	}
	var reasons []Reason
	for _, f := range []vip.Family{vip.IPv4, vip.IPv6} {
		r, ok := d.in.Routers[s.routerName(f)]
		switch {
		case !ok:
		case dec.Disposition == Drained && r.Cause == vip.RouterNoSuccessor:
			reasons = append(reasons, Reason{Code: CodeNoSuccessor, Since: r.Since, Detail: "no other router took over, so this one still answers, with priority 1"})
		case dec.Disposition.Announces() && r.State != vip.RouterActive:
			reasons = append(reasons, backupReason(r))
			dec.Since = later(dec.Since, r.Since)
		}
	}
	if len(reasons) > 0 && dec.Disposition.Announces() {
		dec.Disposition = Standby
	}
	dec.Reasons = append(reasons, dec.Reasons...)
}

func backupReason(r vip.VirtualRouter) Reason {
	why := Reason{Code: CodeBackup, Since: r.Since, Detail: "listening for an Active router"}
	for _, o := range r.Others {
		if o.VRID == r.VRID && o.Trouble&(vip.TroubleVersion|vip.TroublePassword) == 0 {
			why.Subject, why.Detail = o.Addr.String(), fmt.Sprintf("is Active, with priority %d", o.Priority)
		}
	}
	return why
}
