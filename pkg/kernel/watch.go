package kernel

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// hint says what may have changed. A hint never says how: the Engine looks.
type hint uint8

const (
	hintRoutes    hint = iota // default routes
	hintAddresses             // addresses, and what depends on them: default routes
	hintLinks                 // everything
)

// receiveBuffer takes a burst of some thousand notifications. An overflow does
// no harm beyond a dump of everything.
const receiveBuffer = 1 << 20

// watch turns the kernel's notifications into hints.
type watch struct {
	socket  *nl.NetlinkSocket
	closing chan struct{}
	hints   chan hint                          // of one: what was not taken yet is merged
	routes  bool                               // notifications of default routes are subscribed to
	others  func(ip netip.Addr, link int) bool // addresses on a link that are none of ours, however often they come and go; any goroutine may ask
	log     *slog.Logger
}

// afterError keeps an error that persists from spinning.
const afterError = 100 * time.Millisecond

// openWatch subscribes to addresses and links. Whatever changes from here on is hinted at, so the
// first look comes after it.
func openWatch(others func(ip netip.Addr, link int) bool, log *slog.Logger) (*watch, error) {
	s, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR)
	if err != nil {
		return nil, fmt.Errorf("subscribe to address and link notifications: %w", err)
	}
	w := &watch{socket: s, closing: make(chan struct{}), hints: make(chan hint, 1), others: others, log: log}
	// Only CAP_NET_ADMIN of the initial user namespace may exceed rmem_max.
	if w.setBuffer(receiveBuffer, true) != nil {
		_ = w.setBuffer(receiveBuffer, false) // what the kernel gives is enough to work
	}
	if err := w.filterRoutes(); err != nil {
		s.Close()
		return nil, fmt.Errorf("filter route notifications: %w", err)
	}
	return w, nil
}

func (w *watch) setBuffer(bytes int, force bool) error {
	return w.socket.SetReceiveBufferSize(bytes, force)
}

// run receives until close.
func (w *watch) run() {
	for {
		messages, from, err := w.socket.Receive()
		switch {
		case errors.Is(err, unix.ENOBUFS):
			w.log.Debug("kernel dropped notifications, looking at everything")
			w.tell(hintLinks)
		case err != nil:
			select {
			case <-w.closing:
				return
			case <-time.After(afterError):
				w.log.Warn("notification not received, looking at everything", "error", err)
				w.tell(hintLinks)
			}
		case from.Pid == nl.PidKernel: // not some process that pretends
			for _, m := range messages {
				if !w.isOthers(m.Header.Type, m.Data) {
					w.tell(hintOf(m.Header.Type))
				}
			}
		}
	}
}

// isOthers reports whether a message is about an address that is none of ours: what
// virtual routers have here is renewed every second or so.
func (w *watch) isOthers(kind uint16, data []byte) bool {
	if kind != unix.RTM_NEWADDR && kind != unix.RTM_DELADDR || len(data) < unix.SizeofIfAddrmsg {
		return false
	}
	attrs, err := nl.ParseRouteAttr(data[unix.SizeofIfAddrmsg:])
	if err != nil {
		return false
	}
	var addr netip.Addr
	for _, a := range attrs {
		if got, ok := netip.AddrFromSlice(a.Value); ok && (a.Attr.Type == unix.IFA_LOCAL || a.Attr.Type == unix.IFA_ADDRESS && !addr.IsValid()) {
			addr = got
		}
	}
	return w.others(addr, int(nl.NativeEndian().Uint32(data[4:]))) // ifa_index
}

// hintOf is the hint in a message. Every type that is not about routes or
// addresses alone makes us look at everything.
func hintOf(messageType uint16) hint {
	switch messageType {
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		return hintRoutes
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		return hintAddresses
	}
	return hintLinks
}

// tell merges h into what waits. It never blocks: run is the only sender.
func (w *watch) tell(h hint) {
	select {
	case waiting := <-w.hints:
		h = max(h, waiting)
	default:
	}
	w.hints <- h
}

// close ends run.
func (w *watch) close() {
	close(w.closing)
	w.socket.Close()
}
