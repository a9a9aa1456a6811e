package hint

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/anyvip/anyvip/pkg/sockdiag"
	"github.com/anyvip/anyvip/pkg/vip"
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
	events, err := sockdiag.Ended()
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

// mentioned says whether what was read tells of the end of one of them.
func (p present) mentioned(read []byte) bool {
	for s := range sockdiag.Sockets(read) {
		for _, cookies := range p {
			if cookies[s.Cookie()] {
				return true
			}
		}
	}
	return false
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
	for _, f := range []vip.Family{vip.IPv4, vip.IPv6} {
		err := sockdiag.Each(sockdiag.Query{Family: f, States: sockdiag.Listening}, func(s sockdiag.Socket) {
			for _, at := range ports[s.Local().Port()] {
				if serves(s, at.Addr()) {
					found[at][s.Cookie()] = true
				}
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// serves says whether a listening socket takes connections to an address: it is bound
// to that, or to all of a family that has it.
func serves(s sockdiag.Socket, a netip.Addr) bool {
	bound := s.Local().Addr()
	switch {
	case bound.Unmap() == a.WithZone(""):
		return true
	case !bound.IsUnspecified():
		return false
	case bound.Is4():
		return a.Is4()
	}
	return a.Is6() || !s.V6Only()
}
