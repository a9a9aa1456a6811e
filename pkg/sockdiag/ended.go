package sockdiag

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

const (
	groupTCPDestroy  = 1 // SKNLGRP_INET_TCP_DESTROY
	groupTCP6Destroy = 3 // SKNLGRP_INET6_TCP_DESTROY
)

// Ended subscribes to TCP sockets that end without a peer, as those do that listened:
// each read has messages for Sockets. A filter in the kernel keeps the others from us:
// on a busy host connections end all the time. ENOBUFS of a read means that some were
// lost.
func Ended() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, fmt.Errorf("open a sock_diag socket: %w", err)
	}
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: headerSize + destPortAt},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: 0},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0xffff},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
	err = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1<<(groupTCPDestroy-1) | 1<<(groupTCP6Destroy-1)})
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("listen to sockets that end: %w", err)
	}
	return os.NewFile(uintptr(fd), "sock_diag"), nil
}
