package lease

import (
	"errors"
	"fmt"
	"io/fs"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/anyvip/anyvip/pkg/kernel/sysctl"
)

// stations is links'.
func (k *rtnetlink) stations() (out []station, err error) {
	var list []netlink.Link
	for range dumpTries {
		if list, err = k.handle.LinkList(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	for _, l := range list {
		a := l.Attrs()
		s := station{name: a.Name, index: a.Index, macvlan: l.Type() == "macvlan", alias: a.Alias, up: a.RawFlags&unix.IFF_UP != 0, mtu: a.MTU}
		copy(s.mac[:], a.HardwareAddr)
		out = append(out, s)
	}
	return out, nil
}

// alter is links'.
func (k *rtnetlink) alter(a alteration) (index int, err error) {
	link := &netlink.Macvlan{LinkAttrs: netlink.LinkAttrs{Index: a.index}}
	switch a.act {
	case construct:
		return k.construct(a)
	case raise:
		return a.index, k.raise(link, a.what)
	case sink:
		return a.index, k.handle.LinkSetDown(link)
	case resize:
		return a.index, k.handle.LinkSetMTU(link, a.mtu)
	case demolish:
		return a.index, k.handle.LinkDel(link)
	}
	return 0, nil
}

// construct makes a macvlan. It gets its name last, so that one with that name and the
// mark is complete, whenever this process dies.
func (k *rtnetlink) construct(a alteration) (index int, err error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex, attrs.HardwareAddr = draft, a.what.lower, net.HardwareAddr(a.what.mac[:])
	// Private: it hears nothing of other links over the same one, nor they of it.
	link := &netlink.Macvlan{LinkAttrs: attrs, Mode: netlink.MACVLAN_MODE_PRIVATE}
	if err := k.handle.LinkAdd(link); err != nil {
		return 0, err
	}
	if err := k.furnish(link, a); err != nil {
		return 0, errors.Join(err, k.handle.LinkDel(link))
	}
	return link.Index, nil
}

func (k *rtnetlink) furnish(link *netlink.Macvlan, a alteration) error {
	for _, s := range settings(a.what.family(), a.link) {
		err := sysctl.Write(s.family, draft, s.name, s.value)
		if s.family == sysctl.IPv6 && a.what.family() == 4 && errors.Is(err, fs.ErrNotExist) {
			continue // a kernel without IPv6
		}
		if err != nil {
			return err
		}
	}
	if err := k.handle.LinkSetAlias(link, a.mark); err != nil {
		return err
	}
	return k.handle.LinkSetName(link, a.what.name())
}

// setting is a sysctl of a macvlan.
type setting struct {
	family, name string
	value        int
}

// settings are what a macvlan has to be like: it speaks for the addresses on it, and
// for nothing else, in no other family. Packets for them come in there, and what
// answers them goes out of the link below, as it would without a macvlan.
func settings(family int, link string) []setting {
	if family == 4 {
		return []setting{
			{sysctl.IPv6, "disable_ipv6", 1},
			{sysctl.IPv4, "arp_ignore", 1},
			{sysctl.IPv4, "arp_announce", 2},
			{sysctl.IPv4, "arp_filter", 0}, // the way back is never through it
			{sysctl.IPv4, "rp_filter", 2},  // for the same reason; 2 wins over 1 of "all"
			{sysctl.IPv4, "proxy_arp", 0},
			{sysctl.IPv4, "forwarding", like(sysctl.IPv4, link)},
		}
	}
	return []setting{
		{sysctl.IPv4, "arp_ignore", 8}, // ARP is not its affair
		{sysctl.IPv4, "forwarding", 0},
		{sysctl.IPv6, "addr_gen_mode", 1}, // none
		{sysctl.IPv6, "accept_ra", 0},
		{sysctl.IPv6, "autoconf", 0},
		{sysctl.IPv6, "router_solicitations", 0},
		// The kernel says twice that it joins a group: the second time at once, and not up to
		// a second (or ten) later, when another router may have the MAC.
		{sysctl.IPv6, "mldv1_unsolicited_report_interval", 1},
		{sysctl.IPv6, "mldv2_unsolicited_report_interval", 1},
		{sysctl.IPv6, "disable_ipv6", 0},
		{sysctl.IPv6, "forwarding", like(sysctl.IPv6, link)},
	}
}

// like is whether a link forwards; what cannot be read is no.
func like(family, link string) int {
	v, _ := sysctl.Read(family, link, "forwarding")
	return v
}

// raise brings a macvlan up. An IPv6 link-local address is of its link alone, so its
// neighbours are reached through that.
func (k *rtnetlink) raise(link *netlink.Macvlan, what macvlan) error {
	if err := k.handle.LinkSetUp(link); err != nil || what.family() == 4 {
		return err
	}
	neighbours := &net.IPNet{IP: net.IP{0: 0xfe, 1: 0x80, 15: 0}, Mask: net.CIDRMask(64, 128)}
	return k.handle.RouteReplace(&netlink.Route{LinkIndex: link.Index, Dst: neighbours, Scope: netlink.SCOPE_LINK, Protocol: unix.RTPROT_KERNEL})
}

// flux is links'.
func (k *rtnetlink) flux(link string) string {
	arp, err := sysctl.ReadARP(link)
	if err != nil {
		return err.Error()
	}
	if fault := arp.Fault(link); fault != "" {
		return "with virtual_mac, " + link + " must speak ARP for its own addresses alone: " + fault
	}
	if own := max(arp.Ignore, arp.IgnoreAll); own > 2 {
		return fmt.Sprintf("with virtual_mac, %s must speak ARP for its own addresses alone: arp_ignore is %d, which is none of 1, 2; %s", link, own, sysctl.Run(link, "arp_ignore=1"))
	}
	// What counts for every link must leave the macvlan able to answer, and for nothing else.
	for _, s := range []struct {
		name string
		most int
	}{{"arp_ignore", 1}, {"arp_filter", 0}, {"proxy_arp", 0}} {
		v, err := sysctl.Read(sysctl.IPv4, sysctl.All, s.name)
		switch {
		case err != nil:
			return err.Error()
		case v > s.most:
			return fmt.Sprintf("with virtual_mac, %s of all links must be at most %d, and is %d: set it for single links; %s", s.name, s.most, v, sysctl.Run(sysctl.All, fmt.Sprintf("%s=%d", s.name, s.most)))
		}
	}
	return ""
}
