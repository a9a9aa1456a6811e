package gobgp

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/anyvip/anyvip/bgp"
	"github.com/anyvip/anyvip/pkg/vip"
)

func TestNothingThatAPeerSendsGoesToAnother(t *testing.T) {
	var routes strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&routes, "route 10.%d.%d.0/24 blackhole;\n", 100+i/250, i%250)
	}
	// Also routes that our own guard would let out if they were ours.
	for i := range 50 {
		fmt.Fprintf(&routes, "route 192.0.2.%d/32 blackhole;\n", 100+i)
	}
	talker := bird(t, "10.7.255.1", "protocol static { ipv4; "+routes.String()+" }\n"+
		strings.Replace(birdPeer, "ipv4 { import all; export none; }", "ipv4 { import all; export all; }", 1))
	listener := bird(t, "10.7.255.2", birdPeer)
	talker.up()
	listener.up()
	d := desired(peerOf(talker, "talker"), peerOf(listener, "listener"))
	d.Announcements = []vip.Announcement{host("192.0.2.10")}
	n := startNode(t, d)
	n.waitUp("talker", 5*time.Second)
	n.waitUp("listener", 5*time.Second)
	eventually(t, 5*time.Second, "1,050 routes sent by the talker", func() bool {
		return strings.Contains(talker.birdc("show protocols all tor"), "1050 exported")
	})
	n.apply(func(d *bgp.Desired) {
		d.Announcements = []vip.Announcement{host("192.0.2.10"), host("192.0.2.11")} // goes out behind whatever came in
	})
	eventually(t, time.Second, "two routes at the listener", func() bool {
		return strings.Contains(listener.birdc("show route count"), "2 of 2 routes for 2 networks in table master4")
	})
	eventually(t, time.Second, "two sent", func() bool { return len(n.sent("listener")) == 2 })
}

func TestNothingOutsideAllowedPrefixesLeaves(t *testing.T) {
	r := bird(t, "10.7.255.1", birdPeer)
	r.up()
	d := desired(peerOf(r, "tor"))
	wide := vip.Announcement{Prefix: netip.MustParsePrefix("192.0.2.0/25")} // within, but no host route
	d.Announcements = []vip.Announcement{host("198.51.100.1"), wide, host("192.0.2.10")}
	n := startNode(t, d)
	n.waitUp("tor", 5*time.Second)
	eventually(t, time.Second, "the allowed route", func() bool { return strings.Contains(r.birdc("show route"), "192.0.2.10/32") })
	if u, _ := r.birdCounts(); u != "1" {
		t.Errorf("BIRD was told %s routes:\n%s", u, r.birdc("show route"))
	}
	since := n.session("tor").Since
	n.apply(func(d *bgp.Desired) {
		d.AllowedPrefixes = append([]netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}, d.AllowedPrefixes...)
	})
	eventually(t, time.Second, "what is allowed now", func() bool { return strings.Contains(r.birdc("show route"), "198.51.100.1/32") })
	n.apply(func(d *bgp.Desired) { d.AllowedPrefixes = d.AllowedPrefixes[:1] })
	eventually(t, time.Second, "what is allowed no more", func() bool { return !strings.Contains(r.birdc("show route"), "192.0.2.10") })
	if n.session("tor").Since != since {
		t.Error("the session flapped")
	}
}
