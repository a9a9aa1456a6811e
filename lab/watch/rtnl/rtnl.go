// Package rtnl listens to the kernel's routing messages (rtnetlink) of the network namespace the process is in.
package rtnl

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrOverflow says that the kernel dropped messages because the listener was slow. The state must be read afresh.
var ErrOverflow = errors.New("the kernel dropped routing messages: the listener was too slow")

// receiveBuffer takes the burst of some ten thousand route changes.
const receiveBuffer = 8 << 20

// Listener receives the messages of some multicast groups.
type Listener struct {
	file *os.File
	conn syscall.RawConn
	buf  []byte
}

// Listen joins groups (unix.RTNLGRP_...). No privilege is needed.
func Listen(groups ...int) (*Listener, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	file := os.NewFile(uintptr(fd), "rtnetlink") // the poller's now: Close wakes Receive
	l, err := join(file, fd, groups)
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return l, nil
}

func join(file *os.File, fd int, groups []int) (*Listener, error) {
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, fmt.Errorf("bind netlink socket: %w", err)
	}
	// The forced form needs CAP_NET_ADMIN outside of user namespaces; the plain one takes what it gets.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
	}
	for _, g := range groups {
		if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, g); err != nil {
			return nil, fmt.Errorf("join rtnetlink group %d: %w", g, err)
		}
	}
	conn, err := file.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &Listener{file: file, conn: conn, buf: make([]byte, 64<<10)}, nil
}

// Receive waits for the next messages. They are valid until the next call. It returns os.ErrClosed after Close.
func (l *Listener) Receive() ([]syscall.NetlinkMessage, error) {
	for {
		n, from, err := l.read()
		if errors.Is(err, unix.ENOBUFS) {
			return nil, ErrOverflow
		}
		if err != nil {
			return nil, err
		}
		if kernel, is := from.(*unix.SockaddrNetlink); is && kernel.Pid != 0 {
			continue // some process's, not the kernel's
		}
		messages, err := syscall.ParseNetlinkMessage(l.buf[:n])
		if err != nil {
			return nil, fmt.Errorf("parse rtnetlink message: %w", err)
		}
		return messages, nil
	}
}

func (l *Listener) read() (n int, from unix.Sockaddr, err error) {
	waitErr := l.conn.Read(func(fd uintptr) bool {
		for {
			n, from, err = unix.Recvfrom(int(fd), l.buf, 0)
			if err != unix.EINTR {
				return err != unix.EAGAIN
			}
		}
	})
	if waitErr != nil {
		return 0, nil, waitErr
	}
	return n, from, err
}

// Drained says that no message waits at this moment.
func (l *Listener) Drained() bool {
	waiting := 0
	_ = l.conn.Control(func(fd uintptr) {
		waiting, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	})
	return waiting == 0
}

// Close ends the listener and wakes Receive. It may be called more than once.
func (l *Listener) Close() error {
	if err := l.file.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}
