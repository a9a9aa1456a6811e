package kernel

import (
	"errors"
	"net/netip"

	"github.com/anyvip/anyvip/pkg/vip"
)

var (
	// errNoZone is a link-local next hop that could be on any link.
	errNoZone = errors.New("it is link-local, and the link is not said")
	// errNewLink is a next hop on a link that was made after the latest look.
	errNewLink = errors.New("its link came up just now")
)

// way is a wanted next hop as one look found it.
type way struct {
	addr    netip.Addr // as wanted
	hop     hop
	problem string // why it is left out; empty: it is not
	again   bool   // the problem can end without a notification
}

// way finds out how a wanted next hop can be reached.
func (d *defaults) way(f vip.Family, a netip.Addr, t troubles) way {
	w := way{addr: a, hop: hop{via: a.WithZone("")}}
	l, known := d.links.zone(a.Zone())
	switch {
	case a.Zone() == "":
		var err error
		if l, err = d.linkTo(f, a); err != nil {
			w.problem, w.again = err.Error(), true
			return w
		}
	case !known:
		w.problem = "this host has no link " + a.Zone()
		return w
	}
	w.hop.link = l.index
	switch refused := t.hops[w.hop]; {
	case !l.enabled:
		w.problem = "link " + l.name + " is down; run: ip link set " + l.name + " up"
	case !l.up:
		w.problem = "link " + l.name + " has no carrier"
	case refused != nil:
		w.problem, w.again = explainHop(l, refused), true
	}
	return w
}

// linkTo finds the link of a next hop that has no zone.
func (d *defaults) linkTo(f vip.Family, a netip.Addr) (link, error) {
	if a.Is6() && a.IsLinkLocalUnicast() {
		return link{}, errNoZone
	}
	index, err := d.table.linkTo(a)
	if err != nil {
		index = d.heldOn(f, a) // the kernel still sends there
	}
	if l, known := d.links.at(index); known {
		return l, nil
	}
	if l, known := d.links.downWith(a); known {
		return l, nil
	}
	if err == nil {
		err = errNewLink
	}
	return link{}, err
}

// heldOn is the link of a next hop in our route as it is, or 0.
func (d *defaults) heldOn(f vip.Family, a netip.Addr) (index int) {
	for _, r := range d.seen[f] {
		for _, h := range r.hops {
			if h.via == a {
				return h.link
			}
		}
	}
	return 0
}
