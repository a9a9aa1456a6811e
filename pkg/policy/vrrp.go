package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

// VRRP is how a service's addresses are protected on a segment with only layer 2. It
// makes one virtual router for each address family that the service has.
type VRRP struct {
	Interface    string        `yaml:"interface" doc:"the link that the addresses are on"`
	VRID         uint8         `yaml:"vrid" doc:"Virtual Router Identifier, 1 to 255: the same on all routers of these addresses, and of no others on the segment"`
	Version      uint8         `yaml:"version" default:"3" doc:"3 (RFC 9568), or 2 (RFC 3768), which knows IPv4 and whole seconds only: for others that speak nothing else"`
	Priority     uint8         `yaml:"priority" default:"100" doc:"1 to 254, the highest is Active; 255 for a host that owns the addresses: they are its own, and stay there"`
	Interval     time.Duration `yaml:"advertisement_interval" default:"1s" doc:"how often the Active router advertises: 10ms to 40.95s in steps of 10ms, in version 2 1s to 255s in whole seconds. A silent host is replaced after 3 to 4 of them"`
	Preempt      bool          `yaml:"preempt" default:"true" doc:"take over from an Active router with a lower priority"`
	PreemptDelay time.Duration `yaml:"preempt_delay" doc:"leave such a router alone for this long first"`
	Degraded     DegradedVRRP  `yaml:"degraded" doc:"what is different while the service is degraded"`
	UnicastPeers []netip.Addr  `yaml:"unicast_peers" doc:"the other routers' addresses, where the segment does not carry multicast; advertisements go to these, and are taken from these alone"`
	PasswordFile string        `yaml:"password_file" doc:"file whose first line is version 2's simple password, 1 to 8 bytes. Everybody on the segment can read it there: it guards against mistakes, nothing else"`
	Checksum     VRRPChecksum  `yaml:"checksum" default:"pseudo_header" doc:"of version 3 over IPv4: pseudo_header as keepalived and FRR have it, or plain as RFC 9568 has it; both are accepted"`
	Unadvertised []netip.Addr  `yaml:"unadvertised" doc:"addresses of the service that are not in the advertisements, where they would be too many: they share the others' fate"`
	Defend       bool          `yaml:"defend" doc:"announce the addresses again, at most once in 10s, when somebody else claims one"`
}

// DegradedVRRP is what is different while a service in mode vrrp is degraded.
type DegradedVRRP struct {
	LowerBy uint8 `yaml:"lower_by" default:"50" doc:"the priority is lower by this, but never below 1. Servers that are all degraded keep their order"`
}

// VRRPChecksum is the kind of checksum of version 3 over IPv4.
type VRRPChecksum uint8

// The kinds of checksum.
const (
	ChecksumPseudoHeader VRRPChecksum = iota
	ChecksumPlain
)

var checksumNames = [...]string{"pseudo_header", "plain"}

func (c VRRPChecksum) String() string { return checksumNames[c] }

// MarshalText writes the name.
func (c VRRPChecksum) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads pseudo_header or plain.
func (c *VRRPChecksum) UnmarshalText(text []byte) error {
	i := slices.Index(checksumNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("%q is none of pseudo_header, plain", text)
	}
	*c = VRRPChecksum(i)
	return nil
}

// MaxVRRPPassword is how long a password of version 2 is at most, in bytes: keepalived
// cuts longer ones without a word.
const MaxVRRPPassword = 8

const (
	ownerPriority = 255
	leastPriority = 1
	mostListed    = 255 // addresses that an advertisement can count
	mostListed6   = 90  // and that fit into 1,500 bytes: 40 of IPv6, 8 of VRRP, 16 each
)

// validateVRRP finds what is wrong with a service in mode vrrp.
func (s *Service) validateVRRP() (ps []vip.Problem) {
	v := &s.VRRP
	blame := func(path, value, message, allowed string) {
		ps = append(ps, vip.Problem{Path: path, Value: value, Message: message, Allowed: allowed})
	}
	if v.Interface == "" {
		blame("interface", "", "is missing; the addresses are on a link", "the name of a link of this host")
	}
	if v.VRID == 0 {
		blame("vrid", "", "is missing", "1 to 255, the same on all servers of this service")
	}
	if v.Priority < leastPriority {
		blame("priority", fmt.Sprint(v.Priority), "is what a router says that leaves", "1 to 254; 255 on the host that owns the addresses")
	}
	switch v.Version {
	case 2:
		if v.Interval < time.Second || v.Interval > 255*time.Second || v.Interval%time.Second != 0 {
			blame("advertisement_interval", v.Interval.String(), "cannot be said in version 2", "1s to 255s, in whole seconds")
		}
		if i := slices.IndexFunc(s.Addresses, func(h HostPrefix) bool { return h.Addr().Is6() }); i >= 0 {
			blame("version", "2", "knows no IPv6, and the service has "+s.Addresses[i].Addr().String(), "3")
		}
	case 3:
		if step := 10 * time.Millisecond; v.Interval < step || v.Interval > 4095*step || v.Interval%step != 0 {
			blame("advertisement_interval", v.Interval.String(), "cannot be said in version 3", "10ms to 40.95s, in steps of 10ms")
		}
		if v.PasswordFile != "" {
			blame("password_file", v.PasswordFile, "is of version 2; version 3 has no passwords", "")
		}
	default:
		blame("version", fmt.Sprint(v.Version), "is no version of VRRP", "2 or 3")
	}
	if v.PreemptDelay < 0 || v.PreemptDelay > time.Hour {
		blame("preempt_delay", v.PreemptDelay.String(), "is out of range", "0s to 1h")
	}
	if v.Priority == ownerPriority && v.Degraded.LowerBy > 0 && s.canDegrade() {
		blame("priority", "255", "is the owner's, and an owner cannot be degraded", "require with local checks alone and degraded: {lower_by: 0}, or a priority of 1 to 254")
	}
	for i, a := range v.Unadvertised {
		if !slices.ContainsFunc(s.Addresses, func(h HostPrefix) bool { return h.Addr() == a }) {
			blame(fmt.Sprintf("unadvertised[%d]", i), a.String(), "is no address of this service", "one of addresses")
		}
	}
	for _, f := range []vip.Family{vip.IPv4, vip.IPv6} {
		most := mostListed
		if f == vip.IPv6 {
			most = mostListed6
		}
		listed, rides := s.listed(f)
		if len(listed) > most {
			blame("unadvertised", "", fmt.Sprintf("is too short: %d %s addresses do not fit into an advertisement", len(listed), f), fmt.Sprintf("all but %d of them", most))
		}
		if len(listed) == 0 && len(rides) > 0 {
			blame("unadvertised", "", fmt.Sprintf("has every %s address; one at least leads the others", f), "")
		}
	}
	return ps
}

// canDegrade says whether the service can be degraded: an owner cannot.
func (s *Service) canDegrade() bool { return s.Require.Rule != RuleNone }

// listed are the addresses of a family that are advertised, an IPv6 link-local one
// first (RFC 9568, section 5.2.9), and those that ride on them.
func (s *Service) listed(f vip.Family) (listed, rides []netip.Addr) {
	for _, h := range s.Addresses {
		a := h.Addr()
		switch {
		case vip.FamilyOf(a) != f:
		case slices.Contains(s.VRRP.Unadvertised, a):
			rides = append(rides, a)
		default:
			listed = append(listed, a)
		}
	}
	slices.SortStableFunc(listed, func(a, b netip.Addr) int {
		switch x, y := a.IsLinkLocalUnicast(), b.IsLinkLocalUnicast(); {
		case x && !y:
			return -1
		case y && !x:
			return 1
		}
		return 0
	})
	return listed, rides
}

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
