package gobgp

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/anyvip/anyvip/bgp"
	"github.com/anyvip/anyvip/pkg/vip"
)

// A weight goes out as link bandwidth, also on eBGP, with and without a prepend,
// whose marker stays at home.
func TestAWeightIsLinkBandwidthAtFRRAndBIRD(t *testing.T) {
	f, b := frr(t, frrPeer), bird(t, "10.7.255.1", birdPeer)
	f.up()
	b.up()
	d := desired(peerOf(f, "FRR"), peerOf(b, "BIRD"))
	plain, prepended, none := host("192.0.2.10"), host("192.0.2.11"), host("192.0.2.12")
	plain.Weight, prepended.Weight, prepended.Prepend, none.Prepend = 3, 1000, 2, 2
	d.Announcements = []vip.Announcement{plain, prepended, none}
	n := startNode(t, d)
	n.waitUp("FRR", 5*time.Second)
	n.waitUp("BIRD", 5*time.Second)
	extended := func(prefix string) string {
		var answer struct {
			Paths []struct {
				Extended struct {
					String string `json:"string"`
				} `json:"extendedCommunity"`
			}
		}
		_ = json.Unmarshal([]byte(f.vtysh("show bgp ipv4 unicast "+prefix+" json")), &answer)
		if len(answer.Paths) != 1 {
			return "no path"
		}
		return answer.Paths[0].Extended.String
	}
	for prefix, want := range map[string]string{"192.0.2.10/32": "LB:65101:3000000 (24.000 Mbps)", "192.0.2.11/32": "LB:65101:1000000000 (8.000 Gbps)", "192.0.2.12/32": ""} {
		eventually(t, 2*time.Second, prefix+" at FRR: "+extended(prefix), func() bool {
			got := extended(prefix)
			return got == want || want != "" && strings.HasPrefix(got, want)
		})
		if strings.Contains(extended(prefix), "RT:") {
			t.Errorf("%s: the marker left: %s", prefix, extended(prefix))
		}
	}
	eventually(t, 2*time.Second, "the routes at BIRD", func() bool { return strings.Contains(b.birdc("show route"), "192.0.2.12/32") })
	for prefix, want := range map[string]int{"192.0.2.10/32": 1, "192.0.2.11/32": 1, "192.0.2.12/32": 0} {
		text := b.birdc("show route all " + prefix)
		if got := strings.Count(text, "(unknown 0x4004, 65101, "); got != want || strings.Contains(text, "(rt,") {
			t.Errorf("%s at BIRD:\n%s", prefix, text)
		}
	}
	for _, peer := range []string{"FRR", "BIRD"} {
		eventually(t, time.Second, "sent equals announced", func() bool {
			for _, a := range d.Announcements {
				if !n.sent(peer)[a.Prefix].Equal(a) {
					return false
				}
			}
			return true
		})
	}
	n.apply(func(d *bgp.Desired) {
		plain.Weight = 0
		d.Announcements = []vip.Announcement{plain, prepended, none}
	})
	eventually(t, 2*time.Second, "no weight any more", func() bool { return extended("192.0.2.10/32") == "" })
}
