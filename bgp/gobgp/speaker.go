package gobgp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/osrg/gobgp/v4/pkg/server"

	"github.com/anyvip/anyvip/bgp"
	"github.com/anyvip/anyvip/pkg/vip"
)

// errEnded is what calls return once Run has returned.
var errEnded = errors.New("bgp speaker has ended")

// Speaker implements bgp.Speaker. Calls wait for Run to begin, and for the
// goroutine that runs it.
type Speaker struct {
	log      *slog.Logger
	requests chan func() // into Run's goroutine
	ended    chan struct{}
	signals  *mailbox

	// For Abort, which must not wait for anything of ours.
	current atomic.Pointer[server.BgpServer]
	up      atomic.Int64 // sessions that are Established

	// The rest belongs to Run's goroutine.
	notify        func(bgp.Event)
	server        *server.BgpServer // nil: not started
	unwatch       context.CancelFunc
	generation    uint64
	shared        shared           // what the server was started with
	listenErr     error            // why it does not listen although a peer is passive
	policy        policy           // what it was given last
	importDefault bool             // the peers' default routes are asked for
	peers         map[string]*peer // by name
	announced     map[netip.Prefix]vip.Announcement
	announcedAt   time.Time // when the latest batch that announced ended
	withdrew      time.Time // when the latest batch that withdrew ended
	diagnoses     sync.WaitGroup
}

// New makes a speaker that does nothing until Run. What GoBGP logs goes to log
// at Debug.
func New(log *slog.Logger) *Speaker {
	return &Speaker{log: log, requests: make(chan func()), ended: make(chan struct{}), signals: newMailbox(),
		peers: map[string]*peer{}, announced: map[netip.Prefix]vip.Announcement{}}
}

// Run works until ctx ends, then closes what is left (Cease, peer
// de-configured) and returns when its last goroutine has. It is called once.
// notify is bgp.Engine.Notify: it must not block.
func (s *Speaker) Run(ctx context.Context, notify func(bgp.Event)) error {
	s.notify = notify
	defer close(s.ended)
	ctx, cancel := context.WithCancel(ctx)
	defer s.diagnoses.Wait()
	defer s.stop()
	defer cancel()
	timer := time.NewTimer(idleTurn)
	defer timer.Stop()
	for ctx.Err() == nil {
		s.serve()
		sig, signalled := s.signals.take()
		if signalled {
			s.takeSignal(ctx, sig)
		}
		wait := s.turn(time.Now())
		if signalled || wait == 0 {
			continue
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
		case f := <-s.requests:
			f()
		case <-s.signals.ready:
		case <-timer.C:
		}
	}
	return ctx.Err()
}

// serve does what one caller waits for, if one does. So a caller waits for one
// signal and one chore at most: peers that misbehave must not keep the routes
// of the others waiting.
func (s *Speaker) serve() {
	select {
	case f := <-s.requests:
		f()
	default:
	}
}

// do runs f in Run's goroutine and returns its error.
func (s *Speaker) do(ctx context.Context, f func() error) error {
	result := make(chan error, 1)
	select {
	case s.requests <- func() { result <- f() }:
	case <-s.ended:
		return errEnded
	case <-ctx.Done():
		return ctx.Err()
	}
	return <-result
}

// Sessions implements bgp.Speaker.
func (s *Speaker) Sessions(ctx context.Context, want bgp.Sessions) (generation uint64, err error) {
	err = s.do(ctx, func() error {
		err := s.setSessions(ctx, want)
		generation = s.generation
		return err
	})
	return generation, err
}

func (s *Speaker) setSessions(ctx context.Context, want bgp.Sessions) error {
	if want.ASN == 0 { // a configuration without BGP: there is nothing to start
		s.stop()
		return nil
	}
	sh := newShared(want)
	if s.server == nil || !s.shared.serves(sh) {
		s.stop()
		if err := s.start(ctx, sh); err != nil {
			return err
		}
	}
	s.shared.keyed = slices.Compact(slices.SortedFunc(slices.Values(slices.Concat(s.shared.keyed, sh.keyed)), netip.Addr.Compare))
	wanted := make(map[string]bgp.Peer, len(want.Peers))
	for _, p := range want.Peers {
		wanted[p.Name] = p
	}
	heard := make(map[string]heardAS, len(s.peers))
	for name, p := range s.peers {
		if w, ok := wanted[name]; !ok || !p.sameSession(w) {
			s.close(p)
			delete(s.peers, name)
			heard[name] = p.heard
		}
	}
	for _, w := range want.Peers {
		p := s.peers[w.Name]
		if p == nil {
			p = newPeer(w, heard[w.Name])
			s.peers[w.Name] = p
			s.tell(p) // in place of one of the same name that was closed
		}
		p.want = w
	}
	if err := s.setPolicy(s.policyFor(want.AllowedPrefixes)); err != nil {
		return err
	}
	for _, w := range want.Peers {
		s.bring(s.peers[w.Name])
	}
	if s.importDefault != want.ImportDefault {
		s.importDefault = want.ImportDefault
		for _, p := range s.peers {
			s.updateDefaults(p)
		}
	}
	return nil
}

// Set implements bgp.Speaker.
func (s *Speaker) Set(ctx context.Context, add []vip.Announcement, remove []netip.Prefix) error {
	return s.do(ctx, func() error {
		if s.server == nil {
			return errors.New("set announcements: bgp speaker has not started")
		}
		return s.setPaths(add, remove)
	})
}

// Sent implements bgp.Speaker.
func (s *Speaker) Sent(ctx context.Context, name string) (sent map[netip.Prefix]vip.Announcement, err error) {
	err = s.do(ctx, func() error {
		p := s.peers[name]
		if p == nil || !p.open {
			return fmt.Errorf("read what was sent to %s: no such session", name)
		}
		sent, err = s.readSent(p)
		return err
	})
	return sent, err
}
