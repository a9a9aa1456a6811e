package integration

import (
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/anyvip/anyvip/lab/watch"
)

// TestFourOctetASNumbers has an eBGP session with FRR and an iBGP session with
// BIRD at the same time, and looks at what each gets on the wire.
func TestFourOctetASNumbers(t *testing.T) {
	t.Parallel()
	const own, other = 4200000001, 4200000002
	med, localPref := uint32(30), uint32(250)
	tests := []struct {
		tor      string
		asn      uint32
		nextHops map[netip.Prefix]netip.Addr
		want     watch.Attributes
	}{
		{"tor-a", other, nextHops("10.1.1.2", "fd00:1:1::2"), watch.Attributes{Origin: "igp", ASPath: []uint32{own, own, own}, MED: &med,
			LargeCommunities: []string{"4200000001:1:2"}}},
		{"tor-b", own, nextHops("10.2.1.2", "fd00:2:1::2"), watch.Attributes{Origin: "igp", MED: &med, LocalPref: &localPref,
			LargeCommunities: []string{"4200000001:1:2"}}},
	}
	r := up(t, "asn.clab.yml", options{})
	at := map[string]tor{"tor-a": r.watchTor("tor-a", "eth1"), "tor-b": r.watchTor("tor-b", "eth1")}
	r.kill("s1") // the first OPENs came before the instruments
	begin := time.Now()
	r.start("s1")
	r.statusShows("s1", "both sessions", agentStatus.established)
	for _, test := range tests {
		w := at[test.tor]
		opened := w.message(begin, "eth1", "our OPEN", func(m *watch.Message) bool { return m.Opened != nil })
		if asn := opened.Message.Opened.ASN; asn != own {
			t.Errorf("%s: our OPEN says AS %d, want %d", test.tor, asn, own)
		}
		theirs := w.wait(patience, "the OPEN of "+test.tor, func(e watch.Event) bool {
			return e.Kind == watch.Wire && e.Time.After(begin) && e.Message.Opened != nil && !fromServer(e, begin, "eth1")
		})
		if asn := theirs.Message.Opened.ASN; asn != test.asn {
			t.Errorf("%s: its OPEN says AS %d, want %d", test.tor, asn, test.asn)
		}
		for p, nextHop := range test.nextHops {
			m := w.message(begin, "eth1", "the announcement of "+p.String(), announces(p)).Message
			if diff := cmp.Diff(&test.want, m.Attributes); diff != "" || m.Error != "" {
				t.Errorf("%s: %s %s (-want +got)\n%s", test.tor, p, m.Error, diff)
			}
			if got := m.Announced[0].NextHop; got != nextHop {
				t.Errorf("%s: the next hop of %s is %s, want %s", test.tor, p, got, nextHop)
			}
			w.wait(patience, "the route to "+p.String()+" in the kernel of "+test.tor, func(e watch.Event) bool {
				return e.Kind == watch.FIB && e.Time.After(begin) && e.Route.Prefix == p && slices.Equal(e.Route.Addrs(), []netip.Addr{nextHop})
			})
		}
	}

	// A wrong number is told whole too, not as AS_TRANS (RFC 6793).
	r.replace("s1", "asn: 4200000002", "asn: 4200000003")
	r.signal("s1", syscall.SIGHUP)
	r.statusShows("s1", "the AS number of tor-a", func(s agentStatus) bool {
		x := s.session(t, "tor-a")
		return x.Cause == "WRONG_AS" && strings.Contains(x.Detail, "the peer says AS 4200000002, and asn here is 4200000003")
	})
}

// nextHops are the next hops of the VIPs.
func nextHops(ipv4, ipv6 string) map[netip.Prefix]netip.Addr {
	return map[netip.Prefix]netip.Addr{vip4: netip.MustParseAddr(ipv4), vip6: netip.MustParseAddr(ipv6)}
}
