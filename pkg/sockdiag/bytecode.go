package sockdiag

import (
	"encoding/binary"
	"net/netip"

	"github.com/anyvip/anyvip/pkg/vip"
)

const (
	jump       = 1 // INET_DIAG_BC_JMP
	sourceCond = 7 // INET_DIAG_BC_S_COND
)

// MaxLocals is how many addresses the kernel sorts out for us. With more it sends the
// sockets of all.
const MaxLocals = 256

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
		out = append(out, familyOf(vip.FamilyOf(a)), byte(a.BitLen()), 0, 0)
		out = binary.NativeEndian.AppendUint32(out, ^uint32(0)) // any port
		out = append(out, a.AsSlice()...)
		put(jump, op, total-len(out))
	}
	return out
}
