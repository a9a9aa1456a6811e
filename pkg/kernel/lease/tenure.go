package lease

import (
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

// tenure is what the engine knows about one spot.
type tenure struct {
	lease  Lease // as it was wanted last
	wanted bool  // it is in the desired set
	ours   bool  // we added it, or an earlier run did, and it is there
	claim  bool  // it may be ours: an earlier run wrote it down, or an answer was lost; the next look tells
	stale  bool  // ours, but not with the lifetime that it should have
	left   bool  // an earlier run wrote it down, and this one has not held it: it stays until its lifetime is over

	expires time.Time // ours: when the kernel removes it, at the earliest
	since   time.Time // ours: since when it is there

	theirs *place // somebody else's, wherever it is

	trouble trouble
	fails   int       // in a row
	retry   time.Time // not before; zero: at once
	lost    []time.Time
}

// trouble is why an address is not as it should be. The zero value is none.
type trouble struct {
	state  vip.AddressState
	detail string
}

func (t *tenure) held() bool { return t.wanted && t.lease.Held }

// want takes over a lease.
func (t *tenure) want(l Lease) {
	if !t.wanted || t.lease.Held != l.Held {
		t.calm()
		t.lost = nil
	}
	t.stale = t.stale || t.ours && lifetime(l.Interval) != lifetime(t.lease.Interval)
	t.lease, t.wanted = l, true
	t.left = t.left && !l.Held
}

// drop notes that the lease is not wanted any more.
func (t *tenure) drop() {
	t.wanted = false
	t.calm()
}

// calm forgets failures: something new makes it worth to try at once.
func (t *tenure) calm() {
	t.trouble, t.fails, t.retry = trouble{}, 0, time.Time{}
}

// fail puts the next try off.
func (t *tenure) fail(now time.Time) {
	t.retry = now.Add(min(firstRetry<<min(t.fails, 10), lastRetry))
	t.fails++
}

func (t *tenure) waits(now time.Time) bool { return now.Before(t.retry) }

// toAdd reports whether the address is missing, as far as is known.
func (t *tenure) toAdd() bool {
	return t.held() && !t.ours && !t.claim && t.theirs == nil && t.lease.works()
}

// toRemove reports whether the address is there and should not be. What an agent left that
// was killed answers until its lifetime is over: by then there is a successor.
func (t *tenure) toRemove() bool { return t.ours && !t.held() && !t.left }

// renewAt is when a renewal is due.
func (t *tenure) renewAt() time.Time {
	at := t.expires.Add(-keep(t.lease.Interval))
	if t.lease.Going {
		at = t.expires.Add(-lateRenewal)
	}
	if t.stale {
		at = time.Time{}
	}
	if at.Before(t.retry) {
		return t.retry
	}
	return at
}

// took notes that the kernel gave the address a lifetime, from a moment before.
func (t *tenure) took(asked time.Time) {
	t.expires = asked.Add(time.Duration(lifetime(t.lease.Interval)) * time.Second)
	t.stale, t.trouble = false, trouble{}
}

// deadlines are when there is something to do.
func (t *tenure) deadlines(at func(time.Time)) {
	at(t.retry)
	if t.ours && !t.left {
		at(t.renewAt())
	}
	if t.ours {
		at(t.expires)
	}
}
