package neighbor

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

var fe80us = netip.MustParseAddr("fe80::1%eth1")

// event is something that an engine did on a link, and when.
type event struct {
	at   time.Duration // since the world began
	what string        // open, close, solicitation, advertisement
}

// world is an engine over fake links, in a bubble.
type world struct {
	t      *testing.T
	engine *Engine
	begin  time.Time
	stop   context.CancelFunc

	mutex   sync.Mutex
	events  map[string][]event // by link
	wires   map[string]*wire   // open ones, by link
	refusal error              // why nothing can be opened
	broken  error              // why nothing can be sent
	reports []Report
}

// wire is the fake conn of a link.
type wire struct {
	world  *world
	link   string
	in     chan packet
	fault  chan error
	closed chan struct{}
}

// newWorld starts an engine. Call it in a bubble, and end it before that ends.
func newWorld(t *testing.T) *world {
	w := &world{t: t, begin: time.Now(), events: make(map[string][]event), wires: make(map[string]*wire)}
	w.engine = New(Options{Report: w.report, Log: slog.New(slog.DiscardHandler), Random: rand.New(rand.NewPCG(1, 2))})
	w.engine.open = w.open
	ctx, stop := context.WithCancel(t.Context())
	w.stop = stop
	go func() {
		if err := w.engine.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	return w
}

func (w *world) report(r Report) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.reports = append(w.reports, r)
}

func (w *world) note(link, what string) {
	w.events[link] = append(w.events[link], event{time.Since(w.begin), what})
}

func (w *world) open(l vip.Link) (conn, netip.Addr, error) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.note(l.Name, "open")
	if w.refusal != nil {
		return nil, netip.Addr{}, w.refusal
	}
	if w.wires[l.Name] != nil {
		w.t.Errorf("%s is open already", l.Name)
	}
	c := &wire{world: w, link: l.Name, in: make(chan packet), fault: make(chan error), closed: make(chan struct{})}
	w.wires[l.Name] = c
	return c, fe80us.WithZone(l.Name), nil
}

func (c *wire) receive() (packet, error) {
	select {
	case p := <-c.in:
		return p, nil
	case err := <-c.fault:
		return packet{}, err
	case <-c.closed:
		return packet{}, errors.New("closed")
	}
}

func (c *wire) send(k kind) error {
	c.world.mutex.Lock()
	defer c.world.mutex.Unlock()
	if c.world.broken == nil {
		c.world.note(c.link, k.String())
	}
	return c.world.broken
}

func (c *wire) close() error {
	c.world.mutex.Lock()
	defer c.world.mutex.Unlock()
	c.world.note(c.link, "close")
	delete(c.world.wires, c.link)
	close(c.closed)
	return nil
}

// set changes what the fakes do.
func (w *world) set(change func()) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	change()
}

// apply makes links the desired set, all in use or none, and waits until that is
// done.
func (w *world) apply(links ...vip.Link) { w.applyInUse(false, links...) }

func (w *world) applyInUse(inUse bool, links ...vip.Link) {
	var d Desired
	for _, l := range links {
		d.Links = append(d.Links, Link{l, inUse})
	}
	w.engine.Apply(d)
	synctest.Wait()
}

// hear lets a packet come in on a link that must be open.
func (w *world) hear(link string, p packet) {
	w.t.Helper()
	w.mutex.Lock()
	c := w.wires[link]
	w.mutex.Unlock()
	if c == nil {
		w.t.Fatalf("%s is not open", link)
	}
	c.in <- p
	synctest.Wait()
}

// to lets time go on until that long after the beginning.
func (w *world) to(after time.Duration) {
	time.Sleep(after - time.Since(w.begin))
	synctest.Wait()
}

// times are when something was done on a link.
func (w *world) times(link, what string) (at []time.Duration) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	for _, e := range w.events[link] {
		if e.what == what {
			at = append(at, e.at)
		}
	}
	return at
}

// neighbor is what was reported last about a link.
func (w *world) neighbor(link string) vip.Neighbor {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if len(w.reports) == 0 {
		return vip.Neighbor{}
	}
	return w.reports[len(w.reports)-1].Neighbors[link]
}

func (w *world) reportCount() int {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return len(w.reports)
}

func up(name string, index int, prefixes ...string) vip.Link {
	l := vip.Link{Name: name, Index: index, Up: true}
	for _, p := range prefixes {
		l.Prefixes = append(l.Prefixes, netip.MustParsePrefix(p))
	}
	return l
}

func down(l vip.Link) vip.Link {
	l.Up = false
	return l
}

func advert(from netip.Addr) packet {
	return packet{from: from, hopLimit: 255, data: slices.Clone(valid)}
}

func solicit() packet {
	return packet{from: fe80a, hopLimit: 255, data: []byte{133, 0, 0, 0, 0, 0, 0, 0}}
}
