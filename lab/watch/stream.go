package watch

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// What a stream holds back while a segment is missing. A BGP connection of the lab carries far less at a time; past
// these bounds the missing segment was lost to us, not to the peers, and the stream goes on behind it.
const (
	maxHeldBytes    = 1 << 20
	maxHeldSegments = 256
)

// A jump in the sequence numbers further than any window is another connection.
const maxJump = 1 << 30

const (
	headerLen      = 19 // RFC 4271, section 4.1
	markerLen      = 16
	minOpenLen     = 29
	minUpdateLen   = 23
	minNotifyLen   = 21
	maxPlainLength = 4096 // of OPEN and KEEPALIVE; others may be longer (RFC 8654)
)

var marker = bytes.Repeat([]byte{0xff}, markerLen)

// stream puts one direction of a TCP connection together and cuts it into BGP messages.
type stream struct {
	begun   bool
	next    uint32 // sequence number of the byte after buf
	buf     []byte // bytes in order, not yet cut
	aligned bool   // buf begins with a message
	held    []heldSegment
	heldLen int
}

type heldSegment struct {
	seq     uint32
	payload []byte
}

// begin starts the stream behind a SYN. A repeated SYN changes nothing.
func (s *stream) begin(seq uint32) {
	if s.begun && s.next == seq+1 && len(s.buf) == 0 {
		return
	}
	*s = stream{begun: true, next: seq + 1, aligned: true}
}

// add takes a segment and calls message for each BGP message that is complete; its argument is valid during the call.
// It returns how many bytes were skipped because they are no message, or were never seen. The first segment of a
// stream without a SYN may begin anywhere.
func (s *stream) add(seq uint32, payload []byte, message func([]byte)) (skipped int) {
	if len(payload) == 0 {
		return 0
	}
	ahead := int32(seq - s.next)
	if !s.begun || ahead > maxJump || ahead < -maxJump {
		*s = stream{begun: true, next: seq}
		ahead = 0
	}
	if ahead > 0 {
		s.hold(seq, payload)
		if s.heldLen <= maxHeldBytes && len(s.held) <= maxHeldSegments {
			return 0
		}
		skipped = s.giveUp()
	} else if fresh := int64(len(payload)) + int64(ahead); fresh > 0 {
		s.append(payload[len(payload)-int(fresh):])
	}
	s.release()
	return skipped + s.cut(message)
}

func (s *stream) append(fresh []byte) {
	s.buf = append(s.buf, fresh...)
	s.next += uint32(len(fresh))
}

// hold keeps a copy of a segment that came too early, ordered by sequence number.
func (s *stream) hold(seq uint32, payload []byte) {
	i, _ := slices.BinarySearchFunc(s.held, seq, func(h heldSegment, seq uint32) int { return int(int32(h.seq - seq)) })
	s.held = slices.Insert(s.held, i, heldSegment{seq, bytes.Clone(payload)})
	s.heldLen += len(payload)
}

// release appends the held segments that fit now.
func (s *stream) release() {
	for len(s.held) > 0 {
		first := s.held[0]
		ahead := int32(first.seq - s.next)
		if ahead > 0 {
			return
		}
		s.held = s.held[1:]
		s.heldLen -= len(first.payload)
		if fresh := int64(len(first.payload)) + int64(ahead); fresh > 0 {
			s.append(first.payload[len(first.payload)-int(fresh):])
		}
	}
}

// giveUp goes on behind the gap, where a message may be cut in two.
func (s *stream) giveUp() (skipped int) {
	skipped = len(s.buf) + int(s.held[0].seq-s.next)
	s.buf, s.aligned = nil, false
	s.next = s.held[0].seq
	return skipped
}

// cut takes the complete messages off the front of buf.
func (s *stream) cut(message func([]byte)) (skipped int) {
	rest := s.buf
	for {
		if !s.aligned {
			var n int
			n, s.aligned = findMessage(rest)
			rest = rest[n:]
			skipped += n
		}
		if !s.aligned || len(rest) < headerLen {
			break
		}
		if !plausible(rest) {
			s.aligned = false
			rest = rest[1:]
			skipped++
			continue
		}
		length := int(binary.BigEndian.Uint16(rest[markerLen:]))
		if len(rest) < length {
			break
		}
		message(rest[:length:length])
		rest = rest[length:]
	}
	s.buf = append(s.buf[:0], rest...)
	return skipped
}

// findMessage returns how many bytes to drop until something that looks like a message begins, and whether it was
// found. What may still become a header is kept.
func findMessage(b []byte) (drop int, found bool) {
	for i := 0; i+headerLen <= len(b); i++ {
		at := bytes.Index(b[i:], marker)
		if at < 0 {
			return len(b) - min(len(b), markerLen-1), false
		}
		i += at
		if i+headerLen > len(b) {
			return i, false
		}
		if plausible(b[i:]) {
			return i, true
		}
	}
	return max(0, len(b)-headerLen+1), false
}

// plausible checks a header as RFC 4271, section 6.1, does.
func plausible(b []byte) bool {
	length := int(binary.BigEndian.Uint16(b[markerLen:]))
	if !bytes.Equal(b[:markerLen], marker) {
		return false
	}
	switch b[headerLen-1] {
	case 1:
		return length >= minOpenLen && length <= maxPlainLength
	case 2:
		return length >= minUpdateLen
	case 3:
		return length >= minNotifyLen
	case 4:
		return length == headerLen
	case 5:
		return length >= headerLen+4
	default:
		return false
	}
}
