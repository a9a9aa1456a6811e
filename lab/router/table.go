package router

import (
	"maps"
	"net/netip"
	"slices"
)

// table holds the newest path of each peer for each prefix.
type table map[netip.Prefix]map[netip.Addr]Path

// set stores a path in place of the same peer's earlier one.
func (t table) set(p Path) {
	if t[p.Prefix] == nil {
		t[p.Prefix] = map[netip.Addr]Path{}
	}
	t[p.Prefix][p.Peer] = p
}

// remove forgets one peer's path, if there is one.
func (t table) remove(prefix netip.Prefix, peer netip.Addr) {
	delete(t[prefix], peer)
	if len(t[prefix]) == 0 {
		delete(t, prefix)
	}
}

// route is the kernel route that the table asks for: the next hops of the best usable paths, none for no route.
func (t table) route(prefix netip.Prefix, links links, max int) route {
	usable := make([]Path, 0, len(t[prefix]))
	reached := map[netip.Addr]hop{}
	for _, p := range t[prefix] {
		if h, ok := links.resolve(p.NextHop, p.Peer); ok {
			usable = append(usable, p)
			reached[p.NextHop] = h
		}
	}
	var r route
	for _, p := range Best(usable, max) {
		r = append(r, reached[p.NextHop])
	}
	return r
}

func (t table) prefixes() []netip.Prefix { return slices.Collect(maps.Keys(t)) }
