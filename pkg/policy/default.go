package policy

import (
	"net/netip"
	"slices"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

// adoptFor is how long a default route that an earlier run left behind is kept
// until a peer gives one, from the moment in which sessions may open: they come
// up within seconds, and a host with no other route should not be cut off
// meanwhile.
const adoptFor = 30 * time.Second

// DefaultMemory is what is remembered of default routes.
type DefaultMemory struct {
	Until time.Time    `json:"until,omitzero"`  // leftovers are kept until then
	Given []vip.Family `json:"given,omitempty"` // families in which a peer has given one: nothing is left over any more
}

// defaults joins the default routes that Established peers give into one for
// each family, whatever their attributes: every ToR is a way out.
func (d *decider) defaults() {
	m := &d.memory.Defaults
	*m = d.in.Prev.Defaults
	if !d.in.ImportDefault || d.memory.Stop.Step >= StopRemove {
		return
	}
	if m.Until.IsZero() && d.out.Phase != Starting { // until then no session may open
		m.Until = d.in.Now.Add(adoptFor)
	}
	for _, f := range []vip.Family{vip.IPv4, vip.IPv6} {
		hops := d.given(f)
		if len(hops) > 0 {
			d.out.Defaults = append(d.out.Defaults, vip.DefaultRoute{Family: f, NextHops: hops})
		}
		known := slices.Contains(m.Given, f)
		switch {
		case len(hops) > 0 && !known:
			m.Given = append(slices.Clip(m.Given), f)
		case !known && m.Until.IsZero():
			d.out.AdoptDefaults = append(d.out.AdoptDefaults, f)
		case !known && d.in.Now.Before(m.Until):
			d.out.AdoptDefaults = append(d.out.AdoptDefaults, f)
			d.wake(m.Until)
		}
	}
}

// given are the next hops that Established peers give, sorted.
func (d *decider) given(f vip.Family) (hops []netip.Addr) {
	for _, p := range d.in.Peers {
		s := d.in.Sessions[p.Name]
		for _, r := range s.Defaults {
			if r.Family == f && s.State == vip.Established {
				hops = append(hops, r.NextHop)
			}
		}
	}
	slices.SortFunc(hops, netip.Addr.Compare)
	return slices.Compact(hops)
}
