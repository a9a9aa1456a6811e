// Package lease is a stand-in until the real one is merged.
package lease

import (
	"context"
	"log/slog"
	"net/netip"
	"os/exec"
	"time"

	"github.com/anyvip/anyvip/pkg/latest"
	"github.com/anyvip/anyvip/pkg/vip"
)

type Lease struct {
	Addr     netip.Addr
	Link     string
	Index    int
	Interval time.Duration
	Held     bool
}
type Options struct {
	StateDir string
	Alive    func() bool
	Report   func(Report)
	Log      *slog.Logger
}
type Report struct{ Addresses map[netip.Addr]vip.Address }
type Engine struct {
	o Options
	l latest.Value[[]Lease]
}

func New(o Options) *Engine         { return &Engine{o, latest.Make[[]Lease]()} }
func (e *Engine) Apply(l []Lease)   { e.l.Put(l) }
func (e *Engine) Run(ctx context.Context) error {
	have := map[netip.Addr]Lease{}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case list := <-e.l:
			facts := map[netip.Addr]vip.Address{}
			for _, l := range list {
				_, there := have[l.Addr]
				if l.Held != there {
					verb := "del"
					if l.Held {
						verb = "add"
						have[l.Addr] = l
					} else {
						delete(have, l.Addr)
					}
					args := []string{"addr", verb, netip.PrefixFrom(l.Addr, l.Addr.BitLen()).String(), "dev", l.Link}
					if l.Addr.Is6() {
						args = append(args, "nodad")
					}
					exec.Command("ip", args...).Run()
				}
				facts[l.Addr] = vip.Address{Addr: l.Addr, State: vip.AddressAbsent, Since: time.Now()}
				if l.Held {
					facts[l.Addr] = vip.Address{Addr: l.Addr, State: vip.AddressPresent, Since: time.Now(), Ours: true, Link: l.Link}
				}
			}
			e.o.Report(Report{facts})
		}
	}
}
