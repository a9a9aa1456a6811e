// Package sockdiag asks the kernel which TCP sockets this host has, and hears of those
// that end (netlink's sock_diag). Neither needs a privilege.
//
// It owns the layout of the kernel's messages. It must not know why somebody asks.
package sockdiag

import (
	"encoding/binary"
	"fmt"
	"iter"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/anyvip/anyvip/pkg/vip"
)

// From linux/sock_diag.h, linux/inet_diag.h, linux/tcp.h and net/tcp_states.h.
const (
	sockDiagByFamily = 20

	requestSize = 56
	headerSize  = 16 // struct nlmsghdr
	messageSize = 72 // struct inet_diag_msg, before its attributes

	// In struct inet_diag_msg.
	sourcePortAt = 4
	destPortAt   = 6
	sourceAt     = 8
	cookieAt     = 44
	inodeAt      = 68

	requestBytecode = 1  // INET_DIAG_REQ_BYTECODE
	attributeInfo   = 2  // INET_DIAG_INFO
	attributeOnly   = 11 // INET_DIAG_SKV6ONLY

	lastDataRecvAt = 52 // in struct tcp_info, in milliseconds
)

// States are states of TCP sockets, as bits.
type States uint32

// The states that somebody asks for.
const (
	Established States = 1 << 1
	SynReceived States = 1 << 3
	Listening   States = 1 << 10
)

// Query says which sockets are wanted.
type Query struct {
	Family vip.Family // IPv6: also those of IPv4 that a socket of IPv6 carries
	States States
	Idle   bool         // Socket.Idle is asked
	Locals []netip.Addr // bound to one of these; nil, or more than MaxLocals: to any
}

// Socket is one socket. It lives in the kernel's message: keep what it says, not it.
type Socket struct{ message []byte }

// Local is the address and port that it is bound to. IPv4 in a socket of IPv6 is
// mapped.
func (s Socket) Local() netip.AddrPort {
	a := netip.AddrFrom16([16]byte(s.message[sourceAt : sourceAt+16]))
	if s.message[0] == unix.AF_INET {
		a = netip.AddrFrom4([4]byte(s.message[sourceAt : sourceAt+4]))
	}
	return netip.AddrPortFrom(a, binary.BigEndian.Uint16(s.message[sourcePortAt:]))
}

// Cookie names the socket: no other one of this boot has it.
func (s Socket) Cookie() uint64 { return binary.NativeEndian.Uint64(s.message[cookieAt:]) }

// Inode is its number among the files of the processes that have it (/proc/PID/fd).
func (s Socket) Inode() uint32 { return binary.NativeEndian.Uint32(s.message[inodeAt:]) }

// V6Only says whether a socket of IPv6 refuses IPv4 (IPV6_V6ONLY).
func (s Socket) V6Only() bool {
	only := s.attribute(attributeOnly)
	return len(only) > 0 && only[0] != 0
}

// Idle is how long ago data came in; a connection of which the kernel says nothing
// counts as busy.
func (s Socket) Idle() time.Duration {
	info := s.attribute(attributeInfo)
	if len(info) < lastDataRecvAt+4 {
		return 0
	}
	return time.Duration(binary.NativeEndian.Uint32(info[lastDataRecvAt:])) * time.Millisecond
}

// attribute is what one of the message's attributes holds; nil if it has none.
func (s Socket) attribute(kind uint16) []byte {
	for rest := s.message[messageSize:]; len(rest) >= unix.SizeofRtAttr; {
		size := int(binary.NativeEndian.Uint16(rest))
		if size < unix.SizeofRtAttr || size > len(rest) {
			break
		}
		if binary.NativeEndian.Uint16(rest[2:]) == kind {
			return rest[unix.SizeofRtAttr:size]
		}
		rest = rest[min(aligned(size), len(rest)):]
	}
	return nil
}

func aligned(size int) int { return (size + 3) &^ 3 }

// Each calls yield for each socket that a query wants, and maybe for others of its
// family and states. It asks the kernel once, and waits for the answer.
func Each(q Query, yield func(Socket)) error {
	req := nl.NewNetlinkRequest(sockDiagByFamily, unix.NLM_F_DUMP)
	req.AddData(request(q))
	if n := len(q.Locals); n > 0 && n <= MaxLocals {
		req.AddData(nl.NewRtAttr(requestBytecode, bytecode(q.Locals)))
	}
	messages, err := req.Execute(unix.NETLINK_SOCK_DIAG, 0)
	if err != nil {
		return fmt.Errorf("ask the kernel for sockets of %s (sock_diag): %w", q.Family, err)
	}
	for _, m := range messages {
		if len(m) >= messageSize {
			yield(Socket{m})
		}
	}
	return nil
}

// request is struct inet_diag_req_v2.
type request Query

// Len implements nl.NetlinkRequestData.
func (request) Len() int { return requestSize }

// Serialize implements nl.NetlinkRequestData.
func (r request) Serialize() []byte {
	b := make([]byte, requestSize)
	b[0], b[1] = familyOf(r.Family), unix.IPPROTO_TCP
	if r.Idle {
		b[2] = 1 << (attributeInfo - 1)
	}
	binary.NativeEndian.PutUint32(b[4:], uint32(r.States))
	return b
}

func familyOf(f vip.Family) byte {
	if f == vip.IPv6 {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

// Sockets are those that what was read from Ended tells of. What cannot be understood
// ends them.
func Sockets(read []byte) iter.Seq[Socket] {
	return func(yield func(Socket) bool) {
		for len(read) >= headerSize+messageSize {
			size := int(binary.NativeEndian.Uint32(read))
			if size < headerSize+messageSize || size > len(read) || !yield(Socket{read[headerSize:size]}) {
				return
			}
			read = read[min(aligned(size), len(read)):]
		}
	}
}
