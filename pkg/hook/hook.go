package hook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/anyvip/anyvip/pkg/child"
	"github.com/anyvip/anyvip/pkg/latest"
)

const (
	maxQueue   = 64 // events that wait for one hook; the oldest is dropped for a new one
	maxRunning = 8  // commands at a time, of all hooks
	version    = 1  // of Event's JSON
)

// Event is a change of one service, as a hook reads it.
type Event struct {
	Version int       `json:"version"`
	At      time.Time `json:"at"`
	Node    string    `json:"node"`
	Service string    `json:"service"`
	From    string    `json:"from"` // disposition; empty: the service is new
	To      string    `json:"to"`   // disposition, "removed", or for pre_drain "drain"
	Reason  Reason    `json:"reason"`
}

// Reason is why.
type Reason struct {
	Code    string `json:"code"`
	Subject string `json:"subject,omitempty"`
	Detail  string `json:"detail,omitempty"`
}

// Counts are totals of one hook since the agent started.
type Counts struct {
	Name    string
	Runs    uint64 // ended, well or not
	Failed  uint64 // of them: not started, killed at the timeout, or ended with another code than 0
	Dropped uint64 // events that it was not told of: it was too slow
	Last    string // how the last failure came, one line; empty: there was none
}

// Options are what an Engine needs; all are required.
type Options struct {
	Report func([]Counts) // when they changed, in the order of the configuration; must not block
	Log    *slog.Logger
}

// Engine runs hooks.
type Engine struct {
	options Options
	sets    latest.Value[[]Config]
	room    chan struct{} // of maxRunning: who runs has put something in

	mu    sync.Mutex // guards the rest, for a few lines
	hooks []*worker
	asked []func(ctx context.Context) // pre_drains that Run has not begun
	rung  chan struct{}
}

// worker is one hook at work.
type worker struct {
	config Config
	stop   context.CancelFunc
	done   chan struct{}
	queue  []Event // under Engine.mu
	rung   chan struct{}
	counts Counts // under Engine.mu
}

// New makes an engine that does nothing until Run.
func New(o Options) *Engine {
	return &Engine{options: o, sets: latest.Make[[]Config](), room: make(chan struct{}, maxRunning), rung: make(chan struct{}, 1)}
}

// Apply replaces the hooks. One that is Equal to one before keeps its queue and its
// counts. It never blocks and may be called from any goroutine, also before Run; of
// several calls in a row the last wins. The caller must not change the slice afterwards.
func (e *Engine) Apply(set []Config) { e.sets.Put(set) }

// Fire tells every hook that wants to know. It never blocks and may be called from any
// goroutine. Each hook hears of events in their order, one at a time.
func (e *Engine) Fire(ev Event) {
	ev.Version = version
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, w := range e.hooks {
		if len(w.config.Services) > 0 && !slices.Contains(w.config.Services, ev.Service) {
			continue
		}
		if len(w.queue) == maxQueue {
			w.queue = w.queue[1:]
			w.counts.Dropped++
			e.report()
		}
		w.queue = append(w.queue, ev)
		ring(w.rung)
	}
}

// Prepare runs a pre_drain, and calls done when it has ended, or after the timeout, in
// which it has to begin, too: with nil, or with why it failed. It does not block; done
// comes from another goroutine, and not at all if Run ends before.
func (e *Engine) Prepare(argv []string, timeout time.Duration, ev Event, done func(error)) {
	ev.Version = version
	e.mu.Lock()
	e.asked = append(e.asked, func(ctx context.Context) {
		limited, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		if err := e.run(limited, argv, timeout, ev); ctx.Err() == nil {
			done(err)
		}
	})
	e.mu.Unlock()
	ring(e.rung)
}

func ring(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Run works until ctx ends: commands under way are killed then, and what waits is
// dropped.
func (e *Engine) Run(ctx context.Context) error {
	var prepares sync.WaitGroup
	defer func() {
		e.replace(ctx, nil)
		prepares.Wait()
	}()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case set := <-e.sets:
			e.replace(ctx, set)
		case <-e.rung:
			e.mu.Lock()
			asked := e.asked
			e.asked = nil
			e.mu.Unlock()
			for _, f := range asked {
				prepares.Go(func() { f(ctx) })
			}
		}
	}
}

// replace brings the workers in line with set.
func (e *Engine) replace(ctx context.Context, set []Config) {
	e.mu.Lock()
	before := e.hooks
	var hooks, fresh, over []*worker
	for _, c := range set {
		i := slices.IndexFunc(before, func(w *worker) bool { return w.config.Equal(c) })
		if i >= 0 {
			hooks = append(hooks, before[i])
			continue
		}
		w := &worker{config: c, done: make(chan struct{}), rung: make(chan struct{}, 1), counts: Counts{Name: c.Name}}
		hooks, fresh = append(hooks, w), append(fresh, w)
	}
	for _, w := range before {
		if !slices.Contains(hooks, w) {
			over = append(over, w)
		}
	}
	e.hooks = hooks
	changed := len(fresh)+len(over) > 0
	if changed {
		e.report()
	}
	e.mu.Unlock()
	for _, w := range fresh {
		var working context.Context
		working, w.stop = context.WithCancel(ctx)
		go e.work(working, w)
	}
	for _, w := range over {
		w.stop()
		<-w.done
	}
}

// work runs one hook's command for each of its events.
func (e *Engine) work(ctx context.Context, w *worker) {
	defer close(w.done)
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.rung:
		}
		for {
			e.mu.Lock()
			if len(w.queue) == 0 {
				e.mu.Unlock()
				break
			}
			ev := w.queue[0]
			w.queue = w.queue[1:]
			e.mu.Unlock()
			err := e.run(ctx, w.config.Command, w.config.Timeout, ev)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				e.options.Log.Warn("hook failed", "hook", w.config.Name, "service", ev.Service, "to", ev.To, "error", err)
			}
			e.mu.Lock()
			w.counts.Runs++
			if err != nil {
				w.counts.Failed++
				w.counts.Last = fmt.Sprintf("%s to %s: %v", ev.Service, ev.To, err)
			}
			e.report()
			e.mu.Unlock()
		}
	}
}

// run runs a command once, when there is room for it.
func (e *Engine) run(ctx context.Context, argv []string, timeout time.Duration, ev Event) error {
	select {
	case e.room <- struct{}{}:
		defer func() { <-e.room }()
	case <-ctx.Done():
		return fmt.Errorf("not started: %d commands are under way: %w", maxRunning, ctx.Err())
	}
	text, err := json.Marshal(ev)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	end, err := child.Run(limited, child.Command{Argv: argv, Stdin: append(text, '\n')})
	switch {
	case err != nil:
		return err
	case end.Status.Signaled() && end.Status.Signal() == syscall.SIGKILL && limited.Err() != nil:
		return said(fmt.Sprintf("killed at the timeout of %s", timeout), end)
	case end.Status.Signaled():
		return said("ended by a signal: "+end.Status.Signal().String(), end)
	case end.Status.ExitStatus() != 0:
		return said(fmt.Sprintf("exit code %d", end.Status.ExitStatus()), end)
	}
	return nil
}

func said(what string, end child.End) error {
	if line := end.FirstLine(); line != "" {
		what += ": " + line
	}
	return errors.New(what)
}

// report tells the counts. The caller holds mu.
func (e *Engine) report() {
	counts := make([]Counts, len(e.hooks))
	for i, w := range e.hooks {
		counts[i] = w.counts
	}
	e.options.Report(counts)
}
