package vrrp

import (
	"net/netip"
	"slices"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

const (
	// handover is how long a router goes on answering for its addresses after it heard
	// its successor: until the successor has them, and every neighbour has its ARP
	// announcement or NA. Both answer meanwhile, and no packet is lost.
	handover = 100 * time.Millisecond

	// margin is what a router that leaves waits for a successor, beyond the Skew_Time
	// of the worst one.
	margin = 200 * time.Millisecond

	// defence is how often a router announces against rivals at most, once when one
	// comes and once when it has gone: RFC 5227, section 2.4, has that time.
	defence = 10 * time.Second

	// retry is how often a drained router that had to stay tries to go again: a Backup
	// that does not preempt takes over from one that leaves only.
	retry = 30 * time.Second
)

// Machine is one virtual router, RFC 9568, section 6. Whoever drives it gives it what
// was received, in order, then Tick; does what it returns, in that order; and comes back
// at Deadline. What it returns is valid until its next call.
//
// Receive takes the time at which a packet came, which after a stall is long ago. So
// advertisements that queued up are judged by when they were sent, and answered once,
// by the Tick behind them.
type Machine struct {
	router Router
	local  netip.Addr // primary address of the interface: what our advertisements come from

	state vip.RouterState
	cause vip.RouterCause
	since time.Time
	by    netip.Addr // who caused it; not valid: nobody

	// Of Backup.
	adver   time.Duration // Active_Adver_Interval
	heard   time.Time     // what Active_Down_Timer counts from
	left    bool          // the Active router said priority 0 then
	lower   discarded     // the latest advertisement of the Active router that we preempt, since heard
	preempt time.Time     // when the time of one with a lower priority is over; zero: none is there
	won     bool          // Active_Down_Timer is over, and it waits for Win

	last bool // it takes part only until another router does

	timer   time.Time // Active_Down_Timer, Adver_Timer, or the wait for a successor; zero: not set
	release time.Time // when the addresses go; zero: they stay, or are gone
	retry   time.Time // when the last one tries to go again; zero: it is not the last one
	quiet   time.Time // when a rival counts as gone; zero: there is none
	rivals  discarded // the latest advertisement of one
	defend  time.Time // no announcement against a rival before
	spare   bool      // but one when it has gone
	owed    time.Time // when to announce against one that came before that; zero: it was answered

	do []Do
}

// discarded is an advertisement that did not count.
type discarded struct {
	at       time.Time
	src      netip.Addr
	priority uint8
	interval time.Duration
}

// NewMachine makes a virtual router in Initialize, whose advertisements come from local.
func NewMachine(r Router, local netip.Addr) *Machine { return &Machine{router: r, local: local} }

// State is where the virtual router is.
func (m *Machine) State() vip.RouterState { return m.state }

// Why says since when the virtual router is in its state, why, and which router has
// caused it, if one has.
func (m *Machine) Why() (since time.Time, cause vip.RouterCause, by netip.Addr) {
	return m.since, m.cause, m.by
}

// Answers says whether this router answers for the addresses.
func (m *Machine) Answers() bool {
	return m.state == vip.RouterActive || m.state == vip.RouterLeaving || !m.release.IsZero()
}

// priority is what an Active router advertises now.
func (m *Machine) priority() uint8 {
	if m.last {
		return 1
	}
	return m.router.Priority
}

// Deadline is when to call Tick; zero: nothing is due.
func (m *Machine) Deadline() (at time.Time) {
	for _, t := range [...]time.Time{m.timer, m.release, m.retry, m.quiet, m.owed} {
		at = earlier(at, t)
	}
	return at
}

// Startup is RFC 9568's event, section 6.4.1: take part. In a router that is drained or
// about to leave it takes that back.
func (m *Machine) Startup(now time.Time) []Do {
	m.do = m.do[:0]
	if m.state == vip.RouterActive && !m.last {
		return m.do
	}
	m.last = false
	switch m.state {
	case vip.RouterInitialize:
		if m.router.Priority == PriorityOwner {
			m.activate(now, vip.RouterOwns)
			break
		}
		m.adver = m.router.Interval
		m.backup(now, vip.RouterStarted, netip.Addr{})
	case vip.RouterLeaving: // nobody came: it is Active still
		if m.cause == vip.RouterGroupLost {
			break // it may not be, and comes back once it has gone
		}
		m.become(now, vip.RouterActive, vip.RouterStarted, netip.Addr{})
		m.advertise(now)
		m.want(Announce)
	case vip.RouterActive: // it was the last one
		m.become(now, vip.RouterActive, vip.RouterStarted, netip.Addr{})
		m.advertise(now)
	case vip.RouterBackup:
	}
	return m.do
}

// Shutdown is RFC 9568's event: take part no more. The addresses are answered for until
// another router advertises, or none comes.
func (m *Machine) Shutdown(now time.Time) []Do { return m.leave(now, false) }

// Drain is Shutdown, unless no other router comes: then this one stays Active, with
// priority 1, until one does.
func (m *Machine) Drain(now time.Time) []Do { return m.leave(now, true) }

func (m *Machine) leave(now time.Time, last bool) []Do {
	m.do = m.do[:0]
	if m.state == vip.RouterActive && m.last && last {
		return m.do // nobody came, and nobody has come since
	}
	cause := vip.RouterStopped
	if last {
		cause = vip.RouterDrained
	}
	m.last = last
	switch m.state {
	case vip.RouterActive:
		// Twice: one lost packet must not cost an Active_Down_Interval. Never later: a
		// successor that is Active by then would take it for a rival's.
		m.goAway(now, cause)
	case vip.RouterBackup:
		m.stop(now, cause, netip.Addr{})
	case vip.RouterLeaving:
		m.cause = cause
	case vip.RouterInitialize:
	}
	return m.do
}

// Won says whether nothing but Win keeps this router from being Active.
func (m *Machine) Won() bool { return m.state == vip.RouterBackup && m.won }

// Win makes a router Active that has won.
func (m *Machine) Win(now time.Time) []Do {
	m.do = m.do[:0]
	if m.Won() {
		m.takeOver(now)
	}
	return m.do
}

// Yield makes an Active router leave, although it need not, for the sake of others that
// it is Active with or not at all. Startup brings it back to Backup once it has gone.
func (m *Machine) Yield(now time.Time) []Do {
	m.do = m.do[:0]
	if m.state == vip.RouterActive {
		m.goAway(now, vip.RouterGroupLost)
	}
	return m.do
}

// goAway says that this router leaves, and waits for a successor.
func (m *Machine) goAway(now time.Time, cause vip.RouterCause) {
	m.become(now, vip.RouterLeaving, cause, netip.Addr{})
	m.want(Hush)
	m.send(PriorityLeaves)
	m.send(PriorityLeaves)
	m.timer = now.Add(m.skew(m.router.Interval, 1) + margin)
}

// Configure replaces what the router is configured with. A new priority is said at
// once; the router stays Active until a better one answers.
func (m *Machine) Configure(now time.Time, r Router, local netip.Addr) []Do {
	m.do = m.do[:0]
	if m.local == local && m.router.equal(r) {
		return m.do
	}
	owner := r.Priority == PriorityOwner
	addresses := !slices.Equal(m.router.Addresses, r.Addresses)
	m.router, m.local = r, local
	switch {
	case m.state == vip.RouterBackup && owner:
		m.activate(now, vip.RouterOwns)
	case m.state == vip.RouterBackup:
		if l := m.lower; l.src.IsValid() && (!r.Preempt || l.priority >= r.Priority) { // it is the better one now
			m.adver = l.interval
			m.listen(l.at, false)
		}
		m.setDownTimer()
	case m.state == vip.RouterActive:
		m.advertise(now)
		if addresses {
			m.want(Take)
			m.want(Announce)
		}
	}
	return m.do
}

// Tick does what is due.
func (m *Machine) Tick(now time.Time) []Do {
	m.do = m.do[:0]
	if due(m.release, now) {
		m.release = time.Time{}
		m.want(Release)
	}
	if due(m.retry, now) {
		m.goAway(now, vip.RouterNoSuccessor)
	}
	if due(m.timer, now) {
		switch m.state {
		case vip.RouterBackup:
			m.timer = time.Time{}
			switch {
			case !m.router.Waits:
				m.takeOver(now)
			case !m.won:
				m.become(now, vip.RouterBackup, vip.RouterWaits, netip.Addr{})
				m.won = true
			}
		case vip.RouterActive:
			m.send(m.priority())
			// From the last one on, so that being late does not add up; but never in a row.
			m.timer = m.timer.Add(m.router.Interval)
			if !m.timer.After(now) {
				m.timer = now.Add(m.router.Interval)
			}
		case vip.RouterLeaving:
			m.alone(now)
		case vip.RouterInitialize:
			m.timer = time.Time{}
		}
	}
	if due(m.quiet, now) {
		m.rivalGone(now)
	}
	if due(m.owed, now) {
		m.against(now)
	}
	return m.do
}

// against announces because of a rival that is there.
func (m *Machine) against(at time.Time) {
	m.defend, m.spare, m.owed = at.Add(defence), true, time.Time{}
	m.want(Announce)
}

func (m *Machine) rivalGone(now time.Time) {
	m.owed = time.Time{} // this one is for all
	if !m.spare && now.Before(m.defend) {
		m.quiet = m.defend
		return
	}
	if !m.spare {
		m.defend = now.Add(defence)
	}
	m.spare, m.quiet = false, time.Time{}
	m.want(Announce)
}

func due(t, now time.Time) bool { return !t.IsZero() && !t.After(now) }

// takeOver is the end of Active_Down_Timer, RFC 9568, section 6.4.2.
func (m *Machine) takeOver(now time.Time) {
	cause, by := vip.RouterNothingHeard, netip.Addr{}
	switch {
	case m.lower.src.IsValid():
		cause, by = vip.RouterPreempts, m.lower.src
	case m.left:
		cause = vip.RouterActiveLeft
	}
	m.activate(now, cause)
	m.by = by
}

// alone is the end of the wait for a successor.
func (m *Machine) alone(now time.Time) {
	if m.last {
		m.become(now, vip.RouterActive, vip.RouterNoSuccessor, netip.Addr{})
		m.advertise(now)
		m.want(Announce)
		m.retry = now.Add(retry)
		return
	}
	m.stop(now, m.cause, netip.Addr{})
	m.want(Release)
}

// activate goes to Active from where the addresses are not, or not for long.
func (m *Machine) activate(now time.Time, cause vip.RouterCause) {
	m.release = time.Time{}
	m.become(now, vip.RouterActive, cause, netip.Addr{})
	m.advertise(now)
	m.want(Take)
	m.want(Announce)
}

// advertise sends now, and sets Adver_Timer.
func (m *Machine) advertise(now time.Time) {
	m.send(m.priority())
	m.timer = now.Add(m.router.Interval)
}

func (m *Machine) send(priority uint8) { m.do = append(m.do, Do{Send, priority}) }

func (m *Machine) want(a Act) { m.do = append(m.do, Do{Act: a}) }

func (m *Machine) backup(now time.Time, cause vip.RouterCause, by netip.Addr) {
	m.become(now, vip.RouterBackup, cause, by)
	m.listen(now, false)
	m.setDownTimer()
}

// listen begins Active_Down_Timer anew.
func (m *Machine) listen(heard time.Time, left bool) {
	m.heard, m.left, m.lower, m.preempt = heard, left, discarded{}, time.Time{}
	m.lose(heard)
}

// lose takes a victory back.
func (m *Machine) lose(at time.Time) {
	if m.won {
		m.become(at, vip.RouterBackup, vip.RouterStarted, netip.Addr{})
	}
}

func (m *Machine) stop(now time.Time, cause vip.RouterCause, by netip.Addr) {
	m.become(now, vip.RouterInitialize, cause, by)
	m.timer = time.Time{}
}

func (m *Machine) become(now time.Time, s vip.RouterState, cause vip.RouterCause, by netip.Addr) {
	m.state, m.cause, m.since, m.by = s, cause, now, by
	m.retry, m.quiet, m.owed, m.won = time.Time{}, time.Time{}, time.Time{}, false
}

// setDownTimer sets Active_Down_Timer, from what was heard last on.
func (m *Machine) setDownTimer() {
	skew := m.skew(m.adver, m.router.Priority)
	if m.left {
		m.timer = m.heard.Add(skew)
	} else {
		m.timer = m.heard.Add(3*m.adver + skew) // Active_Down_Interval, RFC 9568, section 6.1
	}
}

// skew is Skew_Time: RFC 9568, section 6.1, and for version 2 RFC 3768, section 6.1.
func (m *Machine) skew(adver time.Duration, priority uint8) time.Duration {
	if m.router.Version == 2 {
		adver = time.Second
	}
	return adver * time.Duration(256-int(priority)) / 256
}
