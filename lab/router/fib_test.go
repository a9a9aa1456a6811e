package router

import (
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// A next hop whose link is down stays in an IPv4 route, dead, and lives again with the link. So a route that has one
// must never count as the same without it.
func TestADeadNextHopIsNoneThatAnybodyWants(t *testing.T) {
	all := route{{netip.MustParseAddr("10.0.1.2"), 5}, {netip.MustParseAddr("10.0.2.2"), 6}}
	r := kernelRoute(netip.MustParsePrefix("192.0.2.10/32"), all)
	if got := hopsOf(*r); !slices.Equal(got, all) {
		t.Fatalf("read back as %v", got)
	}
	r.MultiPath[1].Flags = unix.RTNH_F_DEAD | unix.RTNH_F_LINKDOWN
	if got := hopsOf(*r); len(got) != 2 || slices.Equal(got, all) || slices.Equal(got, all[:1]) {
		t.Errorf("with a dead one read back as %v", got)
	}
}
