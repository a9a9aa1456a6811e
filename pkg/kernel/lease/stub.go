// Package lease is a stand-in until the real one is merged.
package lease

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

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
type Engine struct{}

func New(Options) *Engine                     { return &Engine{} }
func (*Engine) Apply([]Lease)                 {}
func (*Engine) Run(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
