// Package health turns the results of probes into verdicts: rise and fall per
// check, and what a check that cannot ask means.
//
// It owns no clock, no goroutine and no schedule: a Check is a plain value that
// its owner (the agent loop) feeds with results. It must not know what a verdict
// is used for.
package health

import (
	"fmt"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

// Params are the knobs of one check.
type Params struct {
	Rise      int           // results in a row that make it better; at least 1
	Fall      int           // results in a row that make it worse; at least 1
	ErrorHold time.Duration // an Error keeps the verdict this long
	OnError   vip.OnError   // and then means this
	OnTimeout vip.OnTimeout // what a probe without an answer in time means
	OnGone    vip.OnGone    // what a refusal right after the listener's end means
	SlowAfter time.Duration // a pass that took longer is degraded; 0: never
}

// Verdict is what is held to be true of one check.
type Verdict struct {
	Outcome     vip.Outcome // Unknown, Pass, Degraded or Fail; never Error
	Since       time.Time   // of Outcome; for Unknown, since the check exists
	Class       vip.Class   // of the result that settled it
	Detail      string
	ErrorSince  time.Time // first of the Errors in a row that are the latest results; zero if the latest result is none
	ErrorDetail string
	Overloaded  time.Time // since when timeouts are absorbed that would have changed the verdict; zero: they are not
}

// Level is what the verdict is worth at now, and when that changes by time
// alone (zero: never). ok is false while the outcome is Unknown.
func (v Verdict) Level(p Params, now time.Time) (l vip.Level, ok bool, next time.Time) {
	switch v.Outcome {
	case vip.Pass:
		l, ok = vip.LevelPass, true
	case vip.Degraded:
		l, ok = vip.LevelDegraded, true
	case vip.Fail:
		l, ok = vip.LevelFail, true
	case vip.Unknown, vip.Error:
	}
	if v.ErrorSince.IsZero() || !ok || p.OnError == vip.OnErrorHold {
		return l, ok, time.Time{}
	}
	if until := v.ErrorSince.Add(p.ErrorHold); now.Before(until) {
		return l, ok, until
	}
	if p.OnError == vip.OnErrorFail {
		return vip.LevelFail, ok, time.Time{}
	}
	return min(l, vip.LevelDegraded), ok, time.Time{}
}

// Check is the memory of one check. Only its owner's goroutine may touch it.
type Check struct {
	Params
	Verdict Verdict
	Last    vip.Result // the latest, for status

	run   int         // results in a row on the same side of the verdict
	late  int         // absorbed timeouts in a row
	worst vip.Outcome // of that run when rising: what it settles at
	best  vip.Outcome // of that run when falling
}

// New is a check that has not been probed.
func New(p Params, now time.Time) Check { return Check{Params: p, Verdict: Verdict{Since: now}} }

// Observe takes a result and says whether the verdict changed, its error state
// and overload included. A result that changes nothing updates Last and counters
// alone.
func (c *Check) Observe(r vip.Result) (changed bool) {
	c.Last = r
	if r.Outcome == vip.Error {
		c.run, c.late = 0, 0
		c.Verdict.ErrorDetail = r.Detail
		if c.Verdict.ErrorSince.IsZero() {
			c.Verdict.ErrorSince = r.At
			return true
		}
		return false
	}
	if !c.Verdict.ErrorSince.IsZero() {
		c.Verdict.ErrorSince, c.Verdict.ErrorDetail = time.Time{}, ""
		changed = true
	}
	if c.absorbs(r) {
		return c.absorb(r.At) || changed
	}
	c.late = 0
	if !c.Verdict.Overloaded.IsZero() {
		c.Verdict.Overloaded = time.Time{}
		changed = true
	}
	if c.gone(r) {
		r.Class, r.Detail = vip.ClassGone, "the listener ended: "+r.Detail
		return c.settle(vip.Fail, r)
	}
	return c.count(c.weigh(r)) || changed
}

// absorbs says whether a result is a timeout that keeps the verdict. A check that
// has none yet learns from every result.
func (c *Check) absorbs(r vip.Result) bool {
	return c.OnTimeout == vip.OnTimeoutAbsorb && r.Class == vip.ClassTimeout && r.Outcome == vip.Fail && c.Verdict.Outcome != vip.Unknown
}

// absorb counts a timeout, and says that there is overload once it would have
// changed the verdict.
func (c *Check) absorb(at time.Time) (changed bool) {
	c.run = 0
	if c.late++; c.late < c.Fall || !c.Verdict.Overloaded.IsZero() || c.Verdict.Outcome == vip.Fail {
		return false
	}
	c.Verdict.Overloaded = at
	return true
}

// weigh is the result as the parameters see it.
func (c *Check) weigh(r vip.Result) vip.Result {
	switch {
	case r.Outcome == vip.Fail && r.Class == vip.ClassTimeout && c.OnTimeout == vip.OnTimeoutDegrade:
		r.Outcome = vip.Degraded
	case r.Outcome == vip.Pass && c.SlowAfter > 0 && r.Latency > c.SlowAfter:
		r.Outcome, r.Class = vip.Degraded, vip.ClassTimeout
		r.Detail = fmt.Sprintf("took %s, more than degraded_above of %s", r.Latency.Round(time.Millisecond), c.SlowAfter)
	}
	return r
}

// gone says whether a result settles a failure by itself: the kernel told us that
// the listener ended, and the probe that followed was refused.
func (c *Check) gone(r vip.Result) bool {
	return c.OnGone == vip.OnGoneDown && c.Verdict.Outcome != vip.Fail && r.Trigger == vip.TriggerListener && r.Outcome == vip.Fail && r.Class == vip.ClassRefused
}

// count advances rise or fall. A run that gets better settles at the worst of
// its results, one that gets worse at the best: neither claims more change
// than every result of the run has shown.
func (c *Check) count(r vip.Result) bool {
	side, need := c.side(r.Outcome)
	if side == 0 {
		c.run = 0
		return false
	}
	if c.run*side <= 0 {
		c.run, c.worst, c.best = 0, r.Outcome, r.Outcome
	}
	c.run += side
	// Pass < Degraded < Fail as numbers.
	c.worst, c.best = max(c.worst, r.Outcome), min(c.best, r.Outcome)
	if c.run*side < need {
		return false
	}
	settled := c.worst
	if side < 0 {
		settled = c.best
	}
	return c.settle(settled, r)
}

// settle makes o the verdict, because of r.
func (c *Check) settle(o vip.Outcome, r vip.Result) bool {
	c.run = 0
	c.Verdict = Verdict{Outcome: o, Since: r.At, Class: r.Class, Detail: r.Detail}
	return true
}

// side is +1 when o is better than the verdict, -1 when it is worse, and how
// many such results in a row it takes.
func (c *Check) side(o vip.Outcome) (side, need int) {
	v := c.Verdict.Outcome
	switch {
	case v == vip.Unknown && o != vip.Fail, v != vip.Unknown && o < v:
		return +1, c.Rise
	case v == vip.Unknown, o > v:
		return -1, c.Fall
	}
	return 0, 0
}

// Pending reports whether a change is under way, so that the next probe should
// come at the fast interval.
func (c *Check) Pending() bool { return c.run != 0 || c.Verdict.Outcome == vip.Unknown }
