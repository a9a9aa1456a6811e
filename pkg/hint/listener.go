package hint

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/anyvip/anyvip/pkg/latest"
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

// watchListeners hears of every TCP socket that ends without a peer, and of processes
// that end and had one of the watched ones, and looks which of those are left. While
// one is not there it looks again and again.
func (e *Engine) watchListeners(ctx context.Context, set []Watch) error {
	events, err := sockdiag.Ended()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = events.SetReadDeadline(time.Unix(1, 0)) })
	defer func() { stop(); _ = events.Close() }()
	e.lacks(Listener, nil)

	// Whoever wakes the loop below has it look: by a deadline that is over.
	ended := make(chan struct{}, 1)
	o := owners{sockets: latest.Make[map[uint32]bool](), pause: ownersPause, delay: ownersDelay, ended: func() {
		select {
		case ended <- struct{}{}:
		default:
		}
		_ = events.SetReadDeadline(time.Unix(1, 0))
	}}
	following, unfollow := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer unfollow()
	wg.Go(func() { o.run(following) })

	look := func() error {
		err := e.lookAtListeners(set)
		o.sockets.Put(e.listening.inodes())
		return err
	}
	if err := look(); err != nil { // after the subscription: nothing goes unseen in between
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
		n := 0
		select {
		case <-ended:
			err = os.ErrDeadlineExceeded
		default:
			n, err = events.Read(buf)
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, unix.ENOBUFS):
		case err != nil:
			return fmt.Errorf("listen to sockets that end: %w", err)
		case !e.listening.mentioned(buf[:n]):
			continue
		}
		if err := look(); err != nil {
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
func (e *Engine) compare(w Watch, was, is sockets) {
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

// sockets are some by their cookies, and the inode of each.
type sockets map[uint64]uint32

func disjoint(a, b sockets) bool {
	for c := range a {
		if _, both := b[c]; both {
			return false
		}
	}
	return true
}

// present are the listening sockets that take connections to an address and port.
type present map[netip.AddrPort]sockets

func (p present) inodes() map[uint32]bool {
	all := map[uint32]bool{}
	for _, s := range p {
		for _, inode := range s {
			all[inode] = true
		}
	}
	return all
}

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
		for _, watched := range p {
			if _, ok := watched[s.Cookie()]; ok {
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
			found[w.Listener] = sockets{}
		}
	}
	for _, f := range []vip.Family{vip.IPv4, vip.IPv6} {
		err := sockdiag.Each(sockdiag.Query{Family: f, States: sockdiag.Listening}, func(s sockdiag.Socket) {
			for _, at := range ports[s.Local().Port()] {
				if serves(s, at.Addr()) {
					found[at][s.Cookie()] = s.Inode()
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
