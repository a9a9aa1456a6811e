package checks

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

// The random wait before the first probe keeps checks apart, then and later. It is
// at most maxPhase, or phaseShare for each check where they are many: to start a
// script costs a processor 1 to 2 ms, and the process starts one at a time.
//
// Phases are multiples of phaseSlot: on an idle machine a probe costs less than
// what wakes it up, so some share a wake-up.
const (
	maxPhase   = 100 * time.Millisecond
	phaseShare = 5 * time.Millisecond
	phaseSlot  = 50 * time.Millisecond
)

// stuckGrace is how long after its timeout a probe counts as stuck.
const stuckGrace = time.Second

// prober is one check at work with one Config.
type prober struct {
	config Config
	report func(vip.Result)
	log    *slog.Logger
	ticks  *atomic.Pointer[ticks] // the Runner's
	latest func() Report          // of a heartbeat: what the application said last
	phase  time.Duration
	after  <-chan struct{} // closed when the prober before this one has ended; nil: there was none
	cancel context.CancelFunc
	fast   chan bool                 // the latest pace, for run to take
	woken  chan wakes                // what was asked and run has not taken
	busy   atomic.Pointer[time.Time] // since when a probe is under way; nil: none is
	done   chan struct{}             // closed by run

	// The Runner's goroutine alone.
	round  uint64    // of the latest set that has it
	pace   bool      // what went into fast last
	ending bool      // end was called
	stuck  time.Time // when the probe under way was last reported as stuck

	// The prober's own goroutine alone.
	checker Checker   // nil until Kind.Checker has worked
	began   time.Time // when run did
}

// setFast hands over the pace. The Runner's goroutine is the only sender, so
// there is room after the drain.
func (p *prober) setFast(fast bool) {
	if fast == p.pace {
		return
	}
	p.pace = fast
	select {
	case <-p.fast:
	default:
	}
	p.fast <- fast
}

// wake hands over what is asked, with what run has not taken yet. The Runner's
// goroutine is the only sender.
func (p *prober) wake(w wakes) {
	select {
	case before := <-p.woken:
		before.addAll(w)
		w = before
	default:
	}
	p.woken <- w
}

// end makes run return, without waiting for it.
func (p *prober) end() {
	p.ending = true
	p.cancel()
}

// ended says whether run has returned.
func (p *prober) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// reportStuck stands in for a probe that even its timeout could not end (a child
// in uninterruptible sleep on a dead disk, a file on a dead server): without it
// the check's last verdict would hold for ever. It reports once per interval. A
// freeze begins the wait anew: the timeout could not do its work either.
func (p *prober) reportStuck(t ticks) {
	now, since := t.last, p.busy.Load()
	if p.ending || since == nil || now.Sub(later(*since, t.woke)) < p.config.Timeout+stuckGrace || now.Sub(p.stuck) < p.config.Every(p.pace) {
		return
	}
	p.stuck = now
	latency := now.Sub(*since)
	p.report(vip.Result{Check: p.config.Name, At: now, Outcome: vip.Fail, Class: vip.ClassTimeout, Latency: latency,
		Detail: fmt.Sprintf("stuck for %s: the probe does not even end at its timeout", latency.Truncate(time.Second))})
}

// run probes on the grid, and when it is woken, until ctx is done.
func (p *prober) run(ctx context.Context) {
	defer close(p.done)
	if p.after != nil {
		p.setBusy(time.Now()) // waiting for a stuck one is being stuck
		<-p.after
		p.busy.Store(nil)
	}
	p.began = time.Now()
	slots := grid{every: p.config.Every(false), next: time.Now().Add(p.phase)}
	timer := time.NewTimer(p.phase)
	defer timer.Stop()
	trigger := vip.TriggerStart
	owed := wakes{}
	var woken time.Time // when the last probe began that was owed
	var grace time.Time // until then what has ended may come back
	for {
		select {
		case <-ctx.Done():
			return
		case fast := <-p.fast:
			slots.pace(p.config.Every(fast), time.Now())
		case w := <-p.woken:
			at, ended := w.ended()
			if _, before := owed.ended(); ended && !before && !at.Before(grace) { // else it has the rest of that grace
				grace = at.Add(p.config.GoneGrace)
			}
			owed.addAll(w)
		case <-timer.C:
			start := time.Now()
			why, extra := owed.take(start, grace)
			if extra {
				woken = start
			} else {
				why, trigger = trigger, vip.TriggerInterval
			}
			r := p.probe(ctx)
			if ctx.Err() != nil {
				return
			}
			r.Trigger = why
			if r.Outcome != vip.Unknown {
				p.report(r)
			}
			switch {
			case why == vip.TriggerReport: // looked at again an interval later
				slots.anew(start)
			case extra:
				slots.beside(start, r.At)
			default:
				slots.advance(r.At)
			}
		}
		next := slots.next
		if at, ok := owed.next(woken, grace); ok && (at.Before(next) || owed.held()) {
			next = at
		}
		timer.Reset(time.Until(next))
	}
}

// later is the later one of two times.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// probe asks, and once more where a freeze may have been why it did not pass: our
// timeout, a script's own, a server that had waited long enough for us. The
// second answer counts whatever happens, so that a machine that starves us time
// and again does not hide a service that is dead.
func (p *prober) probe(ctx context.Context) vip.Result {
	start := time.Now()
	r := p.once(ctx, start)
	if r.Outcome != vip.Pass && ctx.Err() == nil && p.ticks.Load().frozen(start, time.Now()) {
		p.log.LogAttrs(ctx, slog.LevelDebug, "probe thrown away: we did not run all the time")
		return p.once(ctx, time.Now())
	}
	return r
}

// once asks once and completes the result.
func (p *prober) once(ctx context.Context, start time.Time) vip.Result {
	p.setBusy(start)
	defer p.busy.Store(nil)
	ctx, cancel := context.WithTimeout(ctx, p.config.Timeout)
	defer cancel()
	r := p.ask(ctx)
	r.Check = p.config.Name
	r.At = time.Now()
	r.Latency = r.At.Sub(start)
	r.Detail = vip.Line(r.Detail)
	p.log.LogAttrs(ctx, slog.LevelDebug, "probe", slog.String("outcome", r.Outcome.String()), slog.String("class", r.Class.String()),
		slog.Duration("latency", r.Latency), slog.String("detail", r.Detail))
	return r
}

func (p *prober) setBusy(since time.Time) { p.busy.Store(&since) }

// ask prepares the checker if that has not worked yet, and probes.
func (p *prober) ask(ctx context.Context) vip.Result {
	if h, ok := p.config.Kind.(*Heartbeat); ok {
		return h.judge(p.latest(), later(p.began, p.ticks.Load().woke), time.Now()) // frozen, nobody could report
	}
	if p.checker == nil {
		c, err := p.config.Kind.Checker()
		if err != nil {
			return vip.Result{Outcome: vip.Error, Class: vip.ClassLocal, Detail: err.Error()}
		}
		p.checker = c
	}
	return p.checker.Probe(ctx)
}
