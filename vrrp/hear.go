package vrrp

import (
	"slices"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

// receive takes an advertisement.
func (e *Engine) receive(a *Arrival, now time.Time) {
	drop := e.packet.Parse(a.Packet, a.Src, a.Dst)
	r := e.byKey[key{a.Link, vip.FamilyOf(a.Src), e.packet.VRID}]
	switch {
	case r == nil && drop == Accepted:
		drop = DropVRID
		e.strange(a, now)
	case r == nil:
	default:
		var do []Do
		if drop == Accepted {
			drop = r.wish.admits(a)
		}
		if drop == Accepted {
			was := r.State()
			do, drop = r.Receive(a.At, a.Src, &e.packet)
			// A router with the virtual MAC need not announce it to win, RFC 9568, section
			// 6.4.3: whoever was told of ours must hear that from us, if it is another one.
			if was == vip.RouterActive && r.State() != was && virtual(a.MAC, e.packet.VRID) && a.MAC != r.wish.MAC() {
				r.heir = Heir{a.MAC, r.wish.Interface}
			}
		}
		// What it is worth is told before what it changes.
		if drop != DropOwn || !r.reflects(a) {
			e.meet(r, a, atOdds(r, a, &e.packet, drop), now)
		}
		e.perform(r, do)
	}
	e.counts[drop].Add(1)
}

// reflects says whether an advertisement from this router's own address, or a claim, is
// one that a switch has sent back. Conn knows those from the link's own MAC. The virtual
// MAC is ours only as long as we answer: otherwise another host has our address.
func (r *router) reflects(a *Arrival) bool { return r.Answers() && a.MAC == r.wish.MAC() }

// admits is what the IP header has to be like. keepalived sends over IPv6 to unicast
// peers with hop limit 64.
func (c Candidacy) admits(a *Arrival) Drop {
	unicast := !a.Dst.IsMulticast()
	if (unicast || len(c.Peers) > 0) && !slices.Contains(c.Peers, a.Src) {
		return DropSender
	}
	if a.HopLimit != HopLimit && (!unicast || a.Src.Is4()) {
		return DropHopLimit
	}
	return Accepted
}

// strange looks whether an advertisement under none of our VRIDs is about an address
// of ours.
func (e *Engine) strange(a *Arrival, now time.Time) {
	for _, addr := range e.packet.Addresses {
		if r := e.byAddr[place{a.Link, addr}]; r != nil {
			e.meet(r, a, vip.TroubleOtherVRID, now)
			return
		}
	}
}

// meet notes somebody else on the link, and tells once of each change.
func (e *Engine) meet(r *router, a *Arrival, t vip.RouterTrouble, now time.Time) {
	worse, changed := r.others.meet(a, &e.packet, t, now)
	e.schedule(r)
	e.changed = e.changed || changed
	if worse != 0 {
		e.options.Log.Debug("another router or host is at odds with this one", "router", r.wish.Name, "vrid", r.wish.Router.VRID,
			"interface", r.wish.Interface.Name, "trouble", worse.String(), "from", a.Src.String(), "mac", mac(a.MAC))
	}
}
