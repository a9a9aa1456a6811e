package lease

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

const (
	// receiveBuffer takes the notifications of a batch and more. An overflow costs a look.
	receiveBuffer = 1 << 20
	// afterError keeps an error that persists from spinning.
	afterError = 100 * time.Millisecond
)

// watch turns the kernel's notifications of addresses and links into hints.
type watch struct {
	socket  *nl.NetlinkSocket
	closing chan struct{}
	hints   chan struct{} // of one: several are one reason to look
	log     *slog.Logger
}

// openWatch subscribes. Whatever changes from here on is hinted at, so the first look
// comes after it.
func openWatch(log *slog.Logger) (*watch, error) {
	s, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_LINK)
	if err != nil {
		return nil, fmt.Errorf("subscribe to notifications of addresses and links: %w", err)
	}
	// Only CAP_NET_ADMIN of the initial user namespace may exceed rmem_max.
	if s.SetReceiveBufferSize(receiveBuffer, true) != nil {
		_ = s.SetReceiveBufferSize(receiveBuffer, false) // what the kernel gives is enough to work
	}
	return &watch{socket: s, closing: make(chan struct{}), hints: make(chan struct{}, 1), log: log}, nil
}

// run receives until close.
func (w *watch) run() {
	for {
		messages, from, err := w.socket.Receive()
		switch {
		case errors.Is(err, unix.ENOBUFS):
			w.tell()
		case err != nil:
			select {
			case <-w.closing:
				return
			case <-time.After(afterError):
				w.log.Warn("notification not received, looking at all addresses", "error", err)
				w.tell()
			}
		case from.Pid == nl.PidKernel: // not some process that pretends
			for _, m := range messages {
				if isHint(m.Header.Type, m.Data) {
					w.tell()
				}
			}
		}
	}
}

// isHint reports whether a message can be about something that is to be seen to. One
// about a host address with a lifetime is not: nearly all of these are our own renewals.
func isHint(kind uint16, data []byte) bool {
	if kind == unix.RTM_DELADDR || kind == unix.RTM_NEWLINK || kind == unix.RTM_DELLINK {
		return true
	}
	if kind != unix.RTM_NEWADDR || len(data) < unix.SizeofIfAddrmsg {
		return false
	}
	family, bits, flags := data[0], data[1], data[2] // struct ifaddrmsg
	single := family == unix.AF_INET && bits == 32 || family == unix.AF_INET6 && bits == 128
	return !single || flags&unix.IFA_F_PERMANENT != 0
}

// tell never blocks.
func (w *watch) tell() {
	select {
	case w.hints <- struct{}{}:
	default: // it was told already
	}
}

// close ends run.
func (w *watch) close() {
	close(w.closing)
	w.socket.Close()
}
