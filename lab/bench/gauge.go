package bench

import (
	"context"
	"flag"
	"io"
	"iter"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/anyvip/anyvip/lab/feed"
	"github.com/anyvip/anyvip/lab/watch"
)

// Where a reading was taken.
const (
	atStart = "ready" // nothing that happens from now on is missed
	onWire  = "wire"  // BGP messages of the server, at the ToR's end of the link
	inFIB   = "route" // the ToR's kernel
	missed  = "lost"  // the instrument missed something: what was measured is void

	sessionEnd = "session end" // and with it all that was announced
)

// reading is one line of the gauge: the last of all VIPs has come, or has gone.
type reading struct {
	Time   time.Time `json:"time"`
	Where  string    `json:"where"`
	Up     bool      `json:"up"` // all are there; else none is
	Detail string    `json:"detail,omitempty"`
}

// gauge is package watch with the counting done at the source: 10,000 routes make two lines instead of 10,000, and
// leave the processor to what is measured.
func gauge(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("gauge", flag.ContinueOnError)
	link := flags.String("link", "", "the ToR's `LINK` to the server")
	from := flags.String("from", "", "`ADDRESS` of the server")
	within := flags.String("within", "", "`PREFIX` that holds the VIPs")
	count := flags.Int("count", 1, "number of VIPs")
	if err := flags.Parse(args); err != nil {
		return err
	}
	server, err := netip.ParseAddr(*from)
	if err != nil {
		return err
	}
	prefix, err := netip.ParsePrefix(*within)
	if err != nil {
		return err
	}
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	c := counter{server: server, within: prefix, emit: feed.Print[reading](os.Stdout, "gauge", fail),
		wire: presence{n: *count}, fib: presence{n: *count}}
	return watch.Run(ctx, watch.Config{Links: []string{*link}, Prefixes: []netip.Prefix{prefix}}, c.take)
}

func decodeReadings(r io.Reader) iter.Seq2[reading, error] { return feed.Decode[reading](r, "gauge") }

// counter turns the events of package watch into readings.
type counter struct {
	server    netip.Addr
	within    netip.Prefix
	emit      func(reading)
	wire, fib presence
}

func (c *counter) take(e watch.Event) {
	switch e.Kind {
	case watch.Ready:
		c.emit(reading{Time: e.Time, Where: atStart})
	case watch.Lost:
		c.emit(reading{Time: e.Time, Where: missed, Detail: e.Lost})
	case watch.FIB:
		c.set(&c.fib, e.Route.Prefix, slices.Contains(e.Route.Addrs(), c.server))
		c.tell(&c.fib, inFIB, e.Time)
	case watch.Wire:
		c.message(e.Message, e.Time)
	}
}

// message notes what the server's UPDATEs say, and notes the end of the session that carried any.
func (c *counter) message(m *watch.Message, at time.Time) {
	ends := m.Type == watch.Notification || m.Type == watch.FIN || m.Type == watch.RST
	if ends && len(c.wire.here) > 0 {
		c.wire = presence{n: c.wire.n}
		c.emit(reading{Time: at, Where: sessionEnd})
	}
	if m.Src.Addr() != c.server {
		return
	}
	for _, n := range m.Announced {
		c.set(&c.wire, n.Prefix, true)
	}
	for _, p := range m.Withdrawn {
		c.set(&c.wire, p, false)
	}
	c.tell(&c.wire, onWire, at)
}

func (c *counter) set(p *presence, prefix netip.Prefix, here bool) {
	if prefix.IsSingleIP() && c.within.Contains(prefix.Addr()) {
		p.set(prefix.Addr(), here)
	}
}

// tell reports when all have come or gone, once for each.
func (c *counter) tell(p *presence, where string, at time.Time) {
	if up, turned := p.turned(); turned {
		c.emit(reading{Time: at, Where: where, Up: up})
	}
}

// presence is which of n addresses are there.
type presence struct {
	n    int
	here map[netip.Addr]bool
	full bool // what was reported last
}

func (p *presence) set(a netip.Addr, here bool) {
	if p.here == nil {
		p.here = make(map[netip.Addr]bool, p.n)
	}
	if here {
		p.here[a] = true
	} else {
		delete(p.here, a)
	}
}

// turned says whether the last address has come, or gone, since it said so the last time.
func (p *presence) turned() (up, turned bool) {
	switch {
	case len(p.here) == p.n && !p.full, len(p.here) == 0 && p.full:
		p.full = !p.full
		return p.full, true
	}
	return p.full, false
}
