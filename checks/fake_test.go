package checks

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

// fake is a kind whose probe is a function. Two are Equal when Version and the
// script that they point to are the same.
type fake struct {
	Version int
	Script  *script
}

type script struct {
	probe   func(ctx context.Context) vip.Result
	prepare func() error

	mu     sync.Mutex
	starts []time.Time
	active atomic.Int32 // probes under way
	worst  atomic.Int32 // the most of them at a time
}

func (f *fake) Describe() (name, target string) { return "fake", "nothing" }
func (f *fake) Validate() []vip.Problem         { return nil }
func (f *fake) Checker() (Checker, error) {
	if f.Script.prepare != nil {
		if err := f.Script.prepare(); err != nil {
			return nil, err
		}
	}
	return f.Script, nil
}

func (s *script) Probe(ctx context.Context) vip.Result {
	s.mu.Lock()
	s.starts = append(s.starts, time.Now())
	s.mu.Unlock()
	s.worst.Store(max(s.worst.Load(), s.active.Add(1)))
	defer s.active.Add(-1)
	if s.probe == nil {
		return vip.Result{Outcome: vip.Pass}
	}
	return s.probe(ctx)
}

// since returns the starts so far, as times after t.
func (s *script) since(t time.Time) (out []time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, at := range s.starts {
		out = append(out, at.Sub(t))
	}
	return out
}

// first is when the first probe started.
func (s *script) first() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.starts[0]
}

// takes is a probe that takes that long, unless it is cut short.
func takes(d time.Duration) func(context.Context) vip.Result {
	return func(ctx context.Context) vip.Result {
		select {
		case <-time.After(d):
			return vip.Result{Outcome: vip.Pass}
		case <-ctx.Done():
			return vip.Result{Outcome: vip.Fail, Class: vip.ClassTimeout}
		}
	}
}

// hangs is a probe that ignores its context for that long.
func hangs(d time.Duration) func(context.Context) vip.Result {
	return func(context.Context) vip.Result {
		time.Sleep(d)
		return vip.Result{Outcome: vip.Pass}
	}
}

func config(name string, s *script) Config {
	return Config{Name: name, Kind: &fake{Script: s}, Interval: time.Second, FastInterval: 100 * time.Millisecond, Timeout: 500 * time.Millisecond}
}

// rig is a Runner at work in a bubble.
type rig struct {
	*Runner
	mu      sync.Mutex
	results []vip.Result
	stop    context.CancelFunc
	ended   chan error
}

// inBubble runs f with a Runner, and fails if Run does not return nil at the end.
func inBubble(t *testing.T, f func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{ended: make(chan error, 1)}
		r.Runner = NewRunner(Options{Report: r.take, Rand: rand.New(rand.NewPCG(1, 2))})
		var ctx context.Context
		ctx, r.stop = context.WithCancel(t.Context())
		go func() { r.ended <- r.Run(ctx) }()
		f(t, r)
		r.stop()
		if err := <-r.ended; err != nil {
			t.Errorf("Run returned %v", err)
		}
	})
}

func (r *rig) take(v vip.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.results = append(r.results, v)
}

// of returns the results of one check so far.
func (r *rig) of(check string) (out []vip.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, v := range r.results {
		if v.Check == check {
			out = append(out, v)
		}
	}
	return out
}

// pass lets fake time go by and everything settle.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// ms are durations in milliseconds.
func ms(values ...int) (out []time.Duration) {
	for _, v := range values {
		out = append(out, time.Duration(v)*time.Millisecond)
	}
	return out
}
