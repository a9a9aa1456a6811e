// Package hint is a stub.
package hint

import (
	"context"
	"log/slog"
	"net/netip"
	"time"
)

type Source uint8

const (
	SourceNone Source = iota
	Listener
	Process
	File
	Unit
	Link
	Address
)

func (s Source) String() string {
	return [...]string{"none", "listener", "process", "file", "unit", "link", "address"}[s]
}

type Watch struct {
	Check    string
	Listener netip.AddrPort
	PIDFile  string
	Files    []string
	Unit     string
	Network  bool
}
type Hint struct {
	Check  string
	Source Source
	Gone   bool
	Detail string
	At     time.Time
}
type Missing struct {
	Check  string
	Source Source
	Detail string
}
type Report struct{ Missing []Missing }
type Options struct {
	Hint   func(Hint)
	Report func(Report)
	Log    *slog.Logger
}
type Engine struct{}

func New(Options) *Engine                     { return &Engine{} }
func (*Engine) Apply([]Watch)                 {}
func (*Engine) Run(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
