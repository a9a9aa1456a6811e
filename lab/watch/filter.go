package watch

import (
	"fmt"

	"golang.org/x/sys/unix"
)

const (
	loadByte   = unix.BPF_LD | unix.BPF_B | unix.BPF_ABS
	loadHalf   = unix.BPF_LD | unix.BPF_H | unix.BPF_ABS
	loadHalfX  = unix.BPF_LD | unix.BPF_H | unix.BPF_IND // at X + K
	loadX      = unix.BPF_LDX | unix.BPF_W | unix.BPF_IMM
	loadHeader = unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH // X = length of the IPv4 header at K
	and        = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
	jump       = unix.BPF_JMP | unix.BPF_JA
	ifEqual    = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	ifAnyOf    = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
	pass       = unix.BPF_RET | unix.BPF_K
)

// bgpFilter passes TCP segments from or to port 179. Packets begin with the network header. Jt and Jf say how many
// instructions to skip.
var bgpFilter = [...]unix.SockFilter{
	0:  {Code: loadByte, K: 0},
	1:  {Code: and, K: 0xf0},
	2:  {Code: ifEqual, K: 0x40, Jt: 5},    // IPv4: to 8
	3:  {Code: ifEqual, K: 0x60, Jf: 14},   // nor IPv6: to 18
	4:  {Code: loadByte, K: 6},             // next header
	5:  {Code: ifEqual, K: 6, Jf: 12},      // not TCP: to 18
	6:  {Code: loadX, K: 40},               // where TCP begins
	7:  {Code: jump, K: 5},                 // to 13
	8:  {Code: loadByte, K: 9},             // protocol
	9:  {Code: ifEqual, K: 6, Jf: 8},       // not TCP: to 18
	10: {Code: loadHalf, K: 6},             // fragment offset
	11: {Code: ifAnyOf, K: 0x1fff, Jt: 6},  // a later fragment has no ports: to 18
	12: {Code: loadHeader, K: 0},           // where TCP begins
	13: {Code: loadHalfX, K: 0},            // source port
	14: {Code: ifEqual, K: bgpPort, Jt: 2}, // to 17
	15: {Code: loadHalfX, K: 2},            // destination port
	16: {Code: ifEqual, K: bgpPort, Jt: 0, Jf: 1},
	17: {Code: pass, K: maxPacket},
	18: {Code: pass, K: 0},
}

func attachFilter(fd int, filter []unix.SockFilter) error {
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program); err != nil {
		return fmt.Errorf("attach filter: %w", err)
	}
	return nil
}
