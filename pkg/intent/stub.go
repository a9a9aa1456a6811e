// Package intent is a stub.
package intent

import (
	"context"
	"log/slog"
	"time"
)

type Drain struct {
	Service string
	Reason  string
	Actor   string
	At      time.Time
	Left    time.Duration
	Until   time.Time
}
type Report struct {
	Drains []Drain
	Detail string
}
type Options struct {
	StateDir string
	Report   func(Report)
	Log      *slog.Logger
}
type Store struct{}

func New(Options) *Store                      { return &Store{} }
func (*Store) Load() Report                   { return Report{} }
func (*Store) Put(d Drain, done func(error))  {}
func (*Store) Remove(s string, d func(error)) {}
func (*Store) Run(ctx context.Context) error  { <-ctx.Done(); return ctx.Err() }
