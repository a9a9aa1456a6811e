package kernel

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/anyvip/anyvip/pkg/durable"
	"github.com/anyvip/anyvip/pkg/kernel/sysctl"
)

// errExists is an add of what is there already.
var errExists = errors.New("the address is there already")

const (
	answerTimeout = 5 * time.Second // the kernel answers at once; this is for the day it does not
	dumpTries     = 3
	bridgeLife    = 5 // seconds
)

// rtnetlink is the host as the kernel shows it. Run's goroutine owns it.
type rtnetlink struct {
	handle *netlink.Handle
	life   durable.Life
	links  scene // without addresses; nil before the first dump
}

func openKernel() (*rtnetlink, error) {
	h, err := openHandle()
	if err != nil {
		return nil, err
	}
	lf, err := durable.ThisLife()
	if err != nil {
		h.Close()
		return nil, err
	}
	return &rtnetlink{handle: h, life: lf}, nil
}

func openHandle() (*netlink.Handle, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	if err := h.SetSocketTimeout(answerTimeout); err != nil {
		h.Close()
		return nil, fmt.Errorf("set netlink timeout: %w", err)
	}
	return h, nil
}

func (k *rtnetlink) close() { k.handle.Close() }

// look dumps addresses, and links if hinted or never done before.
func (k *rtnetlink) look(h hint) (scene, error) {
	if h == hintLinks || k.links == nil {
		if err := k.dumpLinks(); err != nil {
			return nil, err
		}
	}
	found, err := k.dumpAddresses()
	if err != nil {
		return nil, err
	}
	seen := slices.Clone(k.links)
	at := make(map[int]int, len(seen))
	for i, l := range seen {
		at[l.index] = i
	}
	for _, a := range found {
		// The address of a link that is not known belongs to one made just now: its own hint follows.
		if i, ok := at[a.LinkIndex]; ok {
			if converted, ok := convertAddress(a); ok {
				seen[i].addresses = append(seen[i].addresses, converted)
			}
		}
	}
	return seen, nil
}

func (k *rtnetlink) dumpLinks() error {
	list, err := k.handle.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) { // interrupted: a hint of what did it is under way
		return fmt.Errorf("list links: %w", err)
	}
	links := make(scene, 0, len(list))
	for _, l := range list {
		links = append(links, convertLink(l.Attrs()))
	}
	slices.SortFunc(links, func(a, b link) int { return a.index - b.index })
	k.links = links
	return nil
}

// dumpAddresses dumps again when addresses changed under the dump, which may
// then lack some that are there. What any of the dumps saw counts: the hint of
// a removal in between is under way.
func (k *rtnetlink) dumpAddresses() ([]netlink.Addr, error) {
	var all []netlink.Addr
	for range dumpTries {
		list, err := k.handle.AddrList(nil, netlink.FAMILY_ALL)
		if err == nil {
			return list, nil
		}
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			return nil, fmt.Errorf("list addresses: %w", err)
		}
		all = union(all, list)
	}
	return all, nil
}

func union(old, list []netlink.Addr) []netlink.Addr {
	type key struct {
		link int
		cidr string
	}
	seen := make(map[key]bool, len(list))
	for _, a := range list {
		seen[key{a.LinkIndex, a.IPNet.String()}] = true
	}
	for _, a := range old {
		if !seen[key{a.LinkIndex, a.IPNet.String()}] {
			list = append(list, a)
		}
	}
	return list
}

func convertLink(a *netlink.LinkAttrs) link {
	return link{
		name:    a.Name,
		index:   a.Index,
		enabled: a.RawFlags&unix.IFF_UP != 0,
		up:      a.OperState == netlink.OperUp || a.OperState == netlink.OperUnknown && a.RawFlags&unix.IFF_UP != 0,
		mtu:     a.MTU,
		arp:     a.RawFlags&(unix.IFF_LOOPBACK|unix.IFF_NOARP) == 0,
	}
}

func convertAddress(a netlink.Addr) (address, bool) {
	p, ok := prefixOf(a.IPNet)
	if !ok {
		return address{}, false
	}
	subnet := p.Masked()
	if peer, ok := prefixOf(a.Peer); ok {
		subnet = peer.Masked()
	}
	return address{
		prefix:     p,
		subnet:     subnet,
		hostScope:  a.Scope == unix.RT_SCOPE_HOST,
		deprecated: a.PreferedLft == 0,
		permanent:  a.Flags&unix.IFA_F_PERMANENT != 0,
		tentative:  a.Flags&unix.IFA_F_TENTATIVE != 0,
		duplicate:  a.Flags&unix.IFA_F_DADFAILED != 0,
	}, true
}

func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	ip, ok := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(ip, ones), ok
}

// do changes one address.
func (k *rtnetlink) do(v verb, c change) (err error) {
	switch v {
	case add:
		err = k.handle.AddrAdd(nil, vipOn(c.ip, c.link))
		if errors.Is(err, unix.EEXIST) {
			return errExists
		}
	case mend:
		err = k.mend(c)
	case remove:
		err = k.handle.AddrDel(nil, hostAddress(c.ip, c.link))
		if errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.ENODEV) {
			return nil
		}
	}
	return err
}

// mend sets attributes right without a moment in which the host lacks the
// address. The kernel changes lifetimes in place, but not the scope. So for a
// wrong scope the address stands in a second form while it is replaced; that
// form has a lifetime, in case we die in between.
func (k *rtnetlink) mend(c change) error {
	right := vipOn(c.ip, c.link)
	if c.ip.Is6() || c.now.hostScope {
		return k.handle.AddrReplace(nil, right)
	}
	bridge := vipOn(c.ip, c.link)
	bridge.Mask = net.CIDRMask(31, 32)
	bridge.Flags = unix.IFA_F_NOPREFIXROUTE
	bridge.ValidLft, bridge.PreferedLft = bridgeLife, bridgeLife
	if err := k.handle.AddrReplace(nil, bridge); err != nil {
		return err
	}
	return errors.Join(
		k.handle.AddrDel(nil, hostAddress(c.ip, c.link)),
		k.handle.AddrAdd(nil, right),
		k.handle.AddrDel(nil, bridge))
}

// vipOn is a VIP as we add it: never the source of traffic that this host starts.
func vipOn(ip netip.Addr, l link) *netlink.Addr {
	a := hostAddress(ip, l)
	if ip.Is4() {
		a.Scope = unix.RT_SCOPE_HOST
		return a
	}
	a.Flags = unix.IFA_F_NODAD
	a.ValidLft = math.MaxUint32 // for ever, with PreferedLft 0: never preferred
	return a
}

func hostAddress(ip netip.Addr, l link) *netlink.Addr {
	bits := ip.BitLen()
	return &netlink.Addr{IPNet: &net.IPNet{IP: ip.AsSlice(), Mask: net.CIDRMask(bits, bits)}, LinkIndex: l.index}
}

// arpSettings reads the sysctls of a link, all of them or none.
func (k *rtnetlink) arpSettings(link string) (sysctl.ARP, error) { return sysctl.ReadARP(link) }
