package lease

import (
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// act adds, removes and renews, in this order: a takeover waits for nothing, and what
// leaves a macvlan goes at once with it. What can wait is done a batch at a time, since a
// batch of IPv6 addresses takes the kernel a while when there are many (doc of
// BenchmarkTakeover); more is set if some are left.
func (e *Engine) act(now time.Time) {
	e.closed, e.more = false, false
	if !e.look.done {
		return // nobody knows what is there
	}
	e.raiseMacvlans(now)
	e.carryOut(add, e.pick(func(s spot, t *tenure) bool { return t.toAdd() && !t.waits(now) && e.disk.says(s) }))
	late := e.sinkMacvlans(now)
	e.carryOut(remove, e.batch(e.pick(func(s spot, t *tenure) bool {
		return t.toRemove() && !t.waits(now) && !slices.Contains(late, s.index)
	})))
	e.carryOut(renew, e.batch(e.due(now)))
}

// batch cuts a list to one batch.
func (e *Engine) batch(list []spot) []spot {
	if len(list) > atOnce {
		e.more = true
		return list[:atOnce]
	}
	return list
}

// pick lists spots by address.
func (e *Engine) pick(want func(spot, *tenure) bool) (list []spot) {
	for s, t := range e.tenures {
		if want(s, t) {
			list = append(list, s)
		}
	}
	slices.SortFunc(list, compareSpots)
	return list
}

// due lists what is to be renewed, first what is due first: if anything is, with all
// that will be soon. Together they cost one message, and one wake-up of whoever listens
// to the kernel.
func (e *Engine) due(now time.Time) []spot {
	due := map[spot]time.Time{}
	begin := false
	for s, t := range e.tenures {
		at := t.renewAt()
		if t.held() && t.ours && !t.waits(now) && now.Before(t.expires) && at.Before(now.Add(early)) {
			due[s] = at
			begin = begin || !at.After(now)
		}
	}
	if !begin {
		return nil
	}
	return slices.SortedFunc(maps.Keys(due), func(a, b spot) int { return due[a].Compare(due[b]) })
}

// carryOut does one thing to all of a list.
func (e *Engine) carryOut(v verb, list []spot) {
	for batch := range slices.Chunk(list, atOnce) {
		if v != remove && !e.options.Alive() {
			e.closed = true
			return
		}
		asked := time.Now()
		requests := make([]request, len(batch))
		for i, s := range batch {
			requests[i] = request{v, s, lifetime(e.tenures[s].lease.Interval)}
		}
		var added []netip.Addr
		for i, err := range e.host.do(requests) {
			t := e.tenures[batch[i]]
			e.note(v, t, err, asked)
			if v == add && err == nil {
				added = append(added, t.lease.Addr)
			}
		}
		if len(added) > 0 {
			e.options.Added(added)
		}
	}
}

// note takes over what became of a request.
func (e *Engine) note(v verb, t *tenure, err error, asked time.Time) {
	now := time.Now()
	switch {
	case errors.Is(err, errDoubt):
		t.claim = t.claim || v == add
		t.fail(now)
		e.look.hinted = true
	case v == add && errors.Is(err, unix.EEXIST): // somebody was faster, or a dump missed it
		t.fail(now)
		e.look.hinted = true
	case v == remove && isGone(err), err == nil && v == remove:
		t.ours, t.stale = false, false
		t.calm()
		e.say(slog.LevelInfo, "address removed", t)
	case err != nil:
		before := t.trouble
		t.trouble = explain(v, t.lease, err)
		t.fail(now)
		if t.trouble != before {
			e.chat.say(news{slog.LevelWarn, "address not changed", t.lease.Addr, t.lease.Link, t.trouble.detail})
		}
	case v == add:
		t.took(asked)
		t.ours, t.since = true, asked
		e.say(slog.LevelInfo, "address added", t)
	case v == renew:
		t.took(asked)
		t.fails = 0
	}
}

// isGone reports whether there is nothing to remove.
func isGone(err error) bool {
	return errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO)
}

func (e *Engine) say(level slog.Level, message string, t *tenure) {
	e.chat.say(news{level, message, t.lease.Addr, t.lease.Link, ""})
}
