package kernel

import (
	"encoding/binary"
	"fmt"
	"math"

	"golang.org/x/sys/unix"
)

// hearRoutes makes the kernel tell of changes of default routes, or ends that.
// Run's goroutine calls it.
func (w *watch) hearRoutes(on bool) error {
	if on == w.routes {
		return nil
	}
	option := unix.NETLINK_ADD_MEMBERSHIP
	if !on {
		option = unix.NETLINK_DROP_MEMBERSHIP
	}
	for _, group := range []int{unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE} {
		if err := unix.SetsockoptInt(w.socket.GetFd(), unix.SOL_NETLINK, option, group); err != nil {
			return fmt.Errorf("subscribe to route notifications: %w", err)
		}
	}
	w.routes = on
	return nil
}

// filterRoutes makes the kernel keep back notifications of all routes but
// default routes of the main table, so that a router's table that fills or
// empties does not even wake us.
func (w *watch) filterRoutes() error {
	// A netlink header of 16 bytes: length (4), type (2), and more; then, for a
	// route: family (1), destination's prefix length (1), source's (1), TOS (1), table (1).
	const typeAt, prefixAt, tableAt = 4, 16 + 1, 16 + 4
	load := func(size uint16, at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_ABS | size, K: at}
	}
	// equal skips so many instructions when what was loaded is value, or is not.
	equal := func(value uint32, yes, no uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: yes, Jf: no, K: value}
	}
	back := func(bytes uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: bytes}
	}
	program := []unix.SockFilter{
		load(unix.BPF_H, typeAt),
		equal(loaded(unix.RTM_NEWROUTE), 1, 0),
		equal(loaded(unix.RTM_DELROUTE), 0, 4),
		load(unix.BPF_B, prefixAt),
		equal(0, 0, 3),
		load(unix.BPF_B, tableAt),
		equal(unix.RT_TABLE_MAIN, 0, 1),
		back(math.MaxUint32), // all of it
		back(0),              // nothing
	}
	return unix.SetsockoptSockFprog(w.socket.GetFd(), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
}

// loaded is a value of this host's byte order as a filter loads it.
func loaded(value uint16) uint32 {
	var b [2]byte
	binary.NativeEndian.PutUint16(b[:], value)
	return uint32(binary.BigEndian.Uint16(b[:]))
}
