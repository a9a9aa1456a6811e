package vrrp

import (
	"fmt"
	"slices"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

// apply brings the routers in line with what is wanted.
func (e *Engine) apply(d Desired, now time.Time) {
	faults := e.options.Conn.Listen(e.links(d))
	if e.again = (time.Time{}); len(faults) > 0 {
		e.again = now.Add(listenFor)
	}
	wanted := map[string]bool{}
	for _, c := range d.Routers {
		wanted[c.Name] = true
		e.want(c, c.fault(faults), now)
	}
	for name, r := range e.routers {
		if !wanted[name] {
			r.going = true
			e.stance(r, Out, now)
			e.due.set(r, now)
		}
	}
	clear(e.byAddr)
	for _, r := range e.routers {
		for _, a := range r.wish.Addresses() {
			e.byAddr[place{a.Interface.Name, a.Addr}] = r
		}
	}
	e.regroup()
}

// links are those to listen on. Of a name there is one: the wanted one.
func (e *Engine) links(d Desired) (list []Link) {
	add := func(c Candidacy) {
		for _, l := range c.links() {
			if !slices.ContainsFunc(list, func(m Link) bool { return m.Name == l.Name }) {
				list = append(list, l)
			}
		}
	}
	for _, c := range d.Routers {
		add(c)
	}
	for _, r := range e.routers {
		add(r.wish)
	}
	return list
}

// links are those that a candidacy has to do with, its own first.
func (c Candidacy) links() []Link {
	list := []Link{c.Interface}
	for _, a := range c.Rides {
		if !slices.Contains(list, a.Interface) {
			list = append(list, a.Interface)
		}
	}
	return list
}

// fault is why one of its links cannot be listened on; nil: all can.
func (c Candidacy) fault(faults map[string]error) error {
	for _, l := range c.links() {
		if err := faults[l.Name]; err != nil {
			return err
		}
	}
	return nil
}

// want makes a router, or changes the one that is there.
func (e *Engine) want(c Candidacy, fault error, now time.Time) {
	r := e.routers[c.Name]
	if r != nil && r.wish.key() != c.key() {
		// Another virtual router: the old one leaves as one that is not wanted.
		name := fmt.Sprintf("%s (VRID %d on %s)", c.Name, r.wish.Router.VRID, r.wish.Interface.Name)
		if older := e.routers[name]; older != nil {
			e.drop(older)
		}
		e.rename(r, name)
		r = nil
	}
	if old := e.byKey[c.key()]; r == nil && old != nil {
		r = e.rename(old, c.Name)
	}
	if r == nil {
		r = &router{Machine: NewMachine(c.Router, c.Source), wish: c, index: -1}
		e.routers[c.Name], e.byKey[c.key()] = r, r
		e.changed = true
	}
	old := r.wish
	r.going = false
	r.wish = c
	if fault != nil {
		r.listen = time.Time{}
	} else if r.listen.IsZero() {
		r.listen = now
	}
	e.trouble(r, &r.fault, fault)
	if r.held && (old.Refresh != c.Refresh || old.Router.Interval != c.Router.Interval || !slices.Equal(old.Addresses(), c.Addresses())) {
		if r.speaks {
			e.announce(r)
		} else {
			e.answer(r)
		}
	}
	e.perform(r, r.Configure(now, c.Router, c.Source))
	stance := c.Stance
	if fault != nil {
		stance = Out
	}
	e.stance(r, stance, now)
}

// rename gives a virtual router another name: its service was renamed, and the
// routers on the link must not notice.
func (e *Engine) rename(r *router, name string) *router {
	old := r.wish.Name
	delete(e.routers, old)
	r.wish.Name = name
	e.routers[name] = r
	if r.held {
		e.answer(r)
		e.options.Host.Answer(Answer{Router: old})
	}
	e.changed = true
	return r
}

// stance tells the machine how far to take part. Each call is idempotent.
func (e *Engine) stance(r *router, s Stance, now time.Time) {
	var do []Do
	switch s {
	case In:
		do = r.Startup(now)
	case Last:
		do = r.Drain(now)
	case Out:
		do = r.Shutdown(now)
	}
	e.perform(r, do)
}

func (c Candidacy) key() key { return key{c.Interface.Name, vip.FamilyOf(c.Source), c.Router.VRID} }

// drop forgets a router.
func (e *Engine) drop(r *router) {
	if r.held {
		r.held, r.speaks = false, false
		e.answer(r)
	}
	e.due.set(r, time.Time{})
	delete(e.routers, r.wish.Name)
	delete(e.byKey, r.wish.key()) // two never share one
	e.changed = true
}
