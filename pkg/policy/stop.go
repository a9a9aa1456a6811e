package policy

import (
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

// How long each step of a stop may take at most. A step ends as soon as its
// purpose is reached; these bounds hold when a peer or the kernel never answers.
const (
	shiftHold     = time.Second     // from the moment every peer has the shift: ToRs reprogram
	shiftBound    = 3 * time.Second // until every peer has the shift
	withdrawBound = 3 * time.Second
	ceaseBound    = 2 * time.Second
	removeBound   = 2 * time.Second
	routerBound   = 2 * time.Second // and one Advertisement_Interval: until a successor answers, or none comes
)

// stop walks the steps of a polite stop as far as they are done by now.
func (d *decider) stop() {
	m := &d.memory.Stop
	if m.Step == StopNone {
		d.enter(StopShift)
		if !d.anythingAnnounced() {
			d.enter(StopCease)
		}
	}
	for {
		done, at := d.stepDone()
		if !done {
			d.wake(at)
			return
		}
		d.enter(m.Step + 1)
		if m.Step == StopDone {
			return
		}
	}
}

func (d *decider) enter(s StopStep) { d.memory.Stop = StopMemory{Step: s, Since: d.in.Now} }

// stepDone says whether the current step's purpose is reached, or its bound is
// over, and else when to look again.
func (d *decider) stepDone() (bool, time.Time) {
	m := &d.memory.Stop
	now := d.in.Now
	over := func(bound time.Duration) (bool, time.Time) {
		end := m.Since.Add(bound)
		return !now.Before(end), end
	}
	switch m.Step {
	case StopShift:
		if !d.anythingSent() && !d.anythingOnItsWay() {
			return true, time.Time{}
		}
		if m.Sent.IsZero() && d.everyoneShifted() {
			m.Sent = now
		}
		if !m.Sent.IsZero() {
			end := m.Sent.Add(shiftHold)
			return !now.Before(end), end
		}
		return over(shiftBound)
	case StopWithdraw:
		if !d.anythingSent() {
			return true, time.Time{}
		}
		return over(withdrawBound)
	case StopLinger:
		if !d.anyEstablished() {
			return true, time.Time{}
		}
		return over(d.in.Linger)
	case StopCease:
		if !d.anyEstablished() {
			return true, time.Time{}
		}
		return over(ceaseBound)
	case StopRemove:
		if interval := d.longestInterval(); interval > 0 {
			return over(routerBound + interval)
		}
		if m.Sent.IsZero() {
			m.Sent = now // no router answers any more
		}
		end := m.Sent.Add(removeBound)
		if anyOurs(d.in.Addresses) || anyOurs(d.in.Leases) {
			return !now.Before(end), end
		}
		if slices.ContainsFunc(d.in.Defaults, func(r vip.DefaultRoute) bool { return len(r.NextHops) > 0 }) {
			return !now.Before(end), end
		}
		return true, time.Time{}
	case StopNone, StopDone:
	}
	return true, time.Time{}
}

// longestInterval is the longest Advertisement_Interval of a virtual router that this
// host answers for; 0: it answers for none.
func (d *decider) longestInterval() (longest time.Duration) {
	for i := range d.in.Services {
		s := &d.in.Services[i]
		if v, _ := s.VirtualRouters(); v != nil && !s.Rides() && d.answers(s) {
			longest = max(longest, v.Interval)
		}
	}
	return longest
}

func anyOurs(known map[netip.Addr]vip.Address) bool {
	for _, a := range known {
		if a.Ours && (a.State == vip.AddressPresent || a.State == vip.AddressTentative) {
			return true
		}
	}
	return false
}

func (d *decider) anythingAnnounced() bool {
	for _, m := range d.in.Prev.Services {
		if m.Disposition.Announces() {
			return true
		}
	}
	return false
}

func (d *decider) anythingSent() bool {
	for peer, sent := range d.in.Sent {
		if d.in.Sessions[peer].State == vip.Established && len(sent) > 0 {
			return true
		}
	}
	return false
}

// anythingOnItsWay says whether a peer may have routes of ours that we do not know
// of yet: its session is a step from Established, or was not read since.
func (d *decider) anythingOnItsWay() bool {
	if !d.anythingAnnounced() {
		return false
	}
	for peer, s := range d.in.Sessions {
		if _, read := d.in.Sent[peer]; s.State >= vip.OpenConfirm && !read {
			return true
		}
	}
	return false
}

func (d *decider) anyEstablished() bool {
	for _, s := range d.in.Sessions {
		if s.State == vip.Established {
			return true
		}
	}
	return false
}

// everyoneShifted says whether all that Established peers have from us carries
// GRACEFUL_SHUTDOWN.
func (d *decider) everyoneShifted() bool {
	if d.anythingOnItsWay() {
		return false
	}
	for peer, sent := range d.in.Sent {
		if d.in.Sessions[peer].State != vip.Established {
			continue
		}
		for _, a := range sent {
			if !isLeaving(a) {
				return false
			}
		}
	}
	return true
}

// leaving is the disposition of a healthy service while the agent stops. One
// that was not announced is not announced any more.
func (d *decider) leaving(prev *ServiceMemory) Disposition {
	if d.memory.Stop.Step == StopShift && prev.Disposition.Announces() {
		return Leaving
	}
	return Withdrawn
}

// leavingAnnouncement makes a the worst route there is without withdrawing it:
// GRACEFUL_SHUTDOWN (RFC 8326) for ToRs that honour it, and the worst MED,
// three prepends and local preference 0 for those that do not.
func leavingAnnouncement(a vip.Announcement) vip.Announcement {
	a.Communities = append([]vip.Community{vip.GracefulShutdown}, a.Communities...)
	a.MED = math.MaxUint32
	a.LocalPref = 0
	a.Prepend += 3
	return a.Normalize()
}

func isLeaving(a vip.Announcement) bool {
	for _, c := range a.Communities {
		if c == vip.GracefulShutdown {
			return true
		}
	}
	return false
}
