package vrrp

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// Protocol is VRRP's number in IP headers, and CARP's.
const Protocol = 112

// HopLimit is what TTL and hop limit of an advertisement must be, RFC 9568, section
// 5.1.1.3: it has crossed no router.
const HopLimit = 255

// The groups that advertisements go to, RFC 9568, sections 5.1.1.2 and 5.1.2.2.
var (
	Group4 = netip.AddrFrom4([4]byte{224, 0, 0, 18})
	Group6 = netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 15: 0x12})
)

// Special priorities, RFC 9568, section 5.2.4.
const (
	PriorityLeaves uint8 = 0   // the Active router stops taking part
	PriorityOwner  uint8 = 255 // the router owns the addresses
)

// MaxPassword is how many bytes of a password go on the wire. keepalived cuts longer
// ones without a word.
const MaxPassword = 8

const (
	typeAdvertisement = 1
	headerLen         = 8
	authLen           = 8  // version 2 ends in this many bytes, used or not
	carpLen           = 36 // version 2, type 1, authlen 7: BSD's protocol on the same number
	carpAuthLen       = 7

	authNone     = 0
	authPassword = 1

	centisecond   = 10 * time.Millisecond
	maxInterval3  = 0xfff * centisecond // 12 bits
	maxInterval2  = 255 * time.Second
	maxListLength = 255
)

// Checksum says what the checksum of a version 3 packet over IPv4 covers. Over IPv6 it
// is always PseudoHeader, in version 2 always Plain.
type Checksum uint8

// The kinds of checksum.
const (
	PseudoHeader Checksum = iota // message and pseudo-header, RFC 5798: keepalived, FRR
	Plain                        // the message alone, RFC 9568, section 5.2.8
)

func (c Checksum) String() string {
	if c == Plain {
		return "plain"
	}
	return "pseudo_header"
}

// Advertisement is what one packet says, RFC 9568, section 5.2, and RFC 3768, section
// 5.3.
type Advertisement struct {
	Version   uint8 // 2 or 3
	VRID      uint8
	Priority  uint8
	Interval  time.Duration // Max Advertise Interval: centiseconds in version 3, seconds in version 2
	Addresses []netip.Addr
	Secured   bool              // version 2: it carries Password
	Password  [MaxPassword]byte // padded with zeros
	Checksum  Checksum
}

// Append appends the packet from src to dst to b. It keeps what fits of an interval
// and of a list of addresses: whoever makes an advertisement has validated both.
func (a Advertisement) Append(b []byte, src, dst netip.Addr) []byte {
	start := len(b)
	b = append(b, a.Version<<4|typeAdvertisement, a.VRID, a.Priority, uint8(min(len(a.Addresses), maxListLength)))
	if a.Version == 2 {
		auth := uint8(authNone)
		if a.Secured {
			auth = authPassword
		}
		b = append(b, auth, uint8(min(a.Interval, maxInterval2)/time.Second))
	} else {
		b = binary.BigEndian.AppendUint16(b, uint16(min(a.Interval, maxInterval3)/centisecond))
	}
	b = append(b, 0, 0)
	for i, addr := range a.Addresses {
		if i == maxListLength {
			break
		}
		b = append(b, addr.AsSlice()...)
	}
	if a.Version == 2 {
		b = append(b, a.Password[:]...)
	}
	packet := b[start:]
	binary.BigEndian.PutUint16(packet[6:], checksum(packet, a.covers(src), src, dst))
	return b
}

// covers is the kind of checksum that a has as a packet from src.
func (a Advertisement) covers(src netip.Addr) Checksum {
	switch {
	case a.Version == 2:
		return Plain
	case src.Is6():
		return PseudoHeader
	}
	return a.Checksum
}

// Parse reads the packet b from src to dst into a, whose list of addresses it uses
// again. It does what RFC 9568, section 7.1, wants of the packet by itself; what it is
// compared with is the Machine's affair. After a Drop a holds what could be read.
func (a *Advertisement) Parse(b []byte, src, dst netip.Addr) Drop {
	*a = Advertisement{Addresses: a.Addresses[:0]}
	if len(b) < headerLen {
		return DropShort
	}
	a.Version, a.VRID, a.Priority = b[0]>>4, b[1], b[2]
	if a.Version != 3 && (a.Version != 2 || !src.Is4()) {
		return DropVersion
	}
	if b[0]&0xf != typeAdvertisement {
		return DropType
	}
	count, size := int(b[3]), src.BitLen()/8
	if a.Version == 2 && len(b) == carpLen && count == carpAuthLen {
		return DropCARP
	}
	end := headerLen + count*size
	if a.Version == 2 {
		if len(b) < end+authLen {
			return DropShort
		}
		a.Interval = time.Duration(b[5]) * time.Second
		a.Secured = b[4] == authPassword
		copy(a.Password[:], b[end:])
	} else {
		if len(b) < end {
			return DropShort
		}
		// The upper four bits are reserved, and ignored: section 5.2.6.
		a.Interval = time.Duration(binary.BigEndian.Uint16(b[4:])&0xfff) * centisecond
	}
	if drop := a.verify(b, src, dst); drop != Accepted {
		return drop
	}
	for i := headerLen; i < end; i += size {
		addr, _ := netip.AddrFromSlice(b[i : i+size])
		a.Addresses = append(a.Addresses, addr)
	}
	switch {
	case a.Version == 2 && b[4] != authNone && b[4] != authPassword:
		return DropAuthType
	case count == 0: // erratum 8299
		return DropNoAddress
	case a.Interval == 0: // erratum 8301
		return DropInterval
	}
	return Accepted
}

// verify checks the checksum, and notes which kind it is.
func (a *Advertisement) verify(b []byte, src, dst netip.Addr) Drop {
	a.Checksum = a.covers(src)
	if checksum(b, a.Checksum, src, dst) == 0 {
		return Accepted
	}
	if a.Version == 3 && src.Is4() && checksum(b, Plain, src, dst) == 0 {
		a.Checksum = Plain
		return Accepted
	}
	return DropChecksum
}

// checksum is the Internet checksum (RFC 1071) over the message b, and before it the
// pseudo-header of RFC 8200, section 8.1, or its IPv4 like. Over a packet with a right
// checksum in it, it is 0.
func checksum(b []byte, kind Checksum, src, dst netip.Addr) uint16 {
	var sum uint32
	if kind == PseudoHeader {
		for _, addr := range [...]netip.Addr{src, dst} {
			if addr.Is4() {
				a4 := addr.As4()
				sum = add(sum, a4[:])
			} else {
				a16 := addr.As16()
				sum = add(sum, a16[:])
			}
		}
		sum += Protocol + uint32(len(b))
	}
	sum = add(sum, b)
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

func add(sum uint32, b []byte) uint32 {
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	return sum
}
