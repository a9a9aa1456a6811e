package kernel

import (
	"net/netip"
	"slices"
	"strconv"

	"github.com/anyvip/anyvip/pkg/vip"
)

// scene is this host as one look saw it.
type scene []link

// link is one network interface and its addresses.
type link struct {
	name      string
	index     int
	enabled   bool // an administrator wants it up (IFF_UP); without it its addresses do not work
	up        bool // operational state, RFC 2863: up, or unknown as for lo
	mtu       int
	arp       bool // speaks ARP: neither loopback nor point-to-point without ARP
	addresses []address
}

// address is one address of a link, with the attributes that we care about.
type address struct {
	prefix     netip.Prefix // the address itself with its prefix length
	subnet     netip.Prefix // what it makes directly reachable; a peer's, for point-to-point
	hostScope  bool         // IPv4: never a source for other hosts
	deprecated bool         // IPv6: preferred lifetime 0, never a source by choice
	permanent  bool         // no lifetime is running
	tentative  bool         // IPv6: duplicate address detection is not over
	duplicate  bool         // IPv6: duplicate address detection found another owner
}

// right reports whether a has the attributes of a VIP of ours.
func (a address) right() bool {
	if a.prefix.Addr().Is4() {
		return a.permanent && a.hostScope
	}
	return a.permanent && a.deprecated
}

// link finds a link by name.
func (s scene) link(name string) (link, bool) {
	i := slices.IndexFunc(s, func(l link) bool { return l.name == name })
	if i < 0 {
		return link{}, false
	}
	return s[i], true
}

// at finds a link by index.
func (s scene) at(index int) (link, bool) {
	i := slices.IndexFunc(s, func(l link) bool { return l.index == index })
	if i < 0 {
		return link{}, false
	}
	return s[i], true
}

// zone finds the link that an address's zone names, or gives the index of.
func (s scene) zone(zone string) (link, bool) {
	if l, ok := s.link(zone); ok {
		return l, true
	}
	index, err := strconv.Atoi(zone)
	if err != nil {
		return link{}, false
	}
	return s.at(index)
}

// addressOf is the address of a next hop, link-local with its link's name.
func (s scene) addressOf(h hop) netip.Addr {
	if l, ok := s.at(h.link); ok && h.via.Is6() && h.via.IsLinkLocalUnicast() {
		return h.via.WithZone(l.name)
	}
	return h.via
}

// downWith finds a link that is down and would make ip directly reachable.
func (s scene) downWith(ip netip.Addr) (link, bool) {
	i := slices.IndexFunc(s, func(l link) bool {
		return !l.up && slices.ContainsFunc(l.addresses, func(a address) bool { return a.subnet.Contains(ip) })
	})
	if i < 0 {
		return link{}, false
	}
	return s[i], true
}

// place is where a VIP was seen.
type place struct {
	link    link
	address address
}

// places lists where each of the wanted or owned addresses is.
func (s scene) places(interesting func(netip.Addr) bool) map[netip.Addr][]place {
	at := make(map[netip.Addr][]place)
	for _, l := range s {
		for _, a := range l.addresses {
			if ip := a.prefix.Addr(); interesting(ip) {
				at[ip] = append(at[ip], place{l, a})
			}
		}
	}
	return at
}

// usable says what an address at this place is worth, and why.
func (p place) usable() (vip.AddressState, string) {
	switch {
	case !p.link.enabled:
		return vip.AddressAbsent, "it is on " + p.link.name + ", which is down; run: ip link set " + p.link.name + " up"
	case p.address.duplicate:
		return vip.AddressTentative, "duplicate address detection on " + p.link.name + " found another host with it; find that host, then remove the address here and add it again"
	case p.address.tentative:
		return vip.AddressTentative, "duplicate address detection on " + p.link.name + " is not over"
	}
	return vip.AddressPresent, ""
}

// report is the scene as the rest of the agent sees it: addresses for which
// hidden holds are VIPs and not this host's own.
func (s scene) report(hidden func(netip.Addr) bool) []vip.Link {
	out := make([]vip.Link, 0, len(s))
	for _, l := range s {
		v := vip.Link{Name: l.name, Index: l.index, Up: l.up, MTU: l.mtu}
		for _, a := range l.addresses {
			if !hidden(a.prefix.Addr()) {
				v.Prefixes = append(v.Prefixes, a.prefix)
			}
		}
		out = append(out, v)
	}
	return out
}
