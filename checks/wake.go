package checks

import (
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

// wakeGap is the least time between two probes of one check that something other
// than its interval asked for.
const wakeGap = 100 * time.Millisecond

// wake is one thing that asks for a probe.
type wake struct {
	at   time.Time // when it first did since a probe answered it
	gone bool      // its latest word is that something ended
}

// wakes are the probes that a check owes besides those of its interval, by what asks
// for them.
type wakes map[vip.Trigger]wake

// add asks for one: the first time counts, and the latest word. Of a unit the first: one
// that starts again is not there yet.
func (w wakes) add(t vip.Trigger, k wake) {
	if was, ok := w[t]; ok {
		k.at = was.at
		k.gone = k.gone || was.gone && t == vip.TriggerUnit
	}
	w[t] = k
}

// addAll adds what was asked later.
func (w wakes) addAll(later wakes) {
	for t, k := range later {
		w.add(t, k)
	}
}

// ended is the first time that something was told to have ended; ok is false where
// nothing was.
func (w wakes) ended() (at time.Time, ok bool) {
	for _, k := range w {
		if k.gone && (!ok || k.at.Before(at)) {
			at, ok = k.at, true
		}
	}
	return at, ok
}

// held says whether something has ended and is not back, so that probes wait for the end
// of the grace. A listener that is back outweighs the rest: it is what a probe connects to.
func (w wakes) held() bool {
	if l, ok := w[vip.TriggerListener]; ok && !l.gone {
		return false
	}
	_, gone := w.ended()
	return gone
}

// asks says whether somebody asks for a probe or reports, for whom no grace is waited.
func asks(t vip.Trigger) bool { return t == vip.TriggerRequest || t == vip.TriggerReport }

// next is when the first of them may come, given when the last one came and when the
// grace ends. ok is false where none is owed.
func (w wakes) next(last, grace time.Time) (at time.Time, ok bool) {
	held := w.held()
	for t, k := range w {
		due := k.at
		if held && !asks(t) {
			due = later(due, grace)
		}
		if !ok || due.Before(at) {
			at, ok = due, true
		}
	}
	return later(at, last.Add(wakeGap)), ok
}

// take is what asks for the probe that starts now; one probe answers all who do.
// A listener's end comes before the rest: it is the one that decides something.
func (w wakes) take(now, grace time.Time) (trigger vip.Trigger, ok bool) {
	held := w.held() && now.Before(grace)
	for t := range w {
		if held && !asks(t) {
			continue
		}
		delete(w, t)
		if !ok || t == vip.TriggerListener || trigger != vip.TriggerListener && t < trigger {
			trigger, ok = t, true
		}
	}
	return trigger, ok
}
