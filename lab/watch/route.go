package watch

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kernelRoute is one RTM_NEWROUTE or RTM_DELROUTE of the main table.
type kernelRoute struct {
	prefix netip.Prefix
	metric uint32
	kind   uint8 // unix.RTN_...
	hops   []kernelHop
}

// kernelHop is a next hop with its link by number: names may change.
type kernelHop struct {
	addr   netip.Addr
	link   int
	weight int
}

func (a kernelHop) compare(b kernelHop) int {
	return cmp.Or(a.addr.Compare(b.addr), cmp.Compare(a.link, b.link), cmp.Compare(a.weight, b.weight))
}

// parseRoute reads a message. It is false for what is no route of the main table.
func parseRoute(m syscall.NetlinkMessage) (kernelRoute, bool) {
	if len(m.Data) < unix.SizeofRtMsg {
		return kernelRoute{}, false
	}
	header := (*unix.RtMsg)(unsafe.Pointer(&m.Data[0]))
	attributes, err := syscall.ParseNetlinkRouteAttr(&m)
	if err != nil || header.Flags&unix.RTM_F_CLONED != 0 || header.Src_len != 0 {
		return kernelRoute{}, false
	}
	table := uint32(header.Table)
	r := kernelRoute{kind: header.Type}
	var single kernelHop
	destination := netip.IPv4Unspecified()
	if header.Family == unix.AF_INET6 {
		destination = netip.IPv6Unspecified()
	}
	for _, a := range attributes {
		switch a.Attr.Type {
		case unix.RTA_DST:
			destination, _ = netip.AddrFromSlice(a.Value)
		case unix.RTA_TABLE:
			table = number(a.Value)
		case unix.RTA_PRIORITY:
			r.metric = number(a.Value)
		case unix.RTA_OIF:
			single.link = int(number(a.Value))
		case unix.RTA_GATEWAY, unix.RTA_VIA:
			single.addr = gateway(a.Attr.Type, a.Value)
		case unix.RTA_MULTIPATH:
			r.hops = parseHops(a.Value)
		}
	}
	if (header.Family != unix.AF_INET && header.Family != unix.AF_INET6) || table != unix.RT_TABLE_MAIN || !destination.IsValid() {
		return kernelRoute{}, false
	}
	if single.link != 0 && header.Flags&unix.RTNH_F_DEAD == 0 && r.kind == unix.RTN_UNICAST {
		single.weight = 1
		r.hops = append(r.hops, single)
	}
	slices.SortFunc(r.hops, kernelHop.compare)
	r.prefix = netip.PrefixFrom(destination, int(header.Dst_len))
	return r, true
}

// parseHops reads the rtnexthop list of RTA_MULTIPATH, without dead ones.
func parseHops(b []byte) []kernelHop {
	var out []kernelHop
	for len(b) >= unix.SizeofRtNexthop {
		head := (*unix.RtNexthop)(unsafe.Pointer(&b[0]))
		length := int(head.Len)
		if length < unix.SizeofRtNexthop || length > len(b) {
			break
		}
		hop := kernelHop{link: int(head.Ifindex), weight: int(head.Hops) + 1}
		for rest := b[unix.SizeofRtNexthop:length]; len(rest) >= unix.SizeofRtAttr; {
			attr := (*unix.RtAttr)(unsafe.Pointer(&rest[0]))
			n := int(attr.Len)
			if n < unix.SizeofRtAttr || n > len(rest) {
				break
			}
			if attr.Type == unix.RTA_GATEWAY || attr.Type == unix.RTA_VIA {
				hop.addr = gateway(attr.Type, rest[unix.SizeofRtAttr:n])
			}
			rest = rest[min(len(rest), aligned(n)):]
		}
		if head.Flags&unix.RTNH_F_DEAD == 0 {
			out = append(out, hop)
		}
		b = b[min(len(b), aligned(length)):]
	}
	return out
}

// gateway reads an address, which RTA_VIA puts behind its family (IPv4 over an IPv6 next hop, RFC 8950).
func gateway(kind uint16, b []byte) netip.Addr {
	if kind == unix.RTA_VIA && len(b) >= 2 {
		b = b[2:]
	}
	addr, _ := netip.AddrFromSlice(b)
	return addr
}

func number(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(b)
}

func aligned(n int) int { return (n + 3) &^ 3 }
