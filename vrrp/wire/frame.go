package wire

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/anyvip/anyvip/vrrp"
)

// parse takes a packet apart, from its network header on. What it returns has no Link
// and no time yet, and is valid as long as b is.
func parse(b []byte, from *unix.SockaddrLinklayer) (a vrrp.Arrival, ok bool) {
	if from.Halen != 6 {
		return a, false
	}
	a.MAC = [6]byte(from.Addr[:6])
	switch bigEndian(from.Protocol) {
	case unix.ETH_P_IP:
		ok = parseIPv4(b, &a)
	case unix.ETH_P_IPV6:
		ok = parseIPv6(b, &a)
	case unix.ETH_P_ARP:
		ok = parseARP(b, &a)
	}
	return a, ok
}

func parseIPv4(b []byte, a *vrrp.Arrival) bool {
	if len(b) < 20 || b[0]>>4 != 4 {
		return false
	}
	header, total := int(b[0]&0xf)*4, int(binary.BigEndian.Uint16(b[2:]))
	fragment := binary.BigEndian.Uint16(b[6:]) & 0x3fff // more fragments, or an offset: nobody sends these
	if header < 20 || total < header || total > len(b) || fragment != 0 || b[9] != vrrp.Protocol {
		return false
	}
	a.Src, a.Dst, a.HopLimit = netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:])), b[8]
	a.Packet = b[header:total]
	return true
}

func parseIPv6(b []byte, a *vrrp.Arrival) bool {
	if len(b) < 40 || b[0]>>4 != 6 {
		return false
	}
	end := 40 + int(binary.BigEndian.Uint16(b[4:]))
	if end > len(b) {
		return false
	}
	a.Src, a.Dst, a.HopLimit = netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:])), b[7]
	payload := b[40:end]
	switch b[6] {
	case vrrp.Protocol:
		a.Packet = payload
		return true
	case icmpv6:
		// RFC 4861, section 4.4: the target is behind type, code, checksum and flags.
		if len(payload) < 24 || payload[0] != neighborAdvertisement || a.HopLimit != 255 {
			return false
		}
		a.Claim = netip.AddrFrom16([16]byte(payload[8:]))
		return true
	}
	return false
}

// parseARP takes what a sender says it has: in a request as well as in a reply. A probe
// (RFC 5227) claims nothing.
func parseARP(b []byte, a *vrrp.Arrival) bool {
	ethernetIPv4 := [6]byte{0, 1, 8, 0, 6, 4}
	if len(b) < 28 || [6]byte(b) != ethernetIPv4 {
		return false
	}
	a.Claim = netip.AddrFrom4([4]byte(b[14:]))
	a.MAC = [6]byte(b[8:])
	return !a.Claim.IsUnspecified()
}
