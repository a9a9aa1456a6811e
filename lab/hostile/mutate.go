package hostile

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
)

// maxLength is that of a message without extended messages (RFC 8654).
const maxLength = 4096

// source makes messages from a seed.
type source struct {
	*rand.Rand
	asn     uint32
	address netip.Addr
	others  [][]byte
}

func newSource(seed, stream uint64, asn uint32, address netip.Addr) *source {
	return &source{rand.New(rand.NewPCG(seed, stream)), asn, address, others()}
}

// chance is true in one of n cases.
func (s *source) chance(n int) bool { return s.IntN(n) == 0 }

// update is a valid UPDATE, but for families that were not negotiated.
func (s *source) update() []byte {
	attributes := mandatory(s.asn, s.address)
	for range s.IntN(5) {
		attributes = append(attributes, s.others[s.IntN(len(s.others))])
	}
	var announced, withdrawn []byte
	for range s.IntN(4) {
		announced = append(announced, routes[s.IntN(len(routes))]...)
	}
	if s.chance(4) {
		withdrawn = routes[s.IntN(len(routes))]
	}
	return update(withdrawn, attributes, announced)
}

// badUpdate is an UPDATE that was valid.
func (s *source) badUpdate() []byte {
	attributes := mandatory(s.asn, s.address)
	for range 1 + s.IntN(4) {
		attributes = append(attributes, slices.Clone(s.others[s.IntN(len(s.others))]))
	}
	switch s.IntN(6) {
	case 0: // wrong within one attribute whose length is right
		i := s.IntN(len(attributes))
		value := s.damage(attributes[i][min(3, len(attributes[i])):])
		attributes[i] = attribute(attributes[i][0]&^extended, attributes[i][1], value...)
	case 1: // an attribute of any kind
		attributes = append(attributes, attribute(byte(s.Uint32()), byte(s.Uint32()), s.bytes(s.IntN(300))...))
	case 2: // order, twice, none
		s.Shuffle(len(attributes), func(i, j int) { attributes[i], attributes[j] = attributes[j], attributes[i] })
		attributes = append(attributes, attributes[0])[s.IntN(3):]
	case 3: // NLRI
		return update(s.bytes(s.IntN(20)), attributes, s.bytes(s.IntN(40)))
	default:
		m := s.update()
		return s.reframe(m[18], s.damage(m[headerLength:]))
	}
	return update(nil, attributes, routes[s.IntN(len(routes))])
}

// bad is a message of any kind that was valid.
func (s *source) bad() []byte {
	switch s.IntN(8) {
	case 0:
		m := s.open()
		return s.reframe(typeOpen, s.damage(m[headerLength:]))
	case 1:
		return s.reframe(typeNotification, s.bytes(s.IntN(60)))
	case 2:
		return s.reframe(typeRouteRefresh, s.damage([]byte{0, 1, 0, 1}))
	case 3:
		return s.reframe(typeKeepalive, s.bytes(s.IntN(5)))
	case 4:
		return s.reframe(byte(s.Uint32()), s.bytes(s.IntN(100)))
	default:
		return s.badUpdate()
	}
}

func (s *source) open() []byte { return open(s.asn, 9, s.address) }

// reframe puts a header before a body, which is wrong in one of six cases.
func (s *source) reframe(kind byte, body []byte) []byte {
	m := message(kind, body)
	if !s.chance(6) {
		return m
	}
	switch s.IntN(4) {
	case 0:
		m[s.IntN(16)] = byte(s.Uint32()) // marker
	case 1:
		binary.BigEndian.PutUint16(m[16:], uint16(s.Uint32())) // length
	case 2:
		lengths := []uint16{0, 18, 19, maxLength, maxLength + 1, 65535}
		binary.BigEndian.PutUint16(m[16:], lengths[s.IntN(len(lengths))])
	default:
		m = m[:s.IntN(len(m))] // its end is missing
	}
	return m
}

// damage changes a copy of b in one to four places.
func (s *source) damage(b []byte) []byte {
	b = slices.Clone(b)
	for range 1 + s.IntN(4) {
		if len(b) == 0 {
			return s.bytes(s.IntN(8))
		}
		at := s.IntN(len(b))
		to := min(len(b), at+1+s.IntN(16))
		switch s.IntN(7) {
		case 0:
			b[at] ^= 1 << s.IntN(8)
		case 1:
			b[at] = byte(s.Uint32())
		case 2: // what may be a length, at its limits
			b[at] = []byte{0, 1, 0x7f, 0x80, 0xfe, 0xff}[s.IntN(6)]
		case 3:
			b = slices.Delete(b, at, to)
		case 4:
			b = slices.Insert(b, at, slices.Clone(b[at:to])...)
		case 5:
			b = slices.Insert(b, at, s.bytes(1+s.IntN(16))...)
		default:
			b = b[:at]
		}
	}
	return b[:min(len(b), maxLength-headerLength)]
}

func (s *source) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(s.Uint32())
	}
	return b
}
