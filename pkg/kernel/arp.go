package kernel

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// arpSettings are the two sysctls that decide whether a link speaks ARP for an
// address that is on another link. The kernel takes the larger of "all" and
// the link's own.
type arpSettings struct {
	ignoreAll, ignore     int // arp_ignore; from 1 on, a link answers for its own addresses alone
	announceAll, announce int // arp_announce; at 2, a link asks with its own addresses alone
}

func (s arpSettings) answers() bool { return max(s.ignoreAll, s.ignore) < 1 }
func (s arpSettings) asks() bool    { return max(s.announceAll, s.announce) < 2 }

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
func (g segment) problem(ip netip.Addr, s arpSettings) string {
	if !s.answers() && !s.asks() {
		return ""
	}
	name := g.link.name
	var commands []string
	// In sysctl's dotted names a dot of the link's name is written as a slash.
	key := "net.ipv4.conf." + strings.ReplaceAll(name, ".", "/")
	if s.answers() {
		commands = append(commands, key+".arp_ignore=1")
	}
	if s.asks() {
		commands = append(commands, key+".arp_announce=2")
	}
	where := fmt.Sprintf("is inside %s of link %s", g.subnet, name)
	if g.subnet.IsSingleIP() {
		where = "has its fallback on link " + name
	}
	return fmt.Sprintf("%s %s, where this host would speak ARP for it and draw traffic past the routers: "+
		"arp_ignore is %d (all %d, %s %d; must be 1 or more), arp_announce is %d (all %d, %s %d; must be 2); "+
		"run: sysctl -w %s, and keep it in /etc/sysctl.d",
		ip, where,
		max(s.ignoreAll, s.ignore), s.ignoreAll, name, s.ignore,
		max(s.announceAll, s.announce), s.announceAll, name, s.announce,
		strings.Join(commands, " "))
}
