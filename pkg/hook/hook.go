package hook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/anyvip/anyvip/pkg/child"
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

// Counts are totals of one hook since its name was configured.
type Counts struct {
	Name    string
	Runs    uint64 // ended, well or not
	Failed  uint64 // of them: not started, killed, or ended with another code than 0
	Dropped uint64 // events that it was not told of: it was too slow, or a reload changed it
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
	room    chan struct{} // of maxRunning: who runs has put something in
	rung    chan struct{} // of one: hooks or asked are others than Run has seen

	mu    sync.Mutex                  // guards the rest, for a few lines
	hooks []*worker                   // those that Fire tells, whether Run has begun them or not; replaced, never changed
	asked []func(ctx context.Context) // pre_drains that Run has not begun
}

// worker is one hook at work.
type worker struct {
	config Config
	stop   context.CancelFunc // Run's goroutine alone
	done   chan struct{}
	queue  []Event // under Engine.mu
	rung   chan struct{}
	counts *Counts // under Engine.mu; shared by all hooks of one name that followed each other
}

// New makes an engine that does nothing until Run.
func New(o Options) *Engine {
	return &Engine{options: o, room: make(chan struct{}, maxRunning), rung: make(chan struct{}, 1)}
}

// Apply replaces the hooks: the next Fire tells those of set. One that is Equal to one
// before keeps its queue; one that is changed keeps its counts, and what waited for it
// is dropped. It never blocks and may be called from any goroutine, also before Run.
// The caller must not change the slice afterwards.
func (e *Engine) Apply(set []Config) {
	e.mu.Lock()
	before := e.hooks
	hooks := make([]*worker, len(set))
	for i, c := range set {
		hooks[i] = successor(before, c)
	}
	dropped := make(map[string]int)
	if !slices.Equal(before, hooks) {
		e.hooks = hooks
		for _, w := range before {
			if len(w.queue) > 0 && !slices.Contains(hooks, w) {
				dropped[w.config.Name] = w.drop()
			}
		}
		e.report()
	}
	e.mu.Unlock()
	e.sayDropped(dropped, "a reload changed or removed the hook")
	ring(e.rung)
}

// successor is the worker for c, which may be one of before.
func successor(before []*worker, c Config) *worker {
	for _, w := range before {
		if w.config.Equal(c) {
			return w
		}
	}
	counts := &Counts{Name: c.Name}
	for _, w := range before {
		if w.config.Name == c.Name {
			counts = w.counts
		}
	}
	return &worker{config: c, done: make(chan struct{}), rung: make(chan struct{}, 1), counts: counts}
}

// drop empties the queue, and says how much was in it. The caller holds Engine.mu.
func (w *worker) drop() int {
	n := len(w.queue)
	w.queue = nil
	w.counts.Dropped += uint64(n)
	return n
}

// sayDropped logs how many events each hook was not told of.
func (e *Engine) sayDropped(dropped map[string]int, why string) {
	for _, name := range slices.Sorted(maps.Keys(dropped)) {
		e.options.Log.Warn("hook events dropped", "hook", name, "events", dropped[name], "reason", why)
	}
}

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
	var working []*worker
	var prepares sync.WaitGroup
	defer func() {
		e.follow(ctx, working, nil)
		prepares.Wait()
		e.dropAll()
	}()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-e.rung:
		}
		e.mu.Lock()
		hooks, asked := e.hooks, e.asked
		e.asked = nil
		e.mu.Unlock()
		for _, f := range asked {
			prepares.Go(func() { f(ctx) })
		}
		e.follow(ctx, working, hooks)
		working = hooks
	}
}

// follow ends the workers that are no more, and begins the new ones: of two hooks of one
// name no command runs beside another.
func (e *Engine) follow(ctx context.Context, working, hooks []*worker) {
	var over []*worker
	for _, w := range working {
		if !slices.Contains(hooks, w) {
			w.stop()
			over = append(over, w)
		}
	}
	for _, w := range over {
		<-w.done
	}
	for _, w := range hooks {
		if !slices.Contains(working, w) {
			var own context.Context
			own, w.stop = context.WithCancel(ctx)
			go e.work(own, w)
		}
	}
}

// dropAll counts what waits at the end.
func (e *Engine) dropAll() {
	dropped := make(map[string]int)
	e.mu.Lock()
	for _, w := range e.hooks {
		if n := w.drop(); n > 0 {
			dropped[w.config.Name] = n
		}
	}
	if len(dropped) > 0 {
		e.report()
	}
	e.mu.Unlock()
	e.sayDropped(dropped, "the agent ends")
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
			if len(w.queue) == 0 || ctx.Err() != nil {
				e.mu.Unlock()
				break
			}
			ev := w.queue[0]
			w.queue = w.queue[1:]
			e.mu.Unlock()
			err := e.run(ctx, w.config.Command, w.config.Timeout, ev)
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

// cutOff is why a command does not come to its end.
const cutOff = "a reload changed or removed the hook, or the agent ended"

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
	case err != nil && errors.Is(limited.Err(), context.Canceled):
		return errors.New("not started: " + cutOff)
	case err != nil:
		return err
	case end.Status.Signaled() && end.Status.Signal() == syscall.SIGKILL && errors.Is(limited.Err(), context.Canceled):
		return said("killed: "+cutOff, end)
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
		counts[i] = *w.counts
	}
	e.options.Report(counts)
}
