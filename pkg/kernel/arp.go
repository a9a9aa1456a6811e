package kernel

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/anyvip/anyvip/pkg/kernel/sysctl"
)

// segment is a subnet of a link that speaks ARP.
type segment struct {
	link   link
	subnet netip.Prefix
}

// segments lists the IPv4 subnets on which this host could speak ARP for a VIP.
// IPv6 has no part in this: the kernel answers a neighbour solicitation for the
// addresses of the link that it came in on, and for no others.
func (s scene) segments() (out []segment) {
	for _, l := range s {
		for _, a := range l.addresses {
			if l.arp && a.subnet.Addr().Is4() && !a.subnet.IsSingleIP() {
				out = append(out, segment{l, a.subnet})
			}
		}
	}
	return out
}

// exposes reports whether neighbours on the segment would ask for ip there,
// although it is not an address of the link.
func (g segment) exposes(ip netip.Addr) bool {
	return g.subnet.Contains(ip) &&
		!slices.ContainsFunc(g.link.addresses, func(a address) bool { return a.prefix.Addr() == ip })
}

// problem says what is wrong with the link's settings when g exposes ip, and
// what to run; empty if nothing is.
func (g segment) problem(ip netip.Addr, s sysctl.ARP) string {
	fault := s.Fault(g.link.name)
	if fault == "" {
		return ""
	}
	where := fmt.Sprintf("is inside %s of link %s", g.subnet, g.link.name)
	if g.subnet.IsSingleIP() {
		where = "has its fallback on link " + g.link.name
	}
	return fmt.Sprintf("%s %s, where this host would speak ARP for it and draw traffic past the routers: %s", ip, where, fault)
}
