package neighbor

import (
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

const (
	interval      = 10 * time.Second      // longest between advertisements: MaxRtrAdvInterval
	firstInterval = time.Second           // longest between the first of them
	firstCount    = 3                     // MAX_INITIAL_RTR_ADVERTISEMENTS
	answerGap     = time.Second           // shortest from an advertisement to one that answers
	askEvery      = 4 * time.Second       // RTR_SOLICITATION_INTERVAL
	askCount      = 3                     // MAX_RTR_SOLICITATIONS
	firstRetry    = 50 * time.Millisecond // after the socket failed; doubles
	lastRetry     = time.Second           // up to this
	tentativeGap  = time.Second / 5       // or this, while our own address will be usable in a moment
)

// link is one wanted link that is up. It belongs to Run's goroutine.
type link struct {
	vip.Link
	inUse  bool // as Link.InUse
	router router

	listener *listener // nil: the socket is not open
	trouble  string    // why it is not, or does not send
	retry    time.Time // when to open it again
	retries  int       // in a row

	advertised  time.Time // last
	advertise   time.Time // next
	advertiseNo int       // sent through this socket
	asked       time.Time // last
	askNo       int       // sent through this socket
}

// opened begins anew with a socket: the other end may have come up with the
// link, and hear us as late as we hear it.
func (l *link) opened(s *listener, now time.Time) {
	l.listener, l.trouble = s, ""
	l.advertise, l.advertiseNo = now, 0
	l.asked, l.askNo = time.Time{}, 0
}

func (l *link) works() bool { return l.listener != nil && l.trouble == "" }

// failed puts off the next attempt.
func (l *link) failed(err error, now time.Time) {
	longest := lastRetry
	if errors.Is(err, errTentative) {
		longest = tentativeGap
	}
	l.trouble = err.Error()
	l.retry = now.Add(min(firstRetry<<min(l.retries, 10), longest))
	l.retries++
}

// update takes what is new about the same link. Other addresses are a reason to
// try at once, and to open a socket again whose own address is gone.
func (l *link) update(to Link, now time.Time) (reopen bool) {
	l.inUse = to.InUse
	if slices.Equal(l.Prefixes, to.Prefixes) {
		return false
	}
	l.Link, l.retry, l.retries = to.Link, now, 0
	return l.listener != nil && !slices.ContainsFunc(to.Prefixes, l.listener.has)
}

// heard takes a message that came in. A solicitation is answered at once, but
// not sooner than answerGap after the latest advertisement.
func (l *link) heard(m message, now time.Time) {
	switch m.kind {
	case advertisement:
		l.router.advertised(m.from, now, l.inUse)
	case solicitation:
		l.advertise = l.advertised.Add(answerGap)
	case other:
	}
}

// due is what to send now: other for nothing.
func (l *link) due(now time.Time) kind {
	switch {
	case !now.Before(l.advertise):
		return advertisement
	case l.asks(now) && !now.Before(l.asked.Add(askEvery)):
		return solicitation
	}
	return other
}

// asks says whether solicitations are to be sent at all.
func (l *link) asks(now time.Time) bool {
	if !l.router.address.IsValid() {
		return l.askNo < askCount
	}
	return l.router.doubtful(now, l.inUse)
}

// sent plans the next message of that kind, with jitter as RFC 4861, section
// 6.2.4, so that routers do not fall into step.
func (l *link) sent(k kind, now time.Time, random *rand.Rand) {
	if k == solicitation {
		l.asked = now
		l.askNo++
		l.router.ask(now)
		return
	}
	l.advertised = now
	l.advertiseNo++
	longest := firstInterval
	if l.advertiseNo >= firstCount {
		longest, l.retries = interval, 0
	}
	l.advertise = now.Add(longest - jitter(longest/4, random))
}

// wake is when this link has something to do, if nothing happens before.
func (l *link) wake(now time.Time) time.Time {
	if !l.works() {
		return l.retry
	}
	if at := l.asked.Add(askEvery); l.asks(now) && at.Before(l.advertise) {
		return at
	}
	return l.advertise
}

// neighbor is what to report.
func (l *link) neighbor(now time.Time) vip.Neighbor {
	n := vip.Neighbor{Address: l.router.address, Since: l.router.since, Detail: l.trouble}
	if n.Detail == "" {
		n.Detail = l.router.detail(l.Name, now)
	}
	return n
}

// jitter is from 0 up to below most, from the package's source if random is nil.
func jitter(most time.Duration, random *rand.Rand) time.Duration {
	if random == nil {
		return rand.N(most)
	}
	return time.Duration(random.Int64N(int64(most)))
}
