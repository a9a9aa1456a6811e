package neighbor

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/anyvip/anyvip/pkg/latest"
	"github.com/anyvip/anyvip/pkg/vip"
)

// Options are what an Engine needs. All but Random are required.
type Options struct {
	Report func(Report) // called from Run's goroutine when something changed; must not block
	Log    *slog.Logger
	Random *rand.Rand // jitter; default: the source of package rand
}

// Desired is everything that the engine should look at.
type Desired struct {
	Links []Link
}

// Link is an unnumbered link as it is now. One that is down, or whose Index
// changed, has no neighbour.
type Link struct {
	vip.Link
	InUse bool // its owner talks with the known router: that one is right, also while it is silent here
}

// Report is what the engine tells its owner: whole values, replaced not merged,
// and never changed after they were handed over.
type Report struct {
	Neighbors map[string]vip.Neighbor // by the link's name; every link of the latest Desired
}

// Engine keeps looking for neighbours.
type Engine struct {
	options  Options
	open     openFunc
	desired  latest.Value[Desired]
	arrivals chan arrival

	// From here on owned by Run's goroutine.
	receivers sync.WaitGroup
	links     map[string]*link // wanted and up
	down      map[string]bool  // wanted and down
	reported  map[string]vip.Neighbor
}

// New prepares an engine that does nothing until Run.
func New(o Options) *Engine {
	return &Engine{
		options:  o,
		open:     openSocket,
		desired:  latest.Make[Desired](),
		arrivals: make(chan arrival),
		links:    make(map[string]*link),
	}
}

// Apply replaces the links to look at. It does not block, and any goroutine may
// call it, before Run as well; the latest wins.
func (e *Engine) Apply(d Desired) { e.desired.Put(d) }

// Run works until ctx ends.
func (e *Engine) Run(ctx context.Context) error {
	defer e.receivers.Wait()
	defer func() {
		for _, l := range e.links {
			e.shut(l)
		}
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case d := <-e.desired:
			e.take(d, time.Now())
		case a := <-e.arrivals:
			e.arrived(a, time.Now())
		case <-timer.C:
		}
		now := time.Now()
		for _, l := range e.links {
			e.work(l, now)
		}
		e.report(now)
		timer.Stop()
		if at, ok := e.wake(now); ok {
			timer.Reset(time.Until(at))
		}
	}
}

// take makes the wanted links ours.
func (e *Engine) take(d Desired, now time.Time) {
	wanted, down := make(map[string]*link, len(d.Links)), make(map[string]bool)
	for _, v := range d.Links {
		if !v.Up {
			down[v.Name] = true
			continue
		}
		l := e.links[v.Name]
		if l == nil || l.Index != v.Index {
			l = &link{Link: v.Link, retry: now}
		}
		if l.update(v, now) {
			e.shut(l)
		}
		wanted[v.Name] = l
	}
	for name, l := range e.links {
		if wanted[name] != l {
			e.shut(l)
		}
	}
	e.links, e.down = wanted, down
}

// arrived takes what a receiver has, unless its socket is no longer ours.
func (e *Engine) arrived(a arrival, now time.Time) {
	l := e.links[a.link]
	switch {
	case l == nil || l.listener != a.listener:
	case a.err != nil:
		l.failed(fmt.Errorf("receive on %s: %w", l.Name, a.err), now)
	default:
		l.heard(a.message, now)
	}
}

// work opens the socket and sends what is due. A socket that could not send
// stays open for what comes in until it is replaced.
func (e *Engine) work(l *link, now time.Time) {
	if !l.works() {
		if now.Before(l.retry) {
			return
		}
		e.shut(l)
		c, own, err := e.open(l.Link)
		if err != nil {
			l.failed(err, now)
			return
		}
		s := &listener{conn: c, own: own, done: make(chan struct{})}
		e.receivers.Go(func() { s.run(l.Name, e.arrivals) })
		l.opened(s, now)
	}
	for k := l.due(now); k != other; k = l.due(now) {
		if err := l.listener.send(k); err != nil {
			l.failed(fmt.Errorf("send a router %s on %s: %w", k, l.Name, err), now)
			return
		}
		l.sent(k, now, e.options.Random)
	}
}

func (e *Engine) shut(l *link) {
	if s := l.listener; s != nil {
		close(s.done)
		if err := s.close(); err != nil {
			e.options.Log.Debug("socket not closed cleanly", "link", l.Name, "error", err)
		}
		l.listener = nil
	}
}

// wake is when the next link has something to do; false without links.
func (e *Engine) wake(now time.Time) (at time.Time, ok bool) {
	for _, l := range e.links {
		if w := l.wake(now); !ok || w.Before(at) {
			at, ok = w, true
		}
	}
	return at, ok
}

// report tells the owner what changed, and the log who is the neighbour, or why
// there is none. What is odd beside a neighbour, the owner logs.
func (e *Engine) report(now time.Time) {
	is := make(map[string]vip.Neighbor, len(e.links)+len(e.down))
	for name, l := range e.links {
		is[name] = l.neighbor(now)
	}
	for name := range e.down {
		is[name] = vip.Neighbor{} // that the link is down, its owner knows: said again here, it would be said too long
	}
	if maps.Equal(is, e.reported) {
		return
	}
	for name, n := range is {
		if was := e.reported[name]; was.Address != n.Address || !n.Address.IsValid() && was.Detail != n.Detail {
			e.options.Log.Info("neighbour changed", "link", name, "from", text(was.Address), "to", text(n.Address), "reason", n.Detail)
		}
	}
	e.reported = is
	e.options.Report(Report{Neighbors: is})
}

func text(a netip.Addr) string {
	if !a.IsValid() {
		return "none"
	}
	return a.String()
}
