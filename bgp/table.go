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

// diff is what has to be sent to make the table equal to want, in the order of
// want, withdraws sorted. Every attribute is compared.
func (t table) diff(want []vip.Announcement) (add []vip.Announcement, remove []netip.Prefix) {
	wanted := make(map[netip.Prefix]bool, len(want))
	for _, a := range want {
		wanted[a.Prefix] = true
		if have, ok := t.routes[a.Prefix]; !ok || have.doubt || !have.announcement.Equal(a) {
			add = append(add, a)
		}
	}
	for p := range t.routes {
		if !wanted[p] {
			remove = append(remove, p)
		}
	}
	slices.SortFunc(remove, netip.Prefix.Compare)
	return add, remove
}

func (t table) acknowledge(add []vip.Announcement, remove []netip.Prefix) {
	for _, a := range add {
		t.routes[a.Prefix] = route{announcement: a}
	}
	for _, p := range remove {
		delete(t.routes, p)
	}
}

// doubt marks a batch that failed: all of it will be sent again.
func (t table) doubt(add []vip.Announcement, remove []netip.Prefix) {
	for _, a := range add {
		t.routes[a.Prefix] = route{announcement: a, doubt: true}
	}
	for _, p := range remove {
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
