package checks

import "time"

// frozenAfter is how long no tick may come until we say that this process did not
// run: it was stopped, its container paused, its machine suspended. It is no
// longer than stuckGrace, so that no freeze makes up a stuck probe unseen.
const frozenAfter = time.Second

// ticks are what the Runner's ticks say about when this process ran. A value.
type ticks struct {
	last time.Time // the latest
	woke time.Time // the latest that came after a freeze; zero: there was none
}

// next adds a tick.
func (t ticks) next(now time.Time) ticks {
	if !t.last.IsZero() && now.Sub(t.last) > frozenAfter {
		t.woke = now
	}
	t.last = now
	return t
}

// frozen says whether this process may not have run all the time from from to
// now. After a freeze whoever asks may be ahead of the tick: then that is overdue.
func (t ticks) frozen(from, now time.Time) bool {
	return t.woke.After(from) || now.Sub(t.last) > frozenAfter
}
