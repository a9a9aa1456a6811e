package bgp

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

// maxBatch is how many routes go to the speaker in one call. The first of a
// large change are on the wire while the speaker computes the rest, a newer
// Desired is heard in between, and the pulse goes on.
const maxBatch = 1000

const (
	idlePass    = 500 * time.Millisecond // the engine turns at least this often
	firstRetry  = 10 * time.Millisecond
	cappedRetry = time.Second
)

// Options are what an Engine needs; all are required.
type Options struct {
	Speaker Speaker
	Report  func(Report) // called from Run's goroutine when sessions or sent changed; must not block
	Log     *slog.Logger
}

// Engine keeps a Speaker equal to the latest Desired.
type Engine struct {
	speaker Speaker
	report  func(Report)
	log     *slog.Logger

	beat atomic.Pointer[time.Time] // the last pass, with its monotonic reading: the deadman must not obey the wall clock

	mu      sync.Mutex // guards the mailbox: these two, for a few lines
	desired *Desired   // the latest; nil: none since the last pass
	events  []Event
	wake    chan struct{} // of one: something is in the mailbox

	// The rest belongs to Run's goroutine.
	want       Desired
	started    bool // an Apply has been seen
	generation uint64
	acked      *Sessions // what the speaker acknowledged; nil: nothing, or unknown
	table      table
	todo       change    // what of want the table lacks
	sending    time.Time // since when routes were sent that nobody has begun to read back; zero: there are none
	sessions   map[string]vip.Session
	reader     reader
	reported   map[string]vip.Session // the sessions of the last report
	sentNew    bool                   // sent changed since the last report
	backoff    time.Duration
	lastError  string
}

// New makes an engine that does nothing until Run.
func New(o Options) *Engine {
	return &Engine{speaker: o.Speaker, report: o.Report, log: o.Log, wake: make(chan struct{}, 1),
		table: newTable(), sessions: map[string]vip.Session{}, reader: newReader()}
}

// Apply replaces everything that is wanted. It never blocks and may be called
// from any goroutine, also before Run; of several calls in a row the last wins.
// The caller must not change d's slices afterwards.
func (e *Engine) Apply(d Desired) {
	e.mu.Lock()
	e.desired = &d
	e.mu.Unlock()
	e.ring()
}

// Notify takes a fact from the speaker. It never blocks and may be called from
// any goroutine, also from inside a call of the speaker; order is kept.
func (e *Engine) Notify(ev Event) {
	e.mu.Lock()
	e.events = append(e.events, ev)
	e.mu.Unlock()
	e.ring()
}

func (e *Engine) ring() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// LastPass is when the engine last compared wanted and acknowledged, or had an
// answer from the speaker; zero before Run. It reads an atomic: a deadman may
// call it.
func (e *Engine) LastPass() time.Time {
	if t := e.beat.Load(); t != nil {
		return *t
	}
	return time.Time{}
}

// Run works until ctx ends. It sends nothing then: closing sessions politely is
// asked for with Apply before.
func (e *Engine) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-e.wake:
		case <-timer.C:
		}
		e.pulse()
		timer.Reset(e.pass(ctx))
	}
}

// pulse says that the engine is alive. Each answer of the speaker counts: a pass
// that has three calls to make may wait for each of them.
func (e *Engine) pulse() {
	now := time.Now()
	e.beat.Store(&now)
}

// pass brings the speaker one step nearer and says when to look again. What
// changes routes comes first, what reads them last.
func (e *Engine) pass(ctx context.Context) time.Duration {
	mail := e.takeMail()
	if !e.started {
		return idlePass
	}
	more, err := e.set(ctx)
	if ctx.Err() != nil {
		return idlePass
	}
	wait := idlePass
	switch {
	case err != nil:
		e.failed(err)
		wait = min(wait, e.backoff)
	case more:
		wait = 0
	default:
		e.backoff, e.lastError = 0, ""
	}
	if !more {
		wait = min(wait, e.readSent(ctx))
	}
	if mail || e.sentNew {
		e.reportChange()
	}
	return wait
}

// set sends what differs: sessions, then one batch of routes. It says whether
// there are more.
func (e *Engine) set(ctx context.Context) (more bool, err error) {
	if s := e.want.sessions(); e.acked == nil || !e.acked.Equal(s) {
		e.acked = nil
		generation, err := e.speaker.Sessions(ctx, s)
		e.pulse()
		e.takeGeneration(generation)
		if err != nil {
			return false, err
		}
		e.acked = &s
		e.reader.again(time.Now()) // a next hop or an allowed prefix may have changed what goes out
	}
	if !e.todo.known {
		e.todo = e.table.diff(e.want.Announcements)
	}
	if batch := e.todo.take(maxBatch); !batch.empty() {
		if e.sending.IsZero() {
			e.sending = time.Now()
		}
		err := e.speaker.Set(ctx, batch.add, batch.remove)
		e.pulse()
		if err != nil {
			e.table.doubt(batch)
			e.todo = change{}
			return false, err
		}
		e.table.acknowledge(batch)
	}
	if !e.todo.empty() {
		return true, nil
	}
	if !e.sending.IsZero() {
		// A large change is still on its way out now, and reading it back would only
		// slow it down: it gets as long again as it took.
		end := time.Now()
		e.reader.again(end.Add(end.Sub(e.sending)))
		e.sending = time.Time{}
	}
	return false, nil
}

// failed doubles the wait, and logs an error when it is another than before.
func (e *Engine) failed(err error) {
	e.backoff = min(max(2*e.backoff, firstRetry), cappedRetry)
	if text := err.Error(); text != e.lastError {
		e.lastError = text
		e.log.Warn("speaker refuses what is wanted; trying again", "error", text)
	}
}

// takeMail empties the mailbox into what Run's goroutine owns, and says whether
// there was anything.
func (e *Engine) takeMail() bool {
	e.mu.Lock()
	d, events := e.desired, e.events
	e.desired, e.events = nil, nil
	e.mu.Unlock()
	if d != nil {
		e.want, e.started, e.todo = *d, true, change{}
		e.keepSessions()
	}
	for _, ev := range events {
		e.takeEvent(ev)
	}
	e.forgetFailures()
	return d != nil || len(events) > 0
}

func (e *Engine) takeEvent(ev Event) {
	if ev.Generation < e.generation {
		return // of a speaker that is gone
	}
	e.takeGeneration(ev.Generation)
	if ev.Session.Peer != "" {
		e.takeSession(ev.Session)
	}
}

// takeGeneration forgets what an older speaker acknowledged.
func (e *Engine) takeGeneration(g uint64) {
	if g <= e.generation {
		return
	}
	if e.generation != 0 {
		e.log.Info("speaker started anew; sending everything again", "generation", g)
	}
	e.generation = g
	e.acked, e.table, e.todo, e.sending = nil, newTable(), change{}, time.Time{}
	e.endSessions()
}

func (d Desired) sessions() Sessions {
	return Sessions{ASN: d.ASN, RouterID: d.RouterID, AllowedPrefixes: d.AllowedPrefixes, ListenPort: d.ListenPort,
		ImportDefault: d.ImportDefault, Peers: d.Peers}
}
