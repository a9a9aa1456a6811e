package hint

import (
	"cmp"
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/anyvip/anyvip/pkg/latest"
)

// Source is where a hint comes from.
type Source uint8

// The sources.
const (
	SourceNone Source = iota
	Listener          // a listening TCP socket came or went
	Process           // a process ended
	File              // a file was made, changed, replaced or removed
	Unit              // a systemd unit changed its state
)

var sourceNames = [...]string{"none", "listener", "process", "file", "unit"}

func (s Source) String() string { return sourceNames[s] }

// Watch is what one check wants to hear of.
type Watch struct {
	Check    string         // unique in a set
	Listener netip.AddrPort // an address of this host, and a TCP port; zero: none
	PIDFile  string         // absolute path of a file with the id of a process; empty: none
	Files    []string       // absolute paths
	Begin    bool           // tells of its files also when their watch begins: who looked before that may have missed something
	Unit     string         // a systemd unit; empty: none
}

func (w Watch) equal(v Watch) bool {
	return w.Check == v.Check && w.Listener == v.Listener && w.PIDFile == v.PIDFile && slices.Equal(w.Files, v.Files) &&
		w.Begin == v.Begin && w.Unit == v.Unit
}

// Hint says that a check should be probed.
type Hint struct {
	Check  string
	Source Source
	Gone   bool   // what the check asks is no more: its listener or process ended, its unit stopped
	Detail string // one line: what happened
	At     time.Time
}

// Report says what cannot be watched now.
type Report struct{ Missing []Missing }

// Missing is one thing that cannot be watched.
type Missing struct {
	Check  string
	Source Source
	Detail string // why, and what to do
}

// Options are what an Engine needs; all are required.
type Options struct {
	Hint   func(Hint)   // called from Run's goroutines, several at a time; must not block
	Report func(Report) // the whole of it, when it changed; sorted; must not block
	Log    *slog.Logger
}

// Engine watches a set.
type Engine struct {
	options Options
	sources []source

	mu      sync.Mutex // guards missing, for a few lines
	missing map[Source][]Missing

	listening present           // the goroutine of the source Listener alone: what it saw last
	units     map[string]string // the goroutine of the source Unit alone: how each was last
}

// source is one way to hear of something.
type source struct {
	name Source
	sets latest.Value[[]Watch]
	run  func(ctx context.Context, s source) error
}

// New makes an engine that does nothing until Run.
func New(o Options) *Engine {
	e := &Engine{options: o, missing: map[Source][]Missing{}, units: map[string]string{}}
	for name, run := range map[Source]func(context.Context, source) error{
		Listener: e.runListeners, Process: e.runProcesses, File: e.runFiles, Unit: e.runUnits,
	} {
		e.sources = append(e.sources, source{name, latest.Make[[]Watch](), run})
	}
	return e
}

// Apply replaces what is watched. It never blocks and may be called from any
// goroutine, also before Run; of several calls in a row the last wins. The caller must
// not change the slice afterwards.
func (e *Engine) Apply(set []Watch) {
	for _, s := range e.sources {
		s.sets.Put(set)
	}
}

// Run watches until ctx ends. A source that fails is reported and tried again; it ends
// nothing.
func (e *Engine) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, s := range e.sources {
		g.Go(func() error { return s.run(ctx, s) })
	}
	return g.Wait()
}

// tell hands a hint over.
func (e *Engine) tell(check string, s Source, gone bool, detail string) {
	e.options.Hint(Hint{Check: check, Source: s, Gone: gone, Detail: detail, At: time.Now()})
}

// lacks replaces what a source cannot watch.
func (e *Engine) lacks(s Source, list []Missing) {
	slices.SortFunc(list, func(a, b Missing) int { return cmp.Or(cmp.Compare(a.Check, b.Check), cmp.Compare(a.Detail, b.Detail)) })
	e.mu.Lock()
	defer e.mu.Unlock()
	if slices.Equal(list, e.missing[s]) {
		return
	}
	e.missing[s] = list
	var all []Missing
	for name := Listener; name <= Unit; name++ {
		all = append(all, e.missing[name]...)
	}
	e.options.Report(Report{all})
}

// lacksAll says of every check of a set that a source cannot watch it.
func (e *Engine) lacksAll(s Source, set []Watch, detail string) {
	list := make([]Missing, len(set))
	for i, w := range set {
		list[i] = Missing{w.Check, s, detail}
	}
	e.lacks(s, list)
}

// only are the watches that concern a source.
func only(set []Watch, concerns func(Watch) bool) (out []Watch) {
	for _, w := range set {
		if concerns(w) {
			out = append(out, w)
		}
	}
	return out
}

const (
	firstRetry  = time.Second
	cappedRetry = time.Minute
)

// again runs what a source does for a set until ctx ends: anew with each set that
// concerns it and is another than before, and with a growing pause after it has ended by
// itself; of a failure it reports.
func (e *Engine) again(ctx context.Context, s source, concerns func(Watch) bool, work func(ctx context.Context, set []Watch) error) error {
	var set []Watch
	var pause time.Duration
	var began time.Time
	stop, ended := func() {}, (<-chan error)(nil)
	defer func() { stop() }()
	retry := time.NewTimer(0)
	retry.Stop()
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case got := <-s.sets:
			got = only(got, concerns)
			if slices.EqualFunc(got, set, Watch.equal) {
				continue
			}
			set, pause = got, 0
		case err := <-ended:
			if err != nil && ctx.Err() == nil {
				e.options.Log.Debug("cannot watch", "source", s.name.String(), "error", err)
				e.lacksAll(s.name, set, err.Error())
			}
			ended = nil
			if time.Since(began) > cappedRetry { // it had worked
				pause = 0
			}
			pause = min(max(2*pause, firstRetry), cappedRetry)
			retry.Reset(pause)
			continue
		case <-retry.C:
		}
		stop()
		retry.Stop()
		stop, ended = func() {}, nil
		if len(set) == 0 {
			e.lacks(s.name, nil)
			continue
		}
		began = time.Now()
		stop, ended = begin(ctx, set, work)
	}
}

// begin sets work off. ended has its error when it ends by itself; stop makes it end, and
// waits for that.
func begin(ctx context.Context, set []Watch, work func(ctx context.Context, set []Watch) error) (stop func(), ended <-chan error) {
	ctx, cancel := context.WithCancel(ctx)
	failed, over := make(chan error, 1), make(chan struct{})
	go func() { defer close(over); failed <- work(ctx, set) }()
	return func() { cancel(); <-over }, failed
}
