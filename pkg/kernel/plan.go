package kernel

import (
	"net/netip"
	"slices"

	"github.com/anyvip/anyvip/pkg/kernel/sysctl"
	"github.com/anyvip/anyvip/pkg/vip"
)

// situation is everything that a plan is made from.
type situation struct {
	home   string                // the link that VIPs are added to
	wanted map[netip.Addr]bool   // VIPs that should be on this host
	owned  map[netip.Addr]string // VIPs that we added, and the link
	leased map[netip.Addr]string // VIPs that come and go on a link besides
	seen   scene
	arp    map[string]sysctl.ARP // of every link that exposes a wanted VIP
	unread map[string]error      // such links whose settings are not known, and why
}

// plan is what a situation leads to. Its lists are sorted by address.
type plan struct {
	facts  map[netip.Addr]vip.Address // without Since and Lost; wanted VIPs, and ours that are still here
	add    []change                   // wanted and nowhere
	mend   []change                   // ours, with wrong attributes
	remove []change                   // ours, and not wanted or not allowed
	forget []netip.Addr               // written down as ours, but not here and not to be added
}

// change is one VIP to act on.
type change struct {
	ip   netip.Addr
	link link
	now  address // as it is; the zero value when it is absent
}

// makePlan decides what to do about every wanted and every owned address.
func makePlan(s situation) plan {
	p := plan{facts: make(map[netip.Addr]vip.Address, len(s.wanted))}
	at := s.places()
	segments := s.seen.segments()
	for ip := range s.wanted {
		if problem := s.arpProblem(segments, ip); problem != "" {
			p.refuse(s, ip, at[ip], problem)
		} else if err := s.arpUnknown(segments, ip); err != nil && len(at[ip]) == 0 {
			p.facts[ip] = vip.Address{Addr: ip, State: vip.AddressRefused, Detail: err.Error() + "; it is tried every second"}
		} else {
			p.want(s, ip, at[ip])
		}
	}
	for ip := range s.owned {
		if !s.wanted[ip] {
			p.unwant(s, ip, at[ip])
		}
	}
	for _, list := range [][]change{p.add, p.mend, p.remove} {
		slices.SortFunc(list, func(a, b change) int { return a.ip.Compare(b.ip) })
	}
	slices.SortFunc(p.forget, netip.Addr.Compare)
	return p
}

// places lists where each of the wanted or owned addresses is. One that is leased will
// go again from where it is besides.
func (s situation) places() map[netip.Addr][]place {
	at := s.seen.places(func(ip netip.Addr) bool { _, ours := s.owned[ip]; return ours || s.wanted[ip] })
	for ip, list := range at {
		if s.leased[ip] != "" {
			at[ip] = slices.DeleteFunc(list, func(p place) bool { return p.link.name != s.home && p.link.name != s.owned[ip] })
		}
	}
	return at
}

// arpProblem finds a link that would speak ARP for ip against the rules. One
// whose settings are not known is no reason to take anything away.
func (s situation) arpProblem(segments []segment, ip netip.Addr) string {
	for _, g := range s.exposed(segments, ip) {
		if s.unread[g.link.name] == nil {
			if problem := g.problem(ip, s.arp[g.link.name]); problem != "" {
				return problem
			}
		}
	}
	return ""
}

// arpUnknown finds a link of which nobody knows whether it would speak ARP for ip.
func (s situation) arpUnknown(segments []segment, ip netip.Addr) error {
	for _, g := range s.exposed(segments, ip) {
		if err := s.unread[g.link.name]; err != nil {
			return err
		}
	}
	return nil
}

// exposed lists the segments on which neighbours would ask for ip, although it is not
// an address of the link: in whose subnet it is, and to whose link it may come.
func (s situation) exposed(segments []segment, ip netip.Addr) (list []segment) {
	for _, g := range segments {
		if g.exposes(ip) || g.link.name == s.leased[ip] && g.subnet.Contains(ip) {
			list = append(list, g)
		}
	}
	if l, there := s.seen.link(s.leased[ip]); there && l.arp && ip.Is4() { // also while it is there: it will go again
		list = append(list, segment{l, netip.PrefixFrom(ip, ip.BitLen())})
	}
	return list
}

// exposing are the links that would speak ARP for a wanted VIP.
func (s situation) exposing() map[string]bool {
	links := map[string]bool{}
	segments := s.seen.segments()
	for ip := range s.wanted {
		for _, g := range s.exposed(segments, ip) {
			links[g.link.name] = true
		}
	}
	return links
}

// refuse decides about a VIP that a link would speak ARP for. One of ours that
// came to be so (the link got a new address, a sysctl changed) goes at once:
// neighbours need no route to reach it, so a withdrawn route would not stop
// the traffic, and every other node with the VIP answers them as well.
func (p *plan) refuse(s situation, ip netip.Addr, at []place, problem string) {
	fact := vip.Address{Addr: ip, State: vip.AddressRefused, Detail: problem}
	_, noted := s.owned[ip]
	if ours, isOurs := s.ours(ip, at); isOurs {
		fact.Ours, fact.Link = true, ours.link.name
		p.remove = append(p.remove, change{ip, ours.link, ours.address})
	} else if noted {
		p.forget = append(p.forget, ip)
	}
	p.facts[ip] = fact
}

// want decides about a VIP that should be here.
func (p *plan) want(s situation, ip netip.Addr, at []place) {
	if len(at) == 0 {
		p.absent(s, ip)
		return
	}
	best, state, detail := bestOf(at)
	_, noted := s.owned[ip]
	ours, isOurs := s.ours(ip, at)
	if isOurs {
		if st, d := ours.usable(); st == state {
			best, detail = ours, d
		}
		if !ours.address.right() {
			p.mend = append(p.mend, change{ip, ours.link, ours.address})
		}
	} else if noted {
		p.forget = append(p.forget, ip) // someone put their own in place of ours
	}
	p.facts[ip] = vip.Address{Addr: ip, State: state, Ours: isOurs, Link: best.link.name, Detail: detail}
}

func (p *plan) absent(s situation, ip netip.Addr) {
	fact := vip.Address{Addr: ip, State: vip.AddressAbsent, Detail: "it is not on this host; adding it"}
	if home, ok := s.seen.link(s.home); ok {
		p.add = append(p.add, change{ip: ip, link: home})
	} else {
		fact.Detail = "this host has no link " + s.home + " to add it to"
	}
	p.facts[ip] = fact
}

// unwant decides about a VIP that is written down as ours and not wanted. One
// with other attributes than ours is somebody's own, put in place of ours while
// nobody looked: while it is wanted, ours is set right at once.
func (p *plan) unwant(s situation, ip netip.Addr, at []place) {
	ours, isOurs := s.ours(ip, at)
	if !isOurs || !ours.address.right() {
		p.forget = append(p.forget, ip)
		return
	}
	state, _ := ours.usable()
	p.facts[ip] = vip.Address{Addr: ip, State: state, Ours: true, Link: ours.link.name, Detail: "it is no longer wanted; removing it"}
	p.remove = append(p.remove, change{ip, ours.link, ours.address})
}

// ours finds the place of a VIP that we added: a host address, on the link
// that we wrote down.
func (s situation) ours(ip netip.Addr, at []place) (place, bool) {
	name, noted := s.owned[ip]
	if !noted {
		return place{}, false
	}
	i := slices.IndexFunc(at, func(p place) bool { return p.link.name == name && p.address.prefix.IsSingleIP() })
	if i < 0 {
		return place{}, false
	}
	return at[i], true
}

// bestOf finds the place where an address works best; at is not empty.
func bestOf(at []place) (best place, state vip.AddressState, detail string) {
	for _, p := range at {
		// In order of worth: absent, tentative, present.
		if s, d := p.usable(); s > state {
			best, state, detail = p, s, d
		}
	}
	return best, state, detail
}
