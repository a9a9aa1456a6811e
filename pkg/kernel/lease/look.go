package lease

import (
	"log/slog"
	"net/netip"
	"time"
)

// place is where this host has an address, and how.
type place struct {
	spot
	bits      int    // its prefix length
	permanent bool   // no lifetime is running
	seconds   uint32 // else: what is left of it, rounded up
	tentative bool   // IPv6: duplicate address detection is not over
	duplicate bool   // IPv6: duplicate address detection found another owner
	link      string // as host.linkName has it; filled in where it is told
}

// host is the border to the kernel.
type host interface {
	// look lists the addresses of this host. Not complete: they changed meanwhile, and
	// some may be missing.
	look() (seen []place, complete bool, err error)
	// do carries out at most atOnce requests, and says of each what became of it.
	do([]request) []error
	// linkName is the name of a link.
	linkName(index int) string
}

// looking is when this host was looked at and will be.
type looking struct {
	done      bool      // once at least
	next      time.Time // without a hint
	hinted    bool      // somebody may have changed something
	notBefore time.Time // for hints: a storm of notifications must not keep us busy
	err       error     // of the latest
	fails     int       // in a row
}

func (l *looking) deadline() time.Time {
	if l.hinted && l.notBefore.Before(l.next) {
		return l.notBefore
	}
	return l.next
}

// lookIfDue looks when there is a reason to.
func (e *Engine) lookIfDue(now time.Time) {
	if !e.disk.opened() || now.Before(e.look.deadline()) && !e.overdue(now) {
		return // without the ledger nobody could tell what is ours
	}
	begin := time.Now()
	var seen []place
	complete := false
	err := e.lookAtLinks()
	if err == nil {
		seen, complete, err = e.host.look()
	}
	end := time.Now()
	e.look.notBefore = end.Add(max(2*end.Sub(begin), lookGap))
	e.look.hinted, e.look.err = false, err
	if err != nil {
		e.look.next = end.Add(min(firstRetry<<min(e.look.fails, 10), lastRetry))
		e.look.fails++
		e.chat.say(news{slog.LevelWarn, "addresses of this host cannot be listed", netip.Addr{}, "", err.Error()})
		return
	}
	e.look.done, e.look.fails = true, 0
	e.look.next = end.Add(lookEvery)
	if !complete {
		e.look.hinted = true
	}
	e.compare(seen, complete, end)
}

// overdue reports whether an address may have expired: while the agent hung, or was
// stopped. It is not renewed blindly then, since somebody may have come in between.
func (e *Engine) overdue(now time.Time) bool {
	for _, t := range e.tenures {
		if t.ours && !now.Before(t.expires) {
			return true
		}
	}
	return false
}

// compare tells every tenure what was seen.
func (e *Engine) compare(seen []place, complete bool, now time.Time) {
	at := make(map[netip.Addr][]place, len(e.tenures))
	for s := range e.tenures {
		at[s.addr] = nil
	}
	for _, p := range seen {
		if list, ok := at[p.addr]; ok {
			at[p.addr] = append(list, p)
		}
	}
	names := make(map[int]string)
	for s, t := range e.tenures {
		e.see(s, t, at[s.addr], complete, now)
		if t.theirs == nil {
			continue
		}
		if _, known := names[t.theirs.index]; !known {
			names[t.theirs.index] = e.host.linkName(t.theirs.index)
		}
		t.theirs.link = names[t.theirs.index]
	}
}

// see compares what is known about a spot with what was seen of its address.
func (e *Engine) see(s spot, t *tenure, at []place, complete bool, now time.Time) {
	own, theirs := e.part(s, at)
	switch {
	case own != nil && t.ours && !now.Before(t.expires) && !own.likeOurs():
		t.ours, t.stale, theirs = false, false, own // it expired, and somebody came
	case own != nil && t.ours:
		e.check(t, own, now)
	case own != nil && t.claim && own.likeOurs():
		t.ours, t.since, t.stale, t.theirs = true, now, true, nil
		t.expires = now.Add(own.left())
		e.say(slog.LevelInfo, "address of an earlier run found", t)
	case own != nil:
		theirs = own
	case t.ours && complete:
		e.lose(t, now)
	}
	if own != nil || complete {
		t.claim = false
	}
	if theirs != nil && t.theirs == nil && t.held() && !t.ours {
		e.say(slog.LevelInfo, "address is there already and is left alone", t)
	}
	if theirs != nil || complete {
		t.theirs = theirs
	}
}

// loopback is the index of lo in every network namespace.
const loopback = 1

// part finds the place that a spot of ours can be, and the best of somebody else's. A
// link-local address on another link is another address, and one on lo need not answer
// anybody on a link.
func (e *Engine) part(s spot, at []place) (own, best *place) {
	for i := range at {
		p := &at[i]
		switch {
		case p.index == s.index && p.bits == s.addr.BitLen():
			own = p
		case p.index != s.index && (s.addr.IsLinkLocalUnicast() || p.index == loopback):
		case p.bits == s.addr.BitLen() && e.isOurs(p.spot): // it moves from a link to another
		case best == nil || p.worth() > best.worth():
			best = p
		}
	}
	return own, best
}

func (e *Engine) isOurs(s spot) bool { t := e.tenures[s]; return t != nil && t.ours }

// worth orders places by how well the address works there.
func (p *place) worth() int {
	switch {
	case p.duplicate:
		return 0
	case p.tentative:
		return 1
	}
	return 2
}

// likeOurs reports whether the lifetime can be one that we gave.
func (p *place) likeOurs() bool { return !p.permanent && p.seconds <= longest }

// left is at most what is left of a lifetime. One that is over counts: the address is
// there, and the kernel will take its time.
func (p *place) left() time.Duration { return time.Duration(max(p.seconds, 1)) * time.Second }

// check compares the lifetime that an address of ours has with the one that we gave.
func (e *Engine) check(t *tenure, p *place, now time.Time) {
	switch {
	case p.permanent || p.seconds > lifetime(t.lease.Interval) && !t.stale:
		t.stale = true
		if t.held() {
			e.say(slog.LevelWarn, "address had another lifetime, set right", t)
		}
	case !now.Before(t.expires): // overdue: the kernel was late
		t.expires = now.Add(p.left())
		t.stale = true
	case now.Add(p.left()).Before(t.expires): // somebody shortened it
		t.expires = now.Add(p.left())
	}
}

// lose notes that an address of ours is gone.
func (e *Engine) lose(t *tenure, now time.Time) {
	t.ours, t.stale = false, false
	switch {
	case !t.held():
		return
	case !now.Before(t.expires):
		e.say(slog.LevelWarn, "address expired", t)
		return
	}
	e.say(slog.LevelWarn, "address was taken away", t)
	if now.Sub(t.since) < stands {
		t.fail(now)
	} else {
		t.calm()
	}
	if n := len(t.lost); n > 0 && now.Sub(t.lost[n-1]) < sameLoss {
		return
	}
	lost := append(t.lost[:len(t.lost):len(t.lost)], now) // reports share the old array
	t.lost = lost[max(0, len(lost)-keptLosses):]
}
