package checks

import (
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

// wakeGap is the least time between two probes of one check that something other
// than its interval asked for.
const wakeGap = 100 * time.Millisecond

// wakes are the probes that a check owes besides those of its interval: by what
// asks for one, when it is due.
type wakes map[vip.Trigger]time.Time

// add asks for one; of two with the same trigger the earlier one stays.
func (w wakes) add(t vip.Trigger, at time.Time) {
	if was, ok := w[t]; !ok || at.Before(was) {
		w[t] = at
	}
}

// next is when the first of them may come, given when the last one came. ok is
// false where none is owed.
func (w wakes) next(last time.Time) (at time.Time, ok bool) {
	for _, due := range w {
		if !ok || due.Before(at) {
			at, ok = due, true
		}
	}
	return later(at, last.Add(wakeGap)), ok
}

// take is what asks for the probe that starts now; one probe answers all who do.
// A listener's end comes before the rest: it is the one that decides something.
func (w wakes) take(now time.Time) (trigger vip.Trigger, ok bool) {
	for t, due := range w {
		if due.After(now) {
			continue
		}
		delete(w, t)
		if !ok || t == vip.TriggerListener || trigger != vip.TriggerListener && t < trigger {
			trigger, ok = t, true
		}
	}
	return trigger, ok
}
