package wire

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/anyvip/anyvip/vrrp"
)

// openFrames opens a packet socket that sends whole frames, and receives none.
func openFrames() (fd int, err error) {
	return unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
}

// sendFrame sends a frame out of the link with an index.
func sendFrame(fd, index int, frame []byte) error {
	to := unix.SockaddrLinklayer{Ifindex: index, Halen: 6, Protocol: bigEndian(binary.BigEndian.Uint16(frame[12:]))}
	copy(to.Addr[:], frame[:6])
	return unix.Sendto(fd, frame, 0, &to)
}

// appendHeader appends the header of an Ethernet frame.
func appendHeader(b []byte, dst, src []byte, etherType uint16) []byte {
	b = append(append(b, dst...), src...)
	return binary.BigEndian.AppendUint16(b, etherType)
}

// appendAdvertisement appends the frame that carries an advertisement from src to the
// group dst, as the kernel sends it from a raw IP socket, but for the MAC.
func appendAdvertisement(b []byte, mac [6]byte, src, dst netip.Addr, id uint16, packet []byte) []byte {
	group := dst.AsSlice()
	if src.Is4() {
		group = append([]byte{0x01, 0x00, 0x5e, group[1] & 0x7f}, group[2:]...) // RFC 1112, section 6.4
		b = appendIPv4(appendHeader(b, group, mac[:], unix.ETH_P_IP), src, dst, id, len(packet))
	} else {
		group = append([]byte{0x33, 0x33}, group[12:]...) // RFC 2464, section 7
		b = appendIPv6(appendHeader(b, group, mac[:], unix.ETH_P_IPV6), src, dst, len(packet))
	}
	return append(b, packet...)
}

func appendIPv4(b []byte, src, dst netip.Addr, id uint16, payload int) []byte {
	start := len(b)
	b = append(b, 0x45, control)
	b = binary.BigEndian.AppendUint16(b, uint16(20+payload))
	b = binary.BigEndian.AppendUint16(b, id)
	b = append(b, 0, 0, vrrp.HopLimit, vrrp.Protocol, 0, 0)
	b = append(append(b, src.AsSlice()...), dst.AsSlice()...)
	binary.BigEndian.PutUint16(b[start+10:], headerChecksum(b[start:]))
	return b
}

// headerChecksum is RFC 791's, of a header whose own checksum is 0.
func headerChecksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

func appendIPv6(b []byte, src, dst netip.Addr, payload int) []byte {
	b = append(b, 0x60|control>>4, control&0xf<<4, 0, 0) // version, traffic class, no flow label
	b = binary.BigEndian.AppendUint16(b, uint16(payload))
	b = append(b, vrrp.Protocol, vrrp.HopLimit)
	return append(append(b, src.AsSlice()...), dst.AsSlice()...)
}
