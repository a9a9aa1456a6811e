package flow

import (
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/anyvip/anyvip/pkg/latest"
	"github.com/anyvip/anyvip/pkg/sockdiag"
	"github.com/anyvip/anyvip/pkg/vip"
)

// every is how often the kernel is asked.
const every = 500 * time.Millisecond

// Options are what an Engine needs; all are required.
type Options struct {
	Report func(map[netip.Addr]vip.Flows) // called from Run's goroutine with what was found of each address; must not block
	Log    *slog.Logger
}

// Engine watches the connections to a set of addresses.
type Engine struct {
	options Options
	sets    latest.Value[[]netip.Addr]
	look    func([]netip.Addr, time.Time) (map[netip.Addr]vip.Flows, error)
}

// New makes an engine that does nothing until Run.
func New(o Options) *Engine {
	return &Engine{options: o, sets: latest.Make[[]netip.Addr](), look: look}
}

// Apply replaces the addresses that are watched. It never blocks and may be called
// from any goroutine, also before Run; of several calls in a row the last wins. The
// caller must not change the slice afterwards.
func (e *Engine) Apply(set []netip.Addr) { e.sets.Put(set) }

// Run looks until ctx ends. What cannot be asked is reported as such, for every
// address.
func (e *Engine) Run(ctx context.Context) error {
	var set []netip.Addr
	var said string
	timer := time.NewTimer(0)
	timer.Stop()
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case next := <-e.sets:
			if slices.Equal(next, set) {
				continue
			}
			set = next
		case <-timer.C:
		}
		if len(set) == 0 {
			timer.Stop()
			continue
		}
		now := time.Now()
		found, err := e.look(set, now)
		if err != nil {
			if text := err.Error(); text != said {
				said = text
				e.options.Log.Warn("connections cannot be seen", "error", text)
			}
			found = unseen(set, now, err)
		}
		e.options.Report(found)
		timer.Reset(every)
	}
}

func unseen(set []netip.Addr, now time.Time, err error) map[netip.Addr]vip.Flows {
	out := make(map[netip.Addr]vip.Flows, len(set))
	for _, a := range set {
		out[a] = vip.Flows{At: now, Detail: err.Error()}
	}
	return out
}

// look asks the kernel once, for both families where a socket of IPv6 may carry
// IPv4.
func look(set []netip.Addr, now time.Time) (map[netip.Addr]vip.Flows, error) {
	out := make(map[netip.Addr]vip.Flows, len(set))
	for _, a := range set {
		out[a] = vip.Flows{At: now}
	}
	families := []vip.Family{vip.IPv6}
	if slices.ContainsFunc(slices.Collect(maps.Keys(out)), netip.Addr.Is4) {
		families = append(families, vip.IPv4)
	}
	for _, f := range families {
		q := sockdiag.Query{Family: f, States: sockdiag.Established | sockdiag.SynReceived, Idle: true, Locals: set}
		err := sockdiag.Each(q, func(c sockdiag.Socket) {
			local := c.Local().Addr().Unmap() // IPv4 that a socket of IPv6 carries counts as IPv4
			x, watched := out[local]
			if !watched {
				return
			}
			x.Open++
			idle := c.Idle()
			if idle < vip.Quiet {
				x.Receiving++
			}
			if at := now.Add(-idle); at.After(x.Received) {
				x.Received = at
			}
			out[local] = x
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}
