package vrrp

import (
	"net/netip"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

// Receive takes an advertisement under this VRID, from src, that came at the given
// time. The Drop says that it is not one for this router.
func (m *Machine) Receive(at time.Time, src netip.Addr, a *Advertisement) ([]Do, Drop) {
	m.do = m.do[:0]
	if drop := m.judge(src, a); drop != Accepted {
		return m.do, drop
	}
	switch m.state {
	case vip.RouterBackup:
		m.receiveBackup(at, src, a)
	case vip.RouterActive:
		m.receiveActive(at, src, a)
	case vip.RouterLeaving:
		if a.Priority != PriorityLeaves {
			m.relieved(at, src)
		}
	case vip.RouterInitialize:
	}
	return m.do, Accepted
}

// Claimed takes that somebody else announces an address of this router. While it
// leaves that is its successor: FRR announces before it advertises, over IPv6 long before.
func (m *Machine) Claimed(at time.Time) []Do {
	m.do = m.do[:0]
	if m.state == vip.RouterLeaving {
		m.relieved(at, netip.Addr{})
	}
	return m.do
}

// relieved ends the wait for a successor: it is there.
func (m *Machine) relieved(at time.Time, by netip.Addr) {
	m.stop(at, vip.RouterRelieved, by)
	m.release = at.Add(handover)
}

// judge is RFC 9568, section 7.1, as far as it takes this router's configuration. RFC
// 3768, section 7.1, drops an advertisement with another interval or other addresses
// too: then both routers are Active. We take it, and who watches tells.
func (m *Machine) judge(src netip.Addr, a *Advertisement) Drop {
	switch {
	case src == m.local:
		return DropOwn
	case a.Version != m.router.Version:
		return DropOtherVersion
	case a.Secured != m.router.Secured, a.Secured && a.Password != m.router.Password:
		return DropPassword
	case m.router.Priority == PriorityOwner:
		return DropOwner
	}
	return Accepted
}

// receiveBackup is RFC 9568, section 6.4.2.
func (m *Machine) receiveBackup(at time.Time, src netip.Addr, a *Advertisement) {
	switch {
	case a.Priority == PriorityLeaves:
		m.listen(at, true)
	case !m.router.Preempt || a.Priority >= m.router.Priority:
		m.adver = a.Interval
		m.listen(at, false)
	default:
		if m.preempt.IsZero() {
			m.preempt = at.Add(m.router.PreemptDelay)
		}
		if at.Before(m.preempt) {
			m.adver, m.heard, m.left = a.Interval, at, false
			m.lose(at)
		} else {
			m.lower = discarded{at, src, a.Priority, a.Interval} // so that the timer runs out
		}
	}
	m.setDownTimer()
}

// receiveActive is RFC 9568, section 6.4.3. What it sends is sent by the next Tick.
func (m *Machine) receiveActive(at time.Time, src netip.Addr, a *Advertisement) {
	priority := m.priority()
	switch {
	case a.Priority == PriorityLeaves:
		m.timer = at
		m.rival(discarded{at, src, a.Priority, m.router.Interval})
	case a.Priority > priority, a.Priority == priority && src.Compare(m.local) > 0:
		cause := vip.RouterHigherPriority
		if a.Priority == priority {
			cause = vip.RouterHigherAddress
		}
		// The RFC says nothing here, and a better router that has never heard us would
		// not know that it has to announce the addresses again. Twice: see goAway.
		m.want(Hush)
		m.send(priority)
		m.send(priority)
		if m.last {
			m.relieved(at, src)
		} else {
			m.adver = a.Interval
			m.backup(at, cause, src)
			m.release = at.Add(handover)
		}
	default:
		m.timer = at // to assert the state to the sender
		m.rival(discarded{at, src, a.Priority, a.Interval})
	}
}

// rival notes that another router was Active, whose announcements the neighbours may
// have: ours follow at once, or as soon as they may, and again when it is heard no more.
// One that says twice in a row what it is yields: see receiveActive.
func (m *Machine) rival(d discarded) {
	again := d.src == m.rivals.src && d.at.Sub(m.rivals.at) < d.interval/4
	switch {
	case again, !m.quiet.IsZero(): // it was answered, or will be
	case d.at.Before(m.defend):
		m.owed = m.defend
	default:
		m.against(d.at)
	}
	switch {
	case !again:
		m.quiet = d.at.Add(3*d.interval + m.skew(d.interval, 1))
	case !m.quiet.IsZero():
		m.quiet = d.at
	}
	m.rivals = d
}
