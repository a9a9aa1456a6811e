package router

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// links says which link reaches a next hop. It is a snapshot of the namespace's connected networks.
type links struct {
	connected []connected
	index     map[string]int // of links that are up, by name
}

type connected struct {
	network netip.Prefix
	link    int
	self    netip.Addr
}

// readLinks looks at every link that is up and has carrier, and at its addresses.
func readLinks(h *netlink.Handle) (links, error) {
	all, err := h.LinkList()
	if err != nil {
		return links{}, fmt.Errorf("list links: %w", err)
	}
	out := links{index: map[string]int{}}
	up := map[int]bool{}
	for _, l := range all {
		a := l.Attrs()
		if a.RawFlags&unix.IFF_UP == 0 || a.RawFlags&unix.IFF_LOWER_UP == 0 || a.Flags&net.FlagLoopback != 0 {
			continue
		}
		up[a.Index] = true
		out.index[a.Name] = a.Index
	}
	addresses, err := h.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return links{}, fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addresses {
		self, ok := netip.AddrFromSlice(a.IP)
		if !ok || !up[a.LinkIndex] {
			continue
		}
		self = self.Unmap()
		ones, _ := a.Mask.Size()
		network := netip.PrefixFrom(self, ones).Masked()
		if a.Peer != nil { // a point-to-point address reaches its peer, which is the network itself when there is none
			if far, ok := netip.AddrFromSlice(a.Peer.IP); ok {
				ones, _ = a.Peer.Mask.Size()
				network = netip.PrefixFrom(far.Unmap(), ones).Masked()
			}
		}
		out.connected = append(out.connected, connected{network, a.LinkIndex, self})
	}
	return out, nil
}

// resolve finds the link behind a next hop: the one whose network holds it, or, for a link-local next hop without a
// zone, the one that reaches the peer who named it.
func (l links) resolve(nextHop, peer netip.Addr) (hop, bool) {
	if nextHop.Is6() && nextHop.IsLinkLocalUnicast() {
		if zone := nextHop.Zone(); zone != "" {
			index, up := l.index[zone]
			return hop{nextHop.WithZone(""), index}, up
		}
		via, ok := l.resolve(peer, netip.Addr{})
		return hop{nextHop, via.link}, ok && peer != nextHop
	}
	best, found := connected{}, false
	for _, c := range l.connected {
		if c.self == nextHop {
			return hop{}, false
		}
		if c.network.Contains(nextHop) && (!found || c.network.Bits() > best.network.Bits()) {
			best, found = c, true
		}
	}
	return hop{nextHop, best.link}, found
}
