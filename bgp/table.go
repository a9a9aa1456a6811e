package bgp

import (
	"net/netip"
	"slices"

	"github.com/anyvip/anyvip/pkg/vip"
)

// table is what the speaker holds, as far as it acknowledged.
type table struct {
	routes map[netip.Prefix]route
}

// route is one prefix at the speaker. In doubt means that a call about it
// failed: the speaker may hold it, with these or other attributes, or not.
type route struct {
	announcement vip.Announcement
	doubt        bool
}

func newTable() table { return table{routes: map[netip.Prefix]route{}} }

// change is what has to be sent to make a table equal to what is wanted.
type change struct {
	known  bool // false: nobody has compared yet
	add    []vip.Announcement
	remove []netip.Prefix
}

func (c change) empty() bool { return len(c.add)+len(c.remove) == 0 }

// take takes a batch of at most n routes off c, withdraws first.
func (c *change) take(n int) change {
	r := min(len(c.remove), n)
	a := min(len(c.add), n-r)
	batch := change{add: c.add[:a], remove: c.remove[:r]}
	c.add, c.remove = c.add[a:], c.remove[r:]
	return batch
}

// diff is what has to be sent to make the table equal to want, in the order of
// want, withdraws sorted. Every attribute is compared.
func (t table) diff(want []vip.Announcement) change {
	c := change{known: true}
	wanted := make(map[netip.Prefix]bool, len(want))
	for _, a := range want {
		wanted[a.Prefix] = true
		if have, ok := t.routes[a.Prefix]; !ok || have.doubt || !have.announcement.Equal(a) {
			c.add = append(c.add, a)
		}
	}
	for p := range t.routes {
		if !wanted[p] {
			c.remove = append(c.remove, p)
		}
	}
	slices.SortFunc(c.remove, netip.Prefix.Compare)
	return c
}

func (t table) acknowledge(c change) {
	for _, a := range c.add {
		t.routes[a.Prefix] = route{announcement: a}
	}
	for _, p := range c.remove {
		delete(t.routes, p)
	}
}

// doubt marks a batch that failed: all of it will be sent again.
func (t table) doubt(c change) {
	for _, a := range c.add {
		t.routes[a.Prefix] = route{announcement: a, doubt: true}
	}
	for _, p := range c.remove {
		t.routes[p] = route{announcement: t.routes[p].announcement, doubt: true}
	}
}

// expected is what a peer's Adj-RIB-Out holds once it has everything.
func (t table) expected(p Peer, families []vip.Family) map[netip.Prefix]vip.Announcement {
	out := make(map[netip.Prefix]vip.Announcement, len(t.routes))
	for prefix, r := range t.routes {
		if p.Carries(vip.FamilyOf(prefix.Addr()), families) {
			out[prefix] = r.announcement
		}
	}
	return out
}
