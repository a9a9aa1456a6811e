package gobgp

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/anyvip/anyvip/bgp"
	"github.com/anyvip/anyvip/pkg/vip"
)

const frrPeer = `
hostname tor
router bgp 65000
 bgp router-id 10.7.255.9
 bgp log-neighbor-changes
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor $US remote-as 65101
 neighbor $US timers 3 9
 neighbor $US timers connect 1
 neighbor $US advertisement-interval 0
 address-family ipv6 unicast
  neighbor $US activate
 exit-address-family
`

func full(address string) vip.Announcement {
	a := host(address)
	a.MED, a.LocalPref, a.Prepend = 77, 250, 3
	a.Communities = []vip.Community{65000<<16 | 100, vip.GracefulShutdown}
	a.LargeCommunities = []vip.LargeCommunity{{Global: 65000, Local1: 1, Local2: 2}}
	return a.Normalize()
}

// frrPath is what FRR says about one path.
type frrPath struct {
	MED    uint32 `json:"metric"`
	Origin string `json:"origin"`
	ASPath struct {
		String string `json:"string"`
	} `json:"aspath"`
	Community struct {
		String string `json:"string"`
	} `json:"community"`
	Large struct {
		String string `json:"string"`
	} `json:"largeCommunity"`
	Extended any `json:"extendedCommunity"`
	NextHops []struct {
		IP string `json:"ip"`
	} `json:"nexthops"`
}

func (r *router) frrPaths(family, prefix string) []frrPath {
	var answer struct{ Paths []frrPath }
	_ = json.Unmarshal([]byte(r.vtysh("show bgp "+family+" unicast "+prefix+" json")), &answer)
	return answer.Paths
}

func TestFRRShowsEveryAttribute(t *testing.T) {
	r := frr(t, frrPeer)
	r.up()
	p := peerOf(r, "tor")
	p.NextHop6 = r.us6
	d := desired(p)
	d.Announcements = []vip.Announcement{full("192.0.2.10"), full("2001:db8:10::10")}
	n := startNode(t, d)
	t.Logf("first Established after %s", n.waitUp("tor", 5*time.Second))
	for prefix, family := range map[string]string{"192.0.2.10/32": "ipv4", "2001:db8:10::10/128": "ipv6"} {
		eventually(t, 2*time.Second, prefix+" at FRR", func() bool { return len(r.frrPaths(family, prefix)) == 1 })
		got := r.frrPaths(family, prefix)[0]
		if got.MED != 77 || got.Origin != "IGP" || got.ASPath.String != "65101 65101 65101 65101" ||
			got.Community.String != "65000:100 graceful-shutdown" || got.Large.String != "65000:1:2" || got.Extended != nil {
			t.Errorf("%s at FRR: %+v", prefix, got)
		}
		if want := map[string]string{"ipv4": r.us.String(), "ipv6": r.us6.String()}[family]; len(got.NextHops) != 1 || got.NextHops[0].IP != want {
			t.Errorf("%s at FRR: next hop %v, want %s", prefix, got.NextHops, want)
		}
	}
	eventually(t, time.Second, "sent equals announced", func() bool {
		for _, a := range d.Announcements {
			if got, ok := n.sent("tor")[a.Prefix]; !ok || !got.Equal(a) {
				return false
			}
		}
		return true
	})
}

func TestLocalPrefGoesToIBGPAndPrependToEBGPOnly(t *testing.T) {
	inside := bird(t, "10.7.255.1", `protocol bgp tor { local $THEM as 65101; neighbor $US as 65101; ipv4 { import all; }; }`)
	outside := bird(t, "10.7.255.2", birdPeer)
	inside.up()
	outside.up()
	pi, po := peerOf(inside, "inside"), peerOf(outside, "outside")
	pi.ASN = 65101
	d := desired(pi, po)
	d.Announcements = []vip.Announcement{full("192.0.2.10")}
	n := startNode(t, d)
	for peer, want := range map[string][]string{
		"inside":  {"BGP.as_path: \n", "BGP.local_pref: 250", "BGP.med: 77"},
		"outside": {"BGP.as_path: 65101 65101 65101 65101\n", "BGP.local_pref: 100", "BGP.med: 77"},
	} {
		r := map[string]*router{"inside": inside, "outside": outside}[peer]
		n.waitUp(peer, 5*time.Second)
		show := func() string { return r.birdc("show route all 192.0.2.10/32") }
		eventually(t, time.Second, "route at "+peer, func() bool { return strings.Contains(show(), "BGP.origin: IGP") })
		for _, w := range want {
			if !strings.Contains(show(), w) {
				t.Errorf("%s lacks %q:\n%s", peer, w, show())
			}
		}
		if strings.Contains(show(), "ext_community") {
			t.Errorf("the marker left to %s:\n%s", peer, show())
		}
		eventually(t, time.Second, "sent equals announced", func() bool { return n.sent(peer)[d.Announcements[0].Prefix].Equal(d.Announcements[0]) })
	}
	n.apply(func(d *bgp.Desired) {
		a := d.Announcements[0]
		a.Prepend = 1
		d.Announcements = []vip.Announcement{a}
	})
	eventually(t, time.Second, "another prepend", func() bool {
		return strings.Contains(outside.birdc("show route all 192.0.2.10/32"), "BGP.as_path: 65101 65101\n")
	})
}

var (
	birdUpdates   = regexp.MustCompile(`Import updates:(?: +\d+){4} +(\d+)`) // received, rejected, filtered, ignored, accepted
	birdWithdraws = regexp.MustCompile(`Import withdraws: +(\d+)`)
)

// birdCounts are the routes that BIRD was told and untold since the session
// began, without those that it was told again, as it is when a route changes at
// that moment (makeSure).
func (r *router) birdCounts() (updates, withdraws string) {
	out := r.birdc("show protocols all tor")
	u, w := birdUpdates.FindStringSubmatch(out), birdWithdraws.FindStringSubmatch(out)
	if u == nil || w == nil {
		return "?", "?"
	}
	return u[1], w[1]
}

func TestAttributesChangeInOneUpdateWithoutWithdraw(t *testing.T) {
	r := bird(t, "10.7.255.1", birdPeer)
	r.up()
	d := desired(peerOf(r, "tor"))
	d.Announcements = []vip.Announcement{host("192.0.2.10")}
	n := startNode(t, d)
	n.waitUp("tor", 5*time.Second)
	eventually(t, time.Second, "route", func() bool { u, _ := r.birdCounts(); return u == "1" })
	since := n.session("tor").Since
	for i, change := range []func(*vip.Announcement){
		func(a *vip.Announcement) { a.MED = 50 },
		func(a *vip.Announcement) { a.Prepend = 2 },
		func(a *vip.Announcement) { a.Communities = []vip.Community{vip.GracefulShutdown} },
		func(a *vip.Announcement) { a.LargeCommunities = []vip.LargeCommunity{{Global: 1}} },
		func(a *vip.Announcement) { *a = host("192.0.2.10") },
	} {
		n.apply(func(d *bgp.Desired) {
			a := d.Announcements[0]
			change(&a)
			d.Announcements = []vip.Announcement{a}
		})
		want := fmt.Sprint(i + 2)
		eventually(t, time.Second, "update "+want, func() bool { u, _ := r.birdCounts(); return u >= want })
		if u, w := r.birdCounts(); u != want || w != "0" {
			t.Errorf("change %d: BIRD counts %s updates and %s withdraws, want %s and 0", i, u, w, want)
		}
	}
	n.apply(func(*bgp.Desired) {}) // the same again
	eventually(t, time.Second, "a pass", func() bool { return true })
	if u, _ := r.birdCounts(); u != "6" {
		t.Errorf("BIRD counts %s updates after an Apply of the same", u)
	}
	if n.session("tor").Since != since {
		t.Error("the session flapped")
	}
}

func TestIPv4OverAnIPv6SessionNeedsExtendedNextHop(t *testing.T) {
	for _, extended := range []bool{true, false} {
		t.Run(fmt.Sprintf("extended=%t", extended), func(t *testing.T) {
			option := ""
			if extended {
				option = "extended next hop on;"
			}
			r := bird(t, "10.7.255.1", `protocol bgp tor { local $THEM6 as 65000; neighbor $US6 as 65101;
				ipv4 { import all; export none; `+option+` }; ipv6 { import all; export none; }; }`)
			r.up()
			p := peerOf(r, "tor")
			p.Address = r.them6
			d := desired(p)
			d.Announcements = []vip.Announcement{host("192.0.2.10"), host("2001:db8:10::10")}
			n := startNode(t, d)
			n.waitUp("tor", 5*time.Second)
			eventually(t, time.Second, "ipv6 route", func() bool { return strings.Contains(r.birdc("show route"), "2001:db8:10::10/128") })
			want := 1
			if extended {
				want = 2
				eventually(t, time.Second, "ipv4 route by way of an ipv6 next hop", func() bool {
					return strings.Contains(r.birdc("show route all 192.0.2.10/32"), "BGP.next_hop: "+r.us6.String())
				})
			} else if strings.Contains(r.birdc("show route"), "192.0.2.10") {
				t.Error("ipv4 went to a peer that cannot take it")
			}
			eventually(t, time.Second, "sent", func() bool { return len(n.sent("tor")) == want })
			if got := n.session("tor").Families; len(got) != want {
				t.Errorf("families %v", got)
			}
		})
	}
}

func TestIPv6OverAnIPv4SessionNeedsANextHop(t *testing.T) {
	r := bird(t, "10.7.255.1", birdPeer)
	r.up()
	d := desired(peerOf(r, "tor"))
	d.Announcements = []vip.Announcement{host("192.0.2.10"), host("2001:db8:10::10")}
	n := startNode(t, d)
	n.waitUp("tor", 5*time.Second)
	eventually(t, time.Second, "ipv4 sent", func() bool { return len(n.sent("tor")) == 1 })
	since := n.session("tor").Since
	n.apply(func(d *bgp.Desired) { d.Peers[0].NextHop6 = r.us6 })
	eventually(t, time.Second, "ipv6 sent", func() bool { return len(n.sent("tor")) == 2 })
	eventually(t, time.Second, "ipv6 route", func() bool {
		return strings.Contains(r.birdc("show route all"), "BGP.next_hop: "+r.us6.String())
	})
	n.apply(func(d *bgp.Desired) { d.Peers[0].NextHop6 = netip.Addr{} })
	eventually(t, time.Second, "ipv6 withdrawn", func() bool { return !strings.Contains(r.birdc("show route"), "2001:db8") })
	eventually(t, time.Second, "ipv6 not sent", func() bool { return len(n.sent("tor")) == 1 })
	if n.session("tor").Since != since {
		t.Error("the session flapped")
	}
}
