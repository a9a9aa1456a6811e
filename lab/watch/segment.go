package watch

import (
	"encoding/binary"
	"net/netip"
)

const bgpPort = 179

// segment is a TCP segment of a BGP connection.
type segment struct {
	src, dst      netip.AddrPort
	seq           uint32
	syn, fin, rst bool
	payload       []byte // aliases the packet
}

// parseSegment reads a packet from its network header on. It is false for anything but a whole TCP segment from or to
// port 179; IPv6 extension headers, which BGP does not use, are not walked.
func parseSegment(packet []byte) (segment, bool) {
	if len(packet) == 0 {
		return segment{}, false
	}
	switch packet[0] >> 4 {
	case 4:
		return parseIPv4(packet)
	case 6:
		return parseIPv6(packet)
	default:
		return segment{}, false
	}
}

func parseIPv4(p []byte) (segment, bool) {
	const tcp = 6
	if len(p) < 20 || p[9] != tcp {
		return segment{}, false
	}
	header, total := int(p[0]&0xf)*4, int(binary.BigEndian.Uint16(p[2:]))
	fragment := binary.BigEndian.Uint16(p[6:])&0x3fff != 0 // more fragments, or an offset
	if header < 20 || total < header || total > len(p) || fragment {
		return segment{}, false
	}
	src, dst := netip.AddrFrom4([4]byte(p[12:16])), netip.AddrFrom4([4]byte(p[16:20]))
	return parseTCP(src, dst, p[header:total])
}

func parseIPv6(p []byte) (segment, bool) {
	const tcp = 6
	if len(p) < 40 || p[6] != tcp {
		return segment{}, false
	}
	total := 40 + int(binary.BigEndian.Uint16(p[4:]))
	if total > len(p) {
		return segment{}, false
	}
	src, dst := netip.AddrFrom16([16]byte(p[8:24])), netip.AddrFrom16([16]byte(p[24:40]))
	return parseTCP(src, dst, p[40:total])
}

func parseTCP(src, dst netip.Addr, p []byte) (segment, bool) {
	if len(p) < 20 {
		return segment{}, false
	}
	header := int(p[12]>>4) * 4
	if header < 20 || header > len(p) {
		return segment{}, false
	}
	s := segment{
		src:     netip.AddrPortFrom(src, binary.BigEndian.Uint16(p[0:])),
		dst:     netip.AddrPortFrom(dst, binary.BigEndian.Uint16(p[2:])),
		seq:     binary.BigEndian.Uint32(p[4:]),
		fin:     p[13]&0x01 != 0,
		syn:     p[13]&0x02 != 0,
		rst:     p[13]&0x04 != 0,
		payload: p[header:],
	}
	return s, s.src.Port() == bgpPort || s.dst.Port() == bgpPort
}
