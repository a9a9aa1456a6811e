package router

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBest(t *testing.T) {
	// path n comes from neighbor n, AS 65000+n, next hop 10.0.0.n; the cases change one thing each.
	path := func(n byte, changes ...func(*Path)) Path {
		addr := netip.AddrFrom4([4]byte{10, 0, 0, n})
		p := Path{Peer: addr, NextHop: addr, LocalPref: 100, ASPathLen: 1, NeighborAS: 65000 + uint32(n), External: true}
		for _, change := range changes {
			change(&p)
		}
		return p
	}
	med := func(v uint32) func(*Path) { return func(p *Path) { p.MED = v } }
	as := func(v uint32) func(*Path) { return func(p *Path) { p.NeighborAS = v } }

	for _, test := range []struct {
		name  string
		paths []Path
		max   int
		want  []string
	}{
		{"no path gives no route", nil, 64, nil},
		{"equal paths share, ordered by next hop", []Path{path(3), path(1), path(2)}, 64, []string{"10.0.0.1", "10.0.0.2", "10.0.0.3"}},
		{"the neighbor AS may differ or not", []Path{path(1, as(7)), path(2, as(7)), path(3)}, 64, []string{"10.0.0.1", "10.0.0.2", "10.0.0.3"}},
		{"max_paths bounds them", []Path{path(3), path(1), path(2)}, 2, []string{"10.0.0.1", "10.0.0.2"}},
		{"a lower local preference is out", []Path{path(1), path(2, func(p *Path) { p.LocalPref = 0 })}, 64, []string{"10.0.0.1"}},
		{"local preference 0 is better than nothing", []Path{path(2, func(p *Path) { p.LocalPref = 0 })}, 64, []string{"10.0.0.2"}},
		{"a prepended path is out", []Path{path(1), path(2, func(p *Path) { p.ASPathLen = 4 })}, 64, []string{"10.0.0.1"}},
		{"a worse origin is out", []Path{path(1), path(2, func(p *Path) { p.Origin = 2 })}, 64, []string{"10.0.0.1"}},
		{"a worse MED is out within one neighbor AS", []Path{path(1, as(7)), path(2, as(7), med(100))}, 64, []string{"10.0.0.1"}},
		{"a worse MED does not matter between neighbor ASes", []Path{path(1), path(2, med(100))}, 64, []string{"10.0.0.1", "10.0.0.2"}},
		{"MED is judged per neighbor AS", []Path{path(1, as(7), med(5)), path(2, as(7), med(9)), path(3, as(8), med(50))}, 64, []string{"10.0.0.1", "10.0.0.3"}},
		{"MED of a path that lost already does not count", []Path{path(1, as(7), med(9)), path(2, as(7), func(p *Path) { p.ASPathLen = 2 })}, 64, []string{"10.0.0.1"}},
		{"iBGP is out where eBGP is there", []Path{path(1, func(p *Path) { p.External = false }), path(2)}, 64, []string{"10.0.0.2"}},
		{"a next hop counts once", []Path{path(1), path(2, func(p *Path) { p.NextHop = path(1).NextHop })}, 64, []string{"10.0.0.1"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for _, p := range Best(test.paths, test.max) {
				got = append(got, p.NextHop.String())
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("next hops (-want +got):\n%s", diff)
			}
		})
	}
}
