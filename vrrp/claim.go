package vrrp

import (
	"net/netip"
	"slices"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

// hearing is how long a claim waits for its judgement: a router's kernel answers in ARP at
// any moment, and its advertisement comes up to one interval later.
const hearing = time.Second + margin

// claim is somebody who has said that an address of ours is his.
type claim struct {
	addr  netip.Addr
	mac   [6]byte
	away  bool // on a link where no router of it advertises: the address rides
	at    time.Time
	until time.Time // when it is judged
}

// claimed takes that somebody claims an address of ours: a successor, another router, or
// one who has no right to.
func (e *Engine) claimed(a *Arrival, now time.Time) {
	r := e.byAddr[place{a.Link, a.Claim}]
	if r == nil || r.reflects(a) { // a rival with the virtual MAC is known by its advertisements
		return
	}
	router, foreign := r.others.speaks(a.MAC, r.wish.Router.VRID), r.others.foreign(a.MAC)
	if router || !foreign && !r.others.waits(a.MAC) { // one that claims it all the time is no successor
		e.perform(r, r.Claimed(a.At))
	}
	c := claim{addr: a.Claim, mac: a.MAC, away: a.Link != r.wish.Interface.Name, at: a.At, until: later(now.Add(hearing), r.listen.Add(r.wish.Router.Interval+margin))}
	switch {
	case foreign:
		e.judge(r, c, now)
	case !router || r.rules(c):
		r.others.wait(c)
		e.schedule(r)
	}
	if !router && r.wish.Defend && r.State() == vip.RouterActive && r.others.mayDefend(now) {
		e.announce(r)
	}
}

// judge tells of a claim: a foreign one, or that of another Active router whose
// advertisements do not come here.
func (e *Engine) judge(r *router, c claim, now time.Time) {
	a := &Arrival{Src: c.addr, MAC: c.mac}
	e.packet = Advertisement{Addresses: e.packet.Addresses[:0]}
	router := r.others.speaks(c.mac, r.wish.Router.VRID)
	if (router || c.away) && !r.rules(c) {
		return // it may be the Active router
	}
	if !router {
		e.meet(r, a, vip.TroubleClaim, now)
		return
	}
	e.packet.VRID = r.wish.Router.VRID
	if x := r.others.router(c.mac); x != nil {
		a.Src, e.packet.VRID, e.packet.Priority = x.addr, x.vrid, x.priority
	}
	e.meet(r, a, vip.TroubleRival, now)
}

// rules says whether this router was Active for long when a claim was made, and is still:
// then no handover explains it.
func (r *router) rules(c claim) bool {
	since, _, _ := r.Why()
	return r.State() == vip.RouterActive && c.at.Sub(since) > hearing
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// wait keeps a claim for its judgement, each once.
func (o *others) wait(c claim) {
	same := func(x claim) bool { return x.mac == c.mac && x.addr == c.addr }
	if len(o.claims) < maxOthers && !slices.ContainsFunc(o.claims, same) {
		o.claims = append(o.claims, c)
	}
}

// waits says whether a claim of a MAC is not judged yet.
func (o *others) waits(mac [6]byte) bool {
	return slices.ContainsFunc(o.claims, func(c claim) bool { return c.mac == mac })
}

// judged takes out the claims whose time has come.
func (o *others) judged(now time.Time) (list []claim) {
	o.claims = slices.DeleteFunc(o.claims, func(c claim) bool {
		over := !c.until.After(now)
		if over {
			list = append(list, c)
		}
		return over
	})
	return list
}
