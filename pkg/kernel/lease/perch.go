package lease

import (
	"cmp"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// perch is what the engine knows about a macvlan that is wanted.
type perch struct {
	macvlan
	link string // the name of the link below
	four bool   // it is for IPv4
	held bool   // an address on it is

	looked  bool // this host was looked at since it is wanted
	foreign bool // there is somebody else's link of that name
	index   int  // 0: it is not there
	up      bool
	mtu     int // that it should have; 0: it has it

	flux    string // what the border's flux says
	trouble string // why the latest act failed
	fails   int    // in a row
	retry   time.Time
}

// problem is why addresses cannot be on it, or not as they should.
func (p *perch) problem() string {
	if p.foreign {
		return "there is a link " + p.name() + " on this host already, which this agent has not made: give it another name, or remove it (ip link del " + p.name() + ")"
	}
	return cmp.Or(p.trouble, p.flux)
}

// problem is that of the macvlan that a lease is on.
func (l Lease) problem() string {
	if l.perch == nil {
		return ""
	}
	return l.perch.problem()
}

// works says whether the link that a lease is on can carry its address.
func (l Lease) works() bool { return l.perch == nil || l.perch.up }

func (l Lease) macvlan() macvlan { return macvlan{l.Index, l.MAC} }

// wantMacvlans takes over which macvlans are wanted: those of leases with a MAC.
func (e *Engine) wantMacvlans(list []Lease) {
	wanted, held := map[macvlan]*perch{}, map[macvlan]bool{}
	for _, l := range list {
		if l.MAC == ([6]byte{}) || l.Index <= 0 {
			continue
		}
		m := l.macvlan()
		p := e.perches[m]
		if p == nil && wanted[m] == nil {
			p = &perch{macvlan: m}
			e.look.next = time.Time{} // nobody looked for it yet
		}
		p = cmp.Or(wanted[m], p)
		p.link, p.four = l.Link, l.Addr.Is4()
		wanted[m], held[m] = p, held[m] || l.Held
	}
	for m, p := range wanted {
		if p.held != held[m] {
			p.held = held[m]
			p.calm()
		}
	}
	for m, p := range e.perches {
		if wanted[m] == nil && p.index > 0 {
			e.strays = append(e.strays, station{name: p.name(), index: p.index})
		}
	}
	e.perches = wanted
}

// lookAtLinks looks which macvlans there are, if there can be any that matters.
func (e *Engine) lookAtLinks() error {
	if len(e.perches)+len(e.strays) == 0 && e.look.done {
		return nil // what an earlier run left was seen at the first look
	}
	list, err := e.links.stations()
	if err != nil {
		return err
	}
	here, mtus := make(map[string]station, len(list)), make(map[int]int, len(list))
	for _, s := range list {
		here[s.name], mtus[s.index] = s, s.mtu
	}
	flux := map[string]string{}
	for _, p := range e.perches {
		s, there := here[p.name()]
		p.see(s, there, e.mark, mtus[p.lower])
		if _, known := flux[p.link]; p.four && !known {
			flux[p.link] = e.links.flux(p.link)
		}
		if p.flux = ""; p.four {
			p.flux = flux[p.link]
		}
	}
	e.findStrays(list)
	e.place()
	return nil
}

// findStrays finds the macvlans of ours that nobody wants.
func (e *Engine) findStrays(list []station) {
	own, givenUp := map[int]bool{}, map[int]bool{}
	for _, p := range e.perches {
		own[p.index] = true
	}
	for _, s := range e.strays {
		givenUp[s.index] = !s.earlier
	}
	e.strays = nil
	for _, s := range list {
		if s.macvlan && !own[s.index] && (s.alias == e.mark || s.name == draft && !s.up) {
			s.earlier = !givenUp[s.index]
			e.strays = append(e.strays, s)
		}
	}
}

// see compares a macvlan with the link that has its name, if there is one.
func (p *perch) see(s station, there bool, mark string, mtu int) {
	p.looked = true
	ours := there && s.macvlan && s.alias == mark
	p.foreign = there && !ours
	if !ours || s.mac != p.mac { // one of ours with another MAC goes, and is made anew
		p.index, p.up, p.mtu = 0, false, 0
		return
	}
	p.index, p.up, p.mtu = s.index, s.up, 0
	if mtu > 0 && mtu != s.mtu {
		p.mtu = mtu
	}
}

// calm forgets failures: something new makes it worth to try at once.
func (p *perch) calm() { p.trouble, p.fails, p.retry = "", 0, time.Time{} }

// listPerches lists macvlans by name.
func (e *Engine) listPerches() []*perch {
	return slices.SortedFunc(maps.Values(e.perches), func(a, b *perch) int { return cmp.Compare(a.name(), b.name()) })
}

// raiseMacvlans makes what is not there, and brings up what has an address to carry.
func (e *Engine) raiseMacvlans(now time.Time) {
	made := false
	for _, p := range e.listPerches() {
		if !p.looked || p.foreign || now.Before(p.retry) {
			continue
		}
		if p.index == 0 && e.alter(p, alteration{act: construct, what: p.macvlan, link: p.link, mark: e.mark}) {
			made = true
		}
		if p.index > 0 && p.mtu > 0 && e.alter(p, alteration{act: resize, index: p.index, mtu: p.mtu}) {
			p.mtu = 0
		}
		if p.index > 0 && p.held && !p.up {
			if !e.options.Alive() {
				e.closed = true
			} else if e.alter(p, alteration{act: raise, index: p.index, what: p.macvlan}) {
				p.up = true
			}
		}
	}
	if made {
		e.place()
		e.more = true // to look, and to write down what may be added there
	}
}

// sinkMacvlans takes down what carries no address, with all that is on it, and removes
// what nobody wants. What is left after a while waits for the next pass: the kernel may
// take 20 ms for each, and renewals must go on. It returns those links: an address that
// is removed before its link is down says goodbye from the virtual MAC.
func (e *Engine) sinkMacvlans(now time.Time) (late []int) {
	end := time.Now().Add(sinkTime)
	for _, p := range e.listPerches() {
		switch {
		case !p.up || p.held || now.Before(p.retry):
		case time.Now().After(end):
			late = append(late, p.index)
		default:
			p.up = !e.alter(p, alteration{act: sink, index: p.index})
		}
	}
	var left []station
	for _, s := range e.strays {
		switch {
		case time.Now().After(end):
			late = append(late, s.index)
			left = append(left, s)
		case !e.clear(&s, now):
			left = append(left, s)
		}
	}
	e.strays = left
	e.more = e.more || len(late) > 0
	return late
}

// clear removes a macvlan that nobody wants, and says whether it is gone. One of an
// earlier run may be wanted in a moment, but is down until then.
func (e *Engine) clear(s *station, now time.Time) bool {
	a := alteration{act: demolish, index: s.index}
	if s.earlier && now.Before(e.spare) {
		if a.act = sink; !s.up {
			return false
		}
	}
	if _, err := e.links.alter(a); err != nil && !isGone(err) {
		e.chat.say(news{slog.LevelWarn, "link not changed", netip.Addr{}, s.name, err.Error()})
		return false
	}
	s.up = false
	if a.act == demolish {
		e.chat.say(news{slog.LevelInfo, "link removed", netip.Addr{}, s.name, ""})
	}
	return a.act == demolish
}

// alter does one thing to a macvlan, and says whether it is done.
func (e *Engine) alter(p *perch, a alteration) bool {
	index, err := e.links.alter(a)
	if err != nil {
		before := p.trouble
		p.trouble = explainLink(a.act, p, err)
		p.retry = time.Now().Add(min(firstRetry<<min(p.fails, 10), lastRetry))
		p.fails++
		e.look.hinted = true
		if p.trouble != before {
			e.chat.say(news{slog.LevelWarn, "link not changed", netip.Addr{}, p.name(), p.trouble})
		}
		return false
	}
	p.calm()
	if a.act == construct {
		p.index, p.up = index, false
		e.chat.say(news{slog.LevelInfo, "link made", netip.Addr{}, p.name(), ""})
	}
	return true
}
