package kernel

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

func TestNextHopsComeAndGoWithTheirLinks(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	uplinks(t, 3)
	a := start(t, t.TempDir())
	a.engine.Apply(byWayOf("10.0.0.1", "10.0.1.1", "2001:db8::1", "fe80::1%eth1"))
	all4, all6 := "137/20 10.0.0.1@eth0 10.0.1.1@eth1", "137/20 2001:db8::1@eth0 fe80::1@eth1"
	settled := func() {
		t.Helper()
		untilTable(t, vip.IPv4, all4)
		untilTable(t, vip.IPv6, all6)
		for f, hops := range map[vip.Family]string{vip.IPv4: "10.0.0.1 10.0.1.1", vip.IPv6: "2001:db8::1 fe80::1%eth1"} {
			if r := a.untilDefault(f, hops); r.Detail != "" {
				t.Errorf("%+v", r)
			}
		}
	}
	without := func(f vip.Family, hops, left, why string) {
		t.Helper()
		r := a.untilDefault(f, hops)
		if want := "next hop " + left + " is left out: " + why; !strings.Contains(r.Detail, want) {
			t.Errorf("detail is %q, want %q", r.Detail, want)
		}
	}
	settled()

	begin := time.Now()
	ip(t, "link set tor0 down") // no carrier: the kernel goes on to send there
	without(vip.IPv4, "10.0.1.1", "10.0.0.1", "link eth0 has no carrier")
	without(vip.IPv6, "fe80::1%eth1", "2001:db8::1", "link eth0 has no carrier")
	t.Logf("carrier lost: reported after %v with the command", time.Since(begin))
	untilTable(t, vip.IPv4, "137/20 10.0.1.1@eth1")
	untilTable(t, vip.IPv6, "137/20 fe80::1@eth1")
	ip(t, "link set tor0 up")
	settled()

	ip(t, "link set eth0 down")
	without(vip.IPv4, "10.0.1.1", "10.0.0.1", "link eth0 is down; run: ip link set eth0 up")
	without(vip.IPv6, "fe80::1%eth1", "2001:db8::1", "") // its address went, too
	untilTable(t, vip.IPv4, "137/20 10.0.1.1@eth1")
	untilTable(t, vip.IPv6, "137/20 fe80::1@eth1")
	uplink(t, 0)
	settled()

	ip(t, "link set eth0 down") // both: Linux takes the IPv4 route away without a word
	ip(t, "link set eth1 down")
	a.untilDefault(vip.IPv4, "")
	a.untilDefault(vip.IPv6, "")
	untilTable(t, vip.IPv4)
	untilTable(t, vip.IPv6)
	uplink(t, 0)
	uplink(t, 1)
	settled()

	// The routes that made the routers neighbours go: the kernel sends there as before, and so do we.
	ip(t, "route del 10.0.0.0/24 dev eth0")
	ip(t, "-6 addr del 2001:db8:0::2/64 dev eth0")
	d := byWayOf("10.0.0.1", "10.0.1.1", "2001:db8::1", "fe80::1%eth1")
	for _, addr := range []netip.Addr{v4, v6} { // a pass each, at least
		d.Addresses = append(d.Addresses, addr)
		a.engine.Apply(d)
		a.until(addr, vip.AddressPresent)
	}
	settled()

	ip(t, "link del eth0") // takes the whole IPv4 route along, the other next hop included
	untilTable(t, vip.IPv4, "137/20 10.0.1.1@eth1")
	untilTable(t, vip.IPv6, "137/20 fe80::1@eth1")
	without(vip.IPv4, "10.0.1.1", "10.0.0.1", "no link of this host leads to it directly")

	ip(t, "addr del 10.0.1.2/24 dev eth1") // the last IPv4 address of a link takes its routes along
	ip(t, "addr add 10.0.1.2/24 dev eth2") // the router moved to another link
	untilTable(t, vip.IPv4, "137/20 10.0.1.1@eth2")
	ip(t, "link del eth1")
	without(vip.IPv6, "", "fe80::1%eth1", "this host has no link eth1")
}

func TestForeignDefaultRoutesAreNeverTouched(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	uplinks(t, 3)
	const foreign4, foreign6 = "static/20 10.0.2.9@eth2", "static/20 2001:db8:2::9@eth2"
	ip(t, "route add default via 10.0.2.9 metric 20 proto static")
	ip(t, "-6 route add default via 2001:db8:2::9 metric 20 proto static")
	a := start(t, t.TempDir())
	a.engine.Apply(byWayOf("10.0.0.1", "10.0.1.1", "2001:db8::1", "2001:db8:1::1"))
	for _, f := range []vip.Family{vip.IPv4, vip.IPv6} {
		eventually(t, "the other's route is named", func() bool {
			return strings.HasPrefix(a.defaultRoute(f).Detail, "somebody else's default route has metric 20 as well")
		})
		if r := a.defaultRoute(f); len(r.NextHops) > 0 {
			t.Errorf("%+v", r)
		}
	}
	untilTable(t, vip.IPv4, foreign4)
	untilTable(t, vip.IPv6, foreign6)
	ip(t, "route del default")
	ip(t, "-6 route del default")
	four, six := "137/20 10.0.0.1@eth0 10.0.1.1@eth1", "137/20 2001:db8:1::1@eth1 2001:db8::1@eth0"
	untilTable(t, vip.IPv4, four)
	untilTable(t, vip.IPv6, six)

	// Somebody joins us: IPv4 has two routes then, IPv6 one of three next hops.
	ip(t, "route prepend default via 10.0.2.9 metric 20 proto static")
	ip(t, "-6 route append default via 2001:db8:2::9 metric 20 proto static")
	eventually(t, "the next hop too many is named", func() bool {
		return strings.Contains(a.defaultRoute(vip.IPv6).Detail, "somebody else added these to ours")
	})
	a.engine.Apply(byWayOf("10.0.1.1", "2001:db8:1::1"))
	untilTable(t, vip.IPv4, foreign4, "137/20 10.0.1.1@eth1")
	untilTable(t, vip.IPv6, "137/20 2001:db8:1::1@eth1 2001:db8:2::9@eth2")
	old := &mainTable{dumps: netlinkHandle(t)} // as before Linux 4.20, which shows all routes
	if got := routesOf(t, old, vip.IPv4); len(got) != 1 || got[0].short() != "10.0.1.1" {
		t.Errorf("ours are %v", got)
	}
	a.engine.Apply(Desired{})
	untilTable(t, vip.IPv4, foreign4)
	untilTable(t, vip.IPv6, foreign6)
	a.untilDefault(vip.IPv6, "")
}

func TestANextHopThatTheKernelRefuses(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	uplinks(t, 2)
	setSysctl(t, "net/ipv6/conf/eth1/disable_ipv6", "1")
	a := start(t, t.TempDir())
	a.engine.Apply(byWayOf("10.0.0.1", "10.9.9.9", "10.0.1.2", "2001:db8::1", "fe80::1%eth1", "fe80::1%eth9"))
	for f, want := range map[vip.Family][]string{
		vip.IPv4: {"10.9.9.9 is left out: no link of this host leads to it directly", "10.0.1.2 is left out: it is an address of this host"},
		vip.IPv6: {"fe80::1%eth1 is left out: permission denied; IPv6 is disabled there", "fe80::1%eth9 is left out: this host has no link eth9"},
	} {
		r := a.untilDefault(f, map[vip.Family]string{vip.IPv4: "10.0.0.1", vip.IPv6: "2001:db8::1"}[f])
		for _, w := range want {
			if !strings.Contains(r.Detail, w) {
				t.Errorf("detail %q lacks %q", r.Detail, w)
			}
		}
	}
	ip(t, "addr add 10.9.9.1/24 dev eth0")
	setSysctl(t, "net/ipv6/conf/eth1/disable_ipv6", "0")
	a.untilDefault(vip.IPv4, "10.0.0.1 10.9.9.9")
	a.untilDefault(vip.IPv6, "2001:db8::1 fe80::1%eth1")
}
