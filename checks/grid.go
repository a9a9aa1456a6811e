package checks

import "time"

// grid is when one check's probes start: on fixed slots, so that neither a slow
// probe nor a late timer moves those after it.
type grid struct {
	every time.Duration
	last  time.Time // slot of the latest probe; zero before the first
	next  time.Time // slot of the next one
}

// beside counts a probe that began at start and ended at now without a slot of its
// own: a faster pace waits from there, and what is over by now is not made up for.
// Where slots had to wait for it, they begin anew with it.
func (g *grid) beside(start, now time.Time) {
	if g.last.IsZero() {
		return // the first probe is still to come
	}
	if !g.next.After(start) {
		g.next = start.Add(g.every)
	}
	g.last = start
	g.skip(now)
}

// anew has the slots begin with a probe that began at start.
func (g *grid) anew(start time.Time) {
	g.last, g.next = start, start.Add(g.every)
}

// advance moves on from the slot whose probe ended at now to the first later
// one that is not already over: what was missed is skipped, not made up for.
func (g *grid) advance(now time.Time) {
	g.last = g.next
	g.next = g.last.Add(g.every)
	g.skip(now)
}

// skip moves on to the first slot that is not over.
func (g *grid) skip(now time.Time) {
	if late := now.Sub(g.next); late > 0 {
		missed := (late + g.every - 1) / g.every
		g.next = g.next.Add(missed * g.every)
	}
}

// pace changes the interval at once: the wait that is under way counts from
// the latest start, and a start that is already overdue by the new interval is
// due now. The first probe keeps its time.
func (g *grid) pace(every time.Duration, now time.Time) {
	g.every = every
	if g.last.IsZero() {
		return
	}
	g.next = g.last.Add(every)
	if g.next.Before(now) {
		g.next = now
	}
}
