package lease

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// errDoubt is the outcome of a request that nobody knows: the answer was lost.
var errDoubt = errors.New("the kernel's answer was lost")

const (
	atOnce        = 100             // requests in one message: all of their errors fit into the socket's buffer
	answerTimeout = 5 * time.Second // the kernel answers before it returns from the send; this is for the day it does not
)

// verb is what a request asks for.
type verb uint8

const (
	add    verb = iota // what is not there
	renew              // set the lifetime of what is there; the kernel adds it if it is gone
	remove             // take it away
)

var verbNames = [...]string{"add", "renew", "remove"}

func (v verb) String() string { return verbNames[v] }

// spot is an address on a link: what the kernel knows an address by.
type spot struct {
	addr  netip.Addr // without a zone
	index int        // of the link
}

// request is one change of one address.
type request struct {
	verb    verb
	spot    spot
	seconds uint32 // the lifetime from now on
}

// socket sends requests to the kernel, many with one system call: with netlink's
// AddrAdd, and an answer waited for after each, a takeover takes three times as long
// (BenchmarkTakeover).
type socket struct {
	fd     int
	serial uint32
	packet []byte
	answer []byte
}

func openSocket() (*socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	wait := unix.NsecToTimeval(answerTimeout.Nanoseconds())
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1), // an error without the request it is about
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait),
		unix.Connect(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})) // the kernel, and nobody else
	if err != nil {
		return nil, errors.Join(fmt.Errorf("set up netlink socket: %w", err), unix.Close(fd))
	}
	return &socket{fd: fd, answer: make([]byte, 16<<10)}, nil
}

func (s *socket) close() { _ = unix.Close(s.fd) }

// do carries out at most atOnce requests, in their order, and says of each what
// became of it. The kernel answers what fails, and the last request in any case: with
// that answer it is through with all of them.
func (s *socket) do(list []request) []error {
	out := make([]error, len(list))
	if err := s.send(list, out); err != nil {
		for i := range out {
			out[i] = err
		}
	}
	return out
}

func (s *socket) send(list []request, out []error) error {
	s.packet = s.packet[:0]
	first := s.serial + 1
	for i, r := range list {
		s.serial++
		var flags uint16
		if i == len(list)-1 {
			flags = unix.NLM_F_ACK
		}
		s.packet = appendRequest(s.packet, r, s.serial, flags)
	}
	if _, err := unix.Write(s.fd, s.packet); err != nil {
		return fmt.Errorf("send to the kernel: %w", err)
	}
	for {
		n, err := unix.Read(s.fd, s.answer)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errDoubt, err)
		}
		if readAnswers(s.answer[:n], first, out) {
			return nil
		}
	}
}

// readAnswers puts the kernel's answers where they belong, and reports whether that to
// the last request is among them. Answers to earlier batches, which came too late,
// have other serials.
func readAnswers(b []byte, first uint32, out []error) (last bool) {
	const code = unix.SizeofNlMsghdr // offset of the error in an answer
	for len(b) >= code+4 {
		size := int(binary.NativeEndian.Uint32(b))
		at := binary.NativeEndian.Uint32(b[8:]) - first
		if binary.NativeEndian.Uint16(b[4:]) == unix.NLMSG_ERROR && at < uint32(len(out)) {
			if errno := int32(binary.NativeEndian.Uint32(b[code:])); errno != 0 {
				out[at] = unix.Errno(-errno)
			}
			last = last || at == uint32(len(out)-1)
		}
		b = b[min((max(size, code+4)+3)&^3, len(b)):]
	}
	return last
}

// appendRequest packs one request, as rtnetlink(7) has it.
func appendRequest(b []byte, r request, serial uint32, flags uint16) []byte {
	start := len(b)
	kind := uint16(unix.RTM_NEWADDR)
	switch r.verb {
	case add:
		flags |= unix.NLM_F_CREATE | unix.NLM_F_EXCL // somebody's own, added a moment ago, must not get our lifetime
	case renew:
		flags |= unix.NLM_F_CREATE | unix.NLM_F_REPLACE
	case remove:
		kind = unix.RTM_DELADDR
	}
	b = binary.NativeEndian.AppendUint32(b, 0) // length, below
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = binary.NativeEndian.AppendUint16(b, flags|unix.NLM_F_REQUEST)
	b = binary.NativeEndian.AppendUint32(b, serial)
	b = binary.NativeEndian.AppendUint32(b, 0) // port: the kernel fills it in

	family, ifaFlags := byte(unix.AF_INET), byte(0)
	if r.spot.addr.Is6() {
		family, ifaFlags = unix.AF_INET6, unix.IFA_F_NODAD
	}
	b = append(b, family, byte(r.spot.addr.BitLen()), ifaFlags, unix.RT_SCOPE_UNIVERSE)
	b = binary.NativeEndian.AppendUint32(b, uint32(r.spot.index))
	b = appendAddr(b, unix.IFA_LOCAL, r.spot.addr)
	b = appendAddr(b, unix.IFA_ADDRESS, r.spot.addr)
	if r.verb != remove {
		b = appendAttribute(b, unix.IFA_CACHEINFO, unix.SizeofIfaCacheinfo)
		b = binary.NativeEndian.AppendUint32(b, preferred(r))
		b = binary.NativeEndian.AppendUint32(b, r.seconds)
		b = binary.NativeEndian.AppendUint64(b, 0) // timestamps: the kernel's
	}
	binary.NativeEndian.PutUint32(b[start:], uint32(len(b)-start))
	return b
}

// preferred is the preferred lifetime. An IPv6 address without one is no source of
// traffic that this host starts: else the kernel prefers the VIP, since more of its
// bits can match (RFC 6724, section 5, rule 8), and such traffic dies with the next
// takeover. An IPv4 host address is chosen only where the link has no other.
func preferred(r request) uint32 {
	if r.spot.addr.Is6() {
		return 0
	}
	return r.seconds
}

func appendAddr(b []byte, kind uint16, a netip.Addr) []byte {
	b = appendAttribute(b, kind, a.BitLen()/8)
	return append(b, a.AsSlice()...)
}

// appendAttribute packs the header of an attribute; no content of ours needs padding.
func appendAttribute(b []byte, kind uint16, size int) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofRtAttr+size))
	return binary.NativeEndian.AppendUint16(b, kind)
}
