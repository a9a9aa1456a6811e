package flow

import (
	"encoding/binary"
	"fmt"
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
	messageSize = 72 // before its attributes
	sourceAt    = 8  // in it

	attributeBytecode = 1
	attributeInfo     = 2

	stateEstablished = 1
	stateSynRecv     = 3

	jump       = 1 // INET_DIAG_BC_JMP
	sourceCond = 7 // INET_DIAG_BC_S_COND

	lastDataRecvAt = 52 // in struct tcp_info, in milliseconds
)

// maxFilter is how many addresses the kernel sorts out for us. With more it sends
// all connections, and we do.
const maxFilter = 256

// request is struct inet_diag_req_v2.
type request struct{ family vip.Family }

// Len implements nl.NetlinkRequestData.
func (request) Len() int { return requestSize }

// Serialize implements nl.NetlinkRequestData.
func (r request) Serialize() []byte {
	b := make([]byte, requestSize)
	b[0] = unix.AF_INET
	if r.family == vip.IPv6 {
		b[0] = unix.AF_INET6
	}
	b[1] = unix.IPPROTO_TCP
	b[2] = 1 << (attributeInfo - 1)
	binary.NativeEndian.PutUint32(b[4:], 1<<stateEstablished|1<<stateSynRecv)
	return b
}

// dump calls yield for each connection, with its local address and how long ago it
// received data; connections to addresses outside of set may be among them. IPv4 that
// a socket of IPv6 carries counts as IPv4.
func dump(f vip.Family, set []netip.Addr, yield func(local netip.Addr, idle time.Duration)) error {
	req := nl.NewNetlinkRequest(sockDiagByFamily, unix.NLM_F_DUMP)
	req.AddData(request{f})
	if len(set) <= maxFilter {
		req.AddData(nl.NewRtAttr(attributeBytecode, bytecode(set)))
	}
	messages, err := req.Execute(unix.NETLINK_INET_DIAG, 0)
	if err != nil {
		return fmt.Errorf("ask the kernel for %s connections (sock_diag): %w", f, err)
	}
	for _, m := range messages {
		if len(m) < messageSize {
			continue
		}
		local := netip.AddrFrom16([16]byte(m[sourceAt : sourceAt+16])).Unmap()
		if m[0] == unix.AF_INET {
			local = netip.AddrFrom4([4]byte(m[sourceAt : sourceAt+4]))
		}
		yield(local, idle(m[messageSize:]))
	}
	return nil
}

// idle is how long ago data came in; a connection of which the kernel says nothing
// counts as busy.
func idle(attributes []byte) time.Duration {
	for len(attributes) >= 4 {
		size, kind := int(binary.NativeEndian.Uint16(attributes)), binary.NativeEndian.Uint16(attributes[2:])
		if size < 4 || size > len(attributes) {
			break
		}
		if kind == attributeInfo && size >= 4+lastDataRecvAt+4 {
			return time.Duration(binary.NativeEndian.Uint32(attributes[4+lastDataRecvAt:])) * time.Millisecond
		}
		attributes = attributes[min((size+3)&^3, len(attributes)):]
	}
	return 0
}

// bytecode is the kernel's filter "local address is one of set": for each address a
// condition, and behind it a jump to the end, which accepts. The last condition that
// does not hold leads beyond the end, which refuses.
func bytecode(set []netip.Addr) []byte {
	const op, hostCond = 4, 8
	total := 0
	for _, a := range set {
		total += op + hostCond + a.BitLen()/8 + op
	}
	out := make([]byte, 0, total)
	put := func(code, yes uint8, no int) {
		out = binary.NativeEndian.AppendUint16(append(out, code, yes), uint16(no))
	}
	for _, a := range set {
		size := op + hostCond + a.BitLen()/8
		no := size + op // over the jump
		if len(out)+no == total {
			no += op // beyond the end
		}
		put(sourceCond, uint8(size), no)
		family := byte(unix.AF_INET)
		if a.Is6() {
			family = unix.AF_INET6
		}
		out = append(out, family, byte(a.BitLen()), 0, 0)
		out = binary.NativeEndian.AppendUint32(out, ^uint32(0)) // any port
		out = append(out, a.AsSlice()...)
		put(jump, op, total-len(out))
	}
	return out
}
