package neighbor

import (
	"fmt"
	"net/netip"
	"time"
)

const (
	// quiet is how long the router may be silent beside a second one before it is
	// asked: longer than FRR's interval on unnumbered links, 10 s.
	quiet = 15 * time.Second
	// patience is how long it may leave that unanswered, from the second one's first
	// advertisement on, before the second one takes its place. An answer takes up to
	// 3.5 s (RFC 4861, section 6.2.6), and it is asked every 4 s; so neither losses nor a
	// router with long intervals make a session move, and one that came back
	// with another address waits no longer than this.
	patience = 30 * time.Second
	// impatience is how long it may leave a question unanswered that nobody talks
	// with. It is asked as soon as there is a second one: a router that was replaced
	// would keep the link without a session for half a minute otherwise.
	impatience = 5 * time.Second
	// fresh is how long a second router counts after its last advertisement.
	fresh = time.Minute
)

// router is what the advertisements on one link tell about the router at its
// other end. Its silence alone tells nothing: whether it lives, BGP finds out.
// Pure: the caller passes the time in.
type router struct {
	address netip.Addr // zero: none heard
	since   time.Time  // of address
	heard   time.Time  // last
	asked   time.Time  // first, since it was heard; zero: it was not

	// A second router, which an unnumbered link should not have, and the time it
	// was first and last heard. One at a time: a third waits until it is stale.
	second      netip.Addr
	secondSince time.Time
	secondHeard time.Time
}

// advertised takes a valid advertisement of another than us. inUse says that
// somebody talks with the router.
func (r *router) advertised(from netip.Addr, now time.Time, inUse bool) {
	switch {
	case !r.address.IsValid():
		*r = router{address: from, since: now, heard: now}
	case from == r.address:
		r.heard, r.asked = now, time.Time{}
	case !r.hasSecond(now):
		r.second, r.secondSince, r.secondHeard = from, now, now
	case from != r.second:
	case r.missing(now, inUse):
		*r = router{address: from, since: now, heard: now}
	default:
		r.secondHeard = now
	}
}

// missing says whether the first router has been silent for too long beside the
// second.
func (r *router) missing(now time.Time, inUse bool) bool {
	if !inUse && !r.asked.IsZero() && now.Sub(r.asked) >= impatience {
		return true
	}
	return now.Sub(r.secondSince) >= patience && now.Sub(r.heard) >= patience
}

// ask notes that the router is asked for a sign of life.
func (r *router) ask(now time.Time) {
	if r.address.IsValid() && r.asked.IsZero() {
		r.asked = now
	}
}

// hasSecond says whether a second router was heard lately.
func (r *router) hasSecond(now time.Time) bool {
	return r.second.IsValid() && now.Sub(r.secondHeard) < fresh
}

// doubtful says whether to ask who is there: a second router advertises, and
// the first has been quiet, or nobody talks with it.
func (r *router) doubtful(now time.Time, inUse bool) bool {
	return r.hasSecond(now) && (!inUse || now.Sub(r.heard) >= quiet)
}

// detail says what is missing or odd on link.
func (r *router) detail(link string, now time.Time) string {
	if !r.address.IsValid() {
		return fmt.Sprintf("no router advertisement heard on %s: is the peer's unnumbered session configured there (FRR: neighbor %s interface), and IPv6 enabled on it?", link, link)
	}
	if r.hasSecond(now) {
		return fmt.Sprintf("a second router, %s, is heard on %s: an unnumbered link must lead to one router only; see what else is connected to it", r.second, link)
	}
	return ""
}
