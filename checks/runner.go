package checks

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anyvip/anyvip/pkg/latest"
	"github.com/anyvip/anyvip/pkg/vip"
)

// tickEvery is a quarter of the 2 s after which the agent counts as standing still:
// a tick that a busy machine makes late must not look like that.
const tickEvery = 500 * time.Millisecond

// Probe asks for one check to be probed.
type Probe struct {
	Config      // has passed Validate
	Fast   bool // at the fast interval
}

// Options are what a Runner needs from its owner.
type Options struct {
	// Report takes every result. It is called by the goroutine of the check
	// (by Run's for a probe that is stuck), so by many at a time, and must not
	// block. A result may still come in just after its check was removed.
	Report func(vip.Result)
	// Rand spreads the first probes. Run's goroutine alone uses it. Nil: a
	// random one.
	Rand *rand.Rand
	// Log hears every probe, at debug level. Nil: nobody does.
	Log *slog.Logger
	// Go starts a goroutine, so that the owner can see a panic on its way up.
	// Nil: the go statement.
	Go func(func())
}

// Runner probes a set of checks, each in a goroutine of its own with a timer of
// its own, so that one that hangs makes no other late.
//
// The first probe of a check starts at once, apart from a random phase of at
// most 100 ms (with more than 20 checks 5 ms for each, and never more than its
// interval; in steps of 50 ms, so that some share a wake-up), the later ones each
// interval after the start of the one before. A probe never overlaps another of the
// same check: slots that a slow one covers are skipped. One that does not even end at
// its timeout is reported as failed in its place, once per interval.
//
// A time in which this process did not run counts against no service: a probe
// under way in it that does not pass is thrown away and repeated at once, and is
// not stuck before it has had its time anew.
type Runner struct {
	options Options
	sets    latest.Value[[]Probe]
	rung    chan struct{}         // of one: there is something in wakes
	ticks   atomic.Pointer[ticks] // Run's goroutine alone writes it

	mu     sync.Mutex        // guards these two, for a few lines
	wakes  map[string]wakes  // by check: what Wake was asked and Run has not taken
	latest map[string]Report // by check: what the application said last

	// Run's goroutine alone.
	probers map[string]*prober
	round   uint64
	group   sync.WaitGroup
}

// NewRunner makes a Runner of no checks; Run makes it work.
func NewRunner(o Options) *Runner {
	if o.Rand == nil {
		o.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Go == nil {
		o.Go = func(f func()) { go f() }
	}
	r := &Runner{options: o, sets: latest.Make[[]Probe](), rung: make(chan struct{}, 1), wakes: make(map[string]wakes), latest: make(map[string]Report), probers: make(map[string]*prober)}
	r.ticks.Store(&ticks{})
	return r
}

// Apply makes set what is probed; names in it are unique. A check whose Config
// is Equal to that of the set before keeps its schedule, one whose Config
// changed starts anew, one that is missing ends, and its probe with it. Any
// goroutine may call it, before Run too. It does not block, and only the latest
// of several sets counts.
func (r *Runner) Apply(set []Probe) {
	r.sets.Put(slices.Clone(set))
}

// Wake asks for one more probe of a check besides those of its interval: something
// happened that its result may depend on. It comes at once, or, where gone says that
// the service's end is what happened, after the check's gone_grace: until then no other
// probe starts either, unless what ended is told to be back, or somebody asks. An end
// within the grace of another has only the rest of that. What is asked for
// within 100 ms of another such probe waits for the rest of that time, and one probe
// answers all that is due. A name that is not in the set is ignored. Any goroutine
// may call it; it does not block.
func (r *Runner) Wake(check string, t vip.Trigger, gone bool) {
	r.mu.Lock()
	if r.wakes[check] == nil {
		r.wakes[check] = wakes{}
	}
	r.wakes[check].add(t, wake{at: time.Now(), gone: gone})
	r.mu.Unlock()
	select {
	case r.rung <- struct{}{}:
	default:
	}
}

// Report takes what an application says of itself to a check of kind heartbeat, and
// has that looked at. Any goroutine may call it; it does not block.
func (r *Runner) Report(check string, said Report) {
	r.mu.Lock()
	r.latest[check] = said
	r.mu.Unlock()
	r.Wake(check, vip.TriggerReport, false)
}

// reported is the latest Report to a check; zero if there was none.
func (r *Runner) reported(check string) Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.latest[check]
}

// wake hands over what Wake was asked.
func (r *Runner) wake() {
	r.mu.Lock()
	asked := r.wakes
	r.wakes = make(map[string]wakes)
	r.mu.Unlock()
	for name, w := range asked {
		if p := r.probers[name]; p != nil && !p.ending {
			p.wake(w)
		}
	}
}

// LastTick is when Run's goroutine was last seen at work, which is each tickEvery
// at least; zero before Run. It carries a monotonic reading. Any goroutine may
// call it.
func (r *Runner) LastTick() time.Time {
	return r.ticks.Load().last
}

// Run probes until ctx is done, and returns nil when the last goroutine has
// ended: probes under way are cut short and not reported. It is called once.
func (r *Runner) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer r.group.Wait()
	defer cancel()
	ticker := time.NewTicker(tickEvery)
	defer ticker.Stop()
	for {
		t := r.ticks.Load().next(time.Now())
		r.ticks.Store(&t)
		r.tend(t)
		select {
		case <-ctx.Done():
			return nil
		case set := <-r.sets:
			r.replace(ctx, set)
		case <-r.rung:
			r.wake()
		case <-ticker.C:
		}
	}
}

// replace brings the probers in line with set.
func (r *Runner) replace(ctx context.Context, set []Probe) {
	r.round++
	window := max(maxPhase, time.Duration(len(set))*phaseShare)
	for _, want := range set {
		p := r.probers[want.Name]
		if p == nil || p.ending || !p.config.Equal(want.Config) {
			p = r.start(ctx, want, p, window)
		}
		p.round = r.round
		p.setFast(want.Fast)
	}
	for name, p := range r.probers {
		if p.round != r.round {
			p.end()
			r.mu.Lock()
			delete(r.latest, name)
			r.mu.Unlock()
		}
	}
}

// start puts a new prober in the place of old, which may be nil. Its first probe
// comes within window.
func (r *Runner) start(ctx context.Context, want Probe, old *prober, window time.Duration) *prober {
	ctx, cancel := context.WithCancel(ctx)
	p := &prober{
		config: want.Config,
		report: r.options.Report,
		log:    r.options.Log.With("check", want.Name),
		ticks:  &r.ticks,
		latest: func() Report { return r.reported(want.Name) },
		phase:  time.Duration(r.options.Rand.Int64N(int64(min(want.Interval, window)))).Truncate(phaseSlot),
		cancel: cancel,
		fast:   make(chan bool, 1),
		woken:  make(chan wakes, 1),
		done:   make(chan struct{}),
	}
	if old != nil {
		old.end()
		p.after = old.done
	}
	r.probers[want.Name] = p
	r.group.Add(1)
	r.options.Go(func() {
		defer r.group.Done()
		p.run(ctx)
	})
	return p
}

// tend drops the probers that have ended (until then they are kept, so that a
// check which is removed and comes back waits for its own last probe), and
// speaks for those that are stuck.
func (r *Runner) tend(t ticks) {
	for name, p := range r.probers {
		if p.ended() {
			delete(r.probers, name)
		} else {
			p.reportStuck(t)
		}
	}
}
