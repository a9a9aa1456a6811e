package policy

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/anyvip/anyvip/pkg/vip"
)

// sessions says which sessions should be up, how they are shown, and on which
// links a router is to be found for them.
func (d *decider) sessions() {
	d.out.Shown = make(map[string]vip.Session, len(d.in.Peers))
	for _, p := range d.in.Peers {
		w := d.session(p)
		d.out.Sessions = append(d.out.Sessions, w)
		d.out.Shown[p.Name] = d.shown(p, w)
		if l, ok := d.link(p.Interface); ok {
			inUse := d.out.Shown[p.Name].State == vip.Established
			d.out.Unnumbered = append(d.out.Unnumbered, UnnumberedLink{l, inUse})
		}
	}
}

func (d *decider) session(p Peer) SessionWant {
	w := SessionWant{Peer: p.Name, Address: p.Address, NextHop6: d.nextHop6(p)}
	if p.Interface != "" {
		w.Address = d.in.Neighbors[p.Interface].Address
	}
	switch {
	case d.out.Phase == Starting:
		w.Cause = vip.CauseNotWanted
	case d.memory.Stop.Step >= StopCease:
		w.Cause, w.Text = vip.CauseNotWanted, "anyvip: agent stops"
	default:
		w.Cause, w.Text = d.obstacle(p)
	}
	w.Up = w.Cause == vip.CauseNone
	return w
}

// shown is a session as an operator should see it: why we keep it down, once it
// is down, and else what the speaker saw; and what is odd with either.
func (d *decider) shown(p Peer, w SessionWant) vip.Session {
	s := d.in.Sessions[p.Name]
	s.Peer = p.Name
	switch {
	case w.Up && p.Interface != "":
		s.Warning = joined(s.Warning, d.in.Neighbors[p.Interface].Detail)
	case !w.Up && s.State != vip.Established:
		s.Cause, s.Detail = w.Cause, w.Text
	}
	return s
}

func joined(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}

// obstacle says what on this host stands in the way of a session: waiting for
// timers of BGP would only make the end late and the return later.
func (d *decider) obstacle(p Peer) (vip.SessionCause, string) {
	if p.Interface == "" {
		if name := d.deadLink(p); name != "" {
			return vip.CauseLinkDown, fmt.Sprintf("link %s is down", name)
		}
		if local, gone := d.lostAddress(p); gone {
			return vip.CauseLinkDown, fmt.Sprintf("its address %s is on no link of this host any more", local)
		}
		return vip.CauseNone, ""
	}
	l, there := d.link(p.Interface)
	neighbor := d.in.Neighbors[p.Interface]
	switch {
	case d.in.Links == nil:
		return vip.CauseNoNeighbor, "the links of this host are not known yet"
	case !there:
		return vip.CauseLinkDown, fmt.Sprintf("this host has no link %s", p.Interface)
	case !l.Up:
		return vip.CauseLinkDown, fmt.Sprintf("link %s is down", p.Interface)
	case !neighbor.Address.IsValid():
		return vip.CauseNoNeighbor, cmp.Or(neighbor.Detail, "looking for a router on "+p.Interface)
	}
	return vip.CauseNone, ""
}

// deadLink names the link that a directly connected peer is on, if that is down
// and no other leads there.
func (d *decider) deadLink(p Peer) (name string) {
	if p.Multihop {
		return ""
	}
	for _, l := range d.in.Links {
		if !slices.ContainsFunc(l.Prefixes, func(q netip.Prefix) bool { return q.Contains(p.Address) }) {
			continue
		}
		if l.Up {
			return ""
		}
		name = l.Name
	}
	return name
}

// lostAddress is our address of an Established session, if it is in no link's
// subnet any more: a link that is removed, or set down with IPv6, takes its
// addresses along. On lo every address of a subnet is ours.
func (d *decider) lostAddress(p Peer) (local netip.Addr, gone bool) {
	s := d.in.Sessions[p.Name]
	if s.State != vip.Established || !s.Local.IsValid() || d.in.Links == nil {
		return local, false
	}
	local = s.Local.WithZone("")
	return local, !slices.ContainsFunc(d.in.Links, func(l vip.Link) bool {
		return slices.ContainsFunc(l.Prefixes, func(q netip.Prefix) bool { return q.Contains(local) })
	})
}

func (d *decider) link(name string) (vip.Link, bool) {
	for _, l := range d.in.Links {
		if l.Name == name && name != "" {
			return l, true
		}
	}
	return vip.Link{}, false
}

// nextHop6 is the next hop of IPv6 VIPs on an IPv4 session: what the file says,
// or the global IPv6 address of the link that has the session's local address.
func (d *decider) nextHop6(p Peer) netip.Addr {
	if p.NextHop6.IsValid() {
		return p.NextHop6
	}
	local := d.in.Sessions[p.Name].Local
	for _, l := range d.in.Links {
		if !slices.ContainsFunc(l.Prefixes, func(q netip.Prefix) bool { return q.Addr() == local }) {
			continue
		}
		for _, q := range l.Prefixes {
			if a := q.Addr(); a.Is6() && a.IsGlobalUnicast() {
				return a
			}
		}
	}
	return netip.Addr{}
}
