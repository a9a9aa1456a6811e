package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

const (
	takeTime    = time.Second // an Active router's address takes no longer to be here
	refusedTime = time.Minute // and is tried again after that, where this host cannot have it
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
	Peers    []netip.Addr // unicast, of its family; none: multicast
	Priority uint8
	Listed   []netip.Addr
	Rides    []Ride
	Group    string // of virtual routers that are Active together; empty: it is of none
	Stance   RouterStance
}

// Ride is an address that shares a virtual router's fate, and its link.
type Ride struct {
	netip.Addr
	Link vip.Link
}

// routers decides the virtual routers of a service: one for each family.
func (d *decider) routers(s *Service, m *ServiceMemory) []AddressDecision {
	stance := d.stanceOf(s, m)
	priority := d.priority(s, m)
	out := d.addressed[:len(s.Addresses):len(s.Addresses)]
	d.addressed = d.addressed[len(s.Addresses):]
	group, names := d.synced(s), d.namesOf(s)
	for _, f := range []vip.Family{vip.IPv4, vip.IPv6} {
		listed, rides := s.listed(f)
		if len(listed) == 0 {
			continue
		}
		w := RouterWant{Name: names[f], Service: s.Name, Config: &s.VRRP, Peers: s.VRRP.peers(f), Priority: priority, Listed: listed, Group: group, Stance: stance}
		why, ok := d.placed(s, &w, f)
		if !ok {
			w.Stance = RouterOut
		}
		if w.Link.Name != "" && w.Source.IsValid() && !s.Rides() {
			w.Rides = d.ridden(s, &w, rides)
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

// leased notes the addresses that virtual routers bring to this host, also of those
// that leave: no link has them of its own. An owner's are its own.
func (d *decider) leased() {
	for i := range d.in.Services {
		s := &d.in.Services[i]
		if v, _ := s.VirtualRouters(); v != nil && v.Priority != ownerPriority {
			for _, h := range s.Addresses {
				d.lend(h.Addr(), v.Interface)
			}
		}
	}
	for _, r := range d.in.Routers {
		for _, a := range r.Addresses {
			if _, known := d.lease[a]; r.Priority != ownerPriority && !known {
				d.lend(a, r.Interface)
			}
		}
	}
}

func (d *decider) lend(a netip.Addr, link string) {
	if d.lease == nil {
		d.lease = map[netip.Addr]string{}
	}
	d.lease[a] = link
}

// routerName is the name of the service's virtual router of a family.
func (s *Service) routerName(f vip.Family) string {
	if both := slices.ContainsFunc(s.Addresses, func(h HostPrefix) bool { return vip.FamilyOf(h.Addr()) != f }); both {
		return s.Name + "/" + f.String()
	}
	return s.Name
}

// stanceOf is how far the routers of a service take part.
func (d *decider) stanceOf(s *Service, m *ServiceMemory) RouterStance {
	switch {
	case d.out.Phase != Running, d.in.Now.Before(m.RefusedUntil), s.Fallback != nil && !m.Fallback.On:
		return RouterOut
	case m.Drain.Step >= DrainShift:
		want, _, _ := d.drainOf(s)
		if want.Force || d.best == vip.LevelFail { // known to be dead: nobody is better than this one
			return RouterOut
		}
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
	w.Source = d.sourceOn(l, f, &s.VRRP)
	switch {
	case !l.Up:
		r.Detail = "the link " + name + " is down"
		return r, false
	case s.Rides(): // nothing is sent there but announcements
	case !w.Source.IsValid() && vip.FamilyOf(s.VRRP.Source) == f:
		r.Detail = fmt.Sprintf("%s has no address %s, which source names", name, s.VRRP.Source)
		return r, false
	case !w.Source.IsValid() && f == vip.IPv6 && len(s.VRRP.UnicastPeers) == 0:
		r.Detail = name + " has no IPv6 link-local address to advertise from: enable IPv6 there"
		return r, false
	case !w.Source.IsValid():
		r.Detail = fmt.Sprintf("%s has no %s address of its own to advertise from", name, f)
		return r, false
	}
	listed, rides := s.listed(f)
	if most := s.VRRP.holds(f, l.MTU); !s.Rides() && l.MTU > 0 && len(listed) > most {
		r.Detail = fmt.Sprintf("its MTU of %d bytes holds %d %s addresses in an advertisement, not %d: put %d of them under unadvertised, on all routers", l.MTU, most, f, len(listed), len(listed)-most)
		return r, false
	}
	for _, a := range append(listed, rides...) {
		owns := slices.ContainsFunc(l.Prefixes, func(p netip.Prefix) bool { return p.Addr() == a })
		switch {
		case d.in.Leases[a].State == vip.AddressRefused && d.in.Routers[d.namesOf(s)[f]].State != vip.RouterActive: // of the Active router see refused
			return Reason{Code: CodeLink, Subject: name, Detail: d.in.Leases[a].Detail}, false
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

// sourceOn is what advertisements come from: the address that the file names, or else
// the first IPv4 address, the link-local IPv6 one, or for unicast the first global one.
// It is never what a virtual router has brought here.
func (d *decider) sourceOn(l vip.Link, f vip.Family, v *VRRP) netip.Addr {
	for _, p := range l.Prefixes {
		a := p.Addr()
		switch {
		case vip.FamilyOf(a) != f || d.lease[a] != "":
		case vip.FamilyOf(v.Source) == f:
			if a == v.Source {
				return a
			}
		case f == vip.IPv4 || a.IsLinkLocalUnicast() != (len(v.UnicastPeers) > 0):
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
	if why, missing := d.missing(p.Addr(), r); missing {
		a.Reasons = append(a.Reasons, why)
	}
	for _, o := range r.Others {
		if o.Trouble != 0 {
			a.Reasons = append(a.Reasons, Reason{Code: CodeRival, Subject: o.Addr.String(), Since: o.Since, Detail: fmt.Sprintf("%s (MAC %s)", o.Trouble, o.MAC)})
		}
	}
	return a
}

// missing says why an address that the Active router has taken is not here: it takes a
// moment to come.
func (d *decider) missing(a netip.Addr, r vip.VirtualRouter) (Reason, bool) {
	f, known := d.in.Leases[a]
	if r.State != vip.RouterActive || known && f.State == vip.AddressPresent {
		return Reason{}, false
	}
	why := Reason{Subject: a.String(), Detail: f.Detail, Since: f.Since, Code: CodeAddressAbsent}
	if f.State == vip.AddressRefused {
		why.Code = CodeAddressRefused
		return why, true
	}
	if end := r.Since.Add(takeTime); d.in.Now.Before(end) {
		d.wake(end)
		return Reason{}, false
	}
	return why, true
}

// refused keeps the routers of a service out for a while whose address this host cannot
// have: another one may.
func (d *decider) refused(s *Service, m *ServiceMemory) {
	if d.refusing(s) {
		m.RefusedUntil = d.in.Now.Add(refusedTime)
	}
	d.wake(m.RefusedUntil)
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
	return slices.ContainsFunc(d.routersOf(s), func(r vip.VirtualRouter) bool { return r.State == vip.RouterActive })
}

// answers says whether this host answers for an address of the service.
func (d *decider) answers(s *Service) bool {
	return slices.ContainsFunc(d.routersOf(s), func(r vip.VirtualRouter) bool { return r.Answers })
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

// standby makes the decision of a service say what its routers are. One that takes part
// in no family is withdrawn, whatever its health.
func (dec *Decision) standby(d *decider, s *Service, m *ServiceMemory) {
	var out, wait []Reason
	families, names := 0, d.namesOf(s)
	for _, f := range []vip.Family{vip.IPv4, vip.IPv6} {
		if listed, _ := s.listed(f); len(listed) == 0 {
			continue
		}
		families++
		r, known := d.in.Routers[names[f]]
		obstacle, blocked := dec.obstacle(f)
		switch {
		case blocked:
			out = append(out, obstacle)
		case r.Cause == vip.RouterNoSuccessor:
			wait = append(wait, Reason{Code: CodeNoSuccessor, Since: r.Since, Detail: "no other router took over, so this one still answers, with priority 1"})
		case d.in.Now.Before(m.RefusedUntil):
			out = append(out, Reason{Code: CodeAddressRefused, Until: m.RefusedUntil, Detail: "an address may not be added here, so other routers are left to it; tried again"})
		case !dec.Disposition.Announces() || dec.Disposition == Leaving:
		case !known || r.State != vip.RouterActive:
			wait = append(wait, backupReason(r))
			dec.Since = later(dec.Since, r.Since)
		default:
			dec.Since = later(dec.Since, r.Since)
		}
	}
	switch {
	case len(out) == families && dec.Disposition.Announces():
		dec.Disposition = Withdrawn
		if out[0].Code == CodeAddressUnknown {
			dec.Disposition = Pending
		}
	case len(wait) > 0 && dec.Disposition.Announces() && dec.Disposition != Leaving:
		dec.Disposition = Standby
	}
	dec.Reasons = append(append(out, wait...), dec.Reasons...)
}

// obstacle is what keeps the router of a family out, or what it cannot do without.
func (dec *Decision) obstacle(f vip.Family) (Reason, bool) {
	bad := []Code{CodeAddressUnknown, CodeLink, CodeNotOwner, CodeOffSegment, CodeRouter, CodeAddressAbsent, CodeAddressRefused}
	for _, a := range dec.Addresses {
		if vip.FamilyOf(a.Prefix.Addr()) == f && len(a.Reasons) > 0 && slices.Contains(bad, a.Reasons[0].Code) {
			return a.Reasons[0], true
		}
	}
	return Reason{}, false
}

// deaf are troubles of which nobody's advertisement is accepted.
const deaf = vip.TroubleVersion | vip.TroublePassword | vip.TroubleHopLimit | vip.TroubleSameAddress | vip.TroubleOwner | vip.TroubleNotOfTheList | vip.TroubleCARP | vip.TroubleClaim

// backupReason names the Active router: the best that is heard.
func backupReason(r vip.VirtualRouter) Reason {
	why := Reason{Code: CodeBackup, Since: r.Since, Detail: "listening for an Active router"}
	if r.Cause == vip.RouterWaits {
		why.Detail = "has won its election, and waits until those that it is together with have won theirs"
	}
	best := uint8(0)
	for _, o := range r.Others {
		if o.VRID == r.VRID && o.Priority > best && o.Trouble&deaf == 0 {
			best = o.Priority
			why.Subject, why.Detail = o.Addr.String(), fmt.Sprintf("is Active, with priority %d", o.Priority)
		}
	}
	return why
}
