package hint

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// From linux/sock_diag.h, linux/inet_diag.h and net/tcp_states.h.
const (
	sockDiagByFamily = 20
	groupTCPDestroy  = 1
	groupTCP6Destroy = 3

	requestSize   = 56
	messageSize   = 72 // before its attributes
	sourcePortAt  = 4
	destPortAt    = 6
	sourceAt      = 8
	cookieAt      = 44
	headerSize    = 16 // struct nlmsghdr
	attributeOnly = 11 // INET_DIAG_SKV6ONLY
	stateListen   = 10
)

// missingListener is how often a listener is looked for that is not there: the kernel
// has no event for one that comes.
const missingListener = 500 * time.Millisecond

func hasListener(w Watch) bool { return w.Listener.IsValid() }

func (e *Engine) runListeners(ctx context.Context, s source) error {
	return e.again(ctx, s, hasListener, e.watchListeners)
}

// watchListeners hears of every TCP socket that ends without a peer, and looks which
// of the watched ones are left. While one is not there it looks again and again.
func (e *Engine) watchListeners(ctx context.Context, set []Watch) error {
	events, err := openDestroyed()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = events.SetReadDeadline(time.Unix(1, 0)) })
	defer func() { stop(); _ = events.Close() }()
	e.lacks(Listener, nil)

	if err := e.lookAtListeners(set); err != nil { // after the subscription: nothing goes unseen in between
		return err
	}
	buf := make([]byte, 8<<10)
	for {
		deadline := time.Time{}
		if !e.listening.complete(set) {
			deadline = time.Now().Add(missingListener)
		}
		if err := events.SetReadDeadline(deadline); err != nil {
			return err
		}
		if ctx.Err() != nil { // its deadline may have been ours to replace
			return nil
		}
		n, err := events.Read(buf)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, unix.ENOBUFS):
		case err != nil:
			return fmt.Errorf("listen to sockets that end: %w", err)
		case !e.listening.mentioned(buf[:n]):
			continue
		}
		if err := e.lookAtListeners(set); err != nil {
			return err
		}
	}
}

// lookAtListeners looks who listens, and tells what is new about those that were
// watched before.
func (e *Engine) lookAtListeners(set []Watch) error {
	now, err := listeners(set)
	if err != nil {
		return err
	}
	for _, w := range set {
		if was, known := e.listening[w.Listener]; known {
			e.compare(w, was, now[w.Listener])
		}
	}
	e.listening = now
	return nil
}

// compare tells of one listener.
func (e *Engine) compare(w Watch, was, is map[uint64]bool) {
	switch {
	case len(was) > 0 && len(is) == 0:
		e.tell(w.Check, Listener, true, fmt.Sprintf("nobody listens at %s any more", w.Listener))
	case len(was) == 0 && len(is) > 0:
		e.tell(w.Check, Listener, false, fmt.Sprintf("somebody listens at %s", w.Listener))
	case len(is) > 0 && disjoint(was, is):
		// Another took its place before we looked. Whether that answers, a probe knows.
		e.tell(w.Check, Listener, false, fmt.Sprintf("another listens at %s", w.Listener))
	}
}

func disjoint(a, b map[uint64]bool) bool {
	for c := range a {
		if b[c] {
			return false
		}
	}
	return true
}

// present are the listening sockets that take connections to an address and port,
// each named by its cookie.
type present map[netip.AddrPort]map[uint64]bool

// complete says whether somebody listens for each watch.
func (p present) complete(set []Watch) bool {
	for _, w := range set {
		if len(p[w.Listener]) == 0 {
			return false
		}
	}
	return true
}

// mentioned says whether a message tells of the end of one of them.
func (p present) mentioned(message []byte) bool {
	for len(message) >= headerSize+messageSize {
		cookie := binary.NativeEndian.Uint64(message[headerSize+cookieAt:])
		for _, cookies := range p {
			if cookies[cookie] {
				return true
			}
		}
		size := int(binary.NativeEndian.Uint32(message))
		if size < headerSize || size > len(message) {
			return false
		}
		message = message[min((size+3)&^3, len(message)):]
	}
	return false
}

// openDestroyed subscribes to TCP sockets that end. A filter in the kernel lets only
// those through that have no peer: on a busy host connections end all the time.
func openDestroyed() (*os.File, error) {
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

// diagRequest is struct inet_diag_req_v2 for sockets that listen.
type diagRequest struct{ family byte }

// Len implements nl.NetlinkRequestData.
func (diagRequest) Len() int { return requestSize }

// Serialize implements nl.NetlinkRequestData.
func (r diagRequest) Serialize() []byte {
	b := make([]byte, requestSize)
	b[0], b[1] = r.family, unix.IPPROTO_TCP
	binary.NativeEndian.PutUint32(b[4:], 1<<stateListen)
	return b
}

// listeners asks which sockets listen for the watches of a set.
func listeners(set []Watch) (present, error) {
	ports := make(map[uint16][]netip.AddrPort, len(set))
	found := make(present, len(set))
	for _, w := range set {
		if found[w.Listener] == nil {
			ports[w.Listener.Port()] = append(ports[w.Listener.Port()], w.Listener)
			found[w.Listener] = map[uint64]bool{}
		}
	}
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		req := nl.NewNetlinkRequest(sockDiagByFamily, unix.NLM_F_DUMP)
		req.AddData(diagRequest{family})
		messages, err := req.Execute(unix.NETLINK_SOCK_DIAG, 0)
		if err != nil {
			return nil, fmt.Errorf("ask the kernel who listens (sock_diag): %w", err)
		}
		for _, m := range messages {
			if len(m) < messageSize {
				continue
			}
			for _, at := range ports[binary.BigEndian.Uint16(m[sourcePortAt:])] {
				if serves(m, at.Addr()) {
					found[at][binary.NativeEndian.Uint64(m[cookieAt:])] = true
				}
			}
		}
	}
	return found, nil
}

// serves says whether a listening socket takes connections to an address: it is bound
// to that, or to all of a family that has it.
func serves(m []byte, a netip.Addr) bool {
	bound := netip.AddrFrom16([16]byte(m[sourceAt : sourceAt+16]))
	if m[0] == unix.AF_INET {
		bound = netip.AddrFrom4([4]byte(m[sourceAt : sourceAt+4]))
	}
	switch {
	case bound.Unmap() == a.WithZone(""):
		return true
	case !bound.IsUnspecified():
		return false
	case bound.Is4():
		return a.Is4()
	}
	return a.Is6() || !ipv6Only(m[messageSize:])
}

// ipv6Only reads a socket's IPV6_V6ONLY.
func ipv6Only(attributes []byte) bool {
	for len(attributes) >= 4 {
		size := int(binary.NativeEndian.Uint16(attributes))
		if size < 4 || size > len(attributes) {
			return false
		}
		if binary.NativeEndian.Uint16(attributes[2:]) == attributeOnly && size > 4 {
			return attributes[4] != 0
		}
		attributes = attributes[min((size+3)&^3, len(attributes)):]
	}
	return false
}
