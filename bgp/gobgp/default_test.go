package gobgp

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/osrg/gobgp/v4/api"
	packet "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/anyvip/anyvip/bgp"
	"github.com/anyvip/anyvip/pkg/vip"
)

// birdDefaults gives both default routes, and others beside them, the nearest to
// a default among them.
const birdDefaults = `
protocol static s4 { ipv4; route 0.0.0.0/0 blackhole; }
protocol static s6 { ipv6; route ::/0 blackhole; }
protocol static others4 { ipv4; route 0.0.0.0/1 blackhole; route 128.0.0.0/1 blackhole; route 192.0.2.99/32 blackhole; }
protocol static others6 { ipv6; route ::/1 blackhole; route 2001:db8:10::99/128 blackhole; }
`

// frrDefaults is frrPeer that gives both default routes.
var frrDefaults = strings.Replace(frrPeer, " address-family ipv6 unicast\n  neighbor $US activate",
	" neighbor $US default-originate\n address-family ipv6 unicast\n  neighbor $US activate\n  neighbor $US default-originate", 1)

func exporting(config string) string { return strings.ReplaceAll(config, "export none", "export all") }

// hops is what a session's peer gives as default routes, in words.
func (n *node) hops(peer string) string {
	var out []string
	for _, d := range n.session(peer).Defaults {
		out = append(out, fmt.Sprintf("%s %s", d.Family, d.NextHop))
	}
	return strings.Join(out, ", ")
}

func (n *node) waitHops(peer, want string, limit time.Duration) time.Duration {
	n.t.Helper()
	start := time.Now()
	for n.hops(peer) != want {
		if time.Since(start) > limit {
			n.t.Fatalf("defaults of %s within %s: %q, want %q", peer, limit, n.hops(peer), want)
		}
		time.Sleep(time.Millisecond)
	}
	return time.Since(start)
}

func TestEveryPeersDefaultRoutesAreToldAndGoNoFurther(t *testing.T) {
	f := withZebra(frr(t, frrDefaults))
	b := birdUnnumbered(t, "10.7.255.1", birdDefaults+exporting(birdExtended))
	listener := bird(t, "10.7.255.2", birdPeer)
	d := desired(peerOf(f, "FRR"), linkPeer(b, "BIRD"), peerOf(listener, "listener"))
	d.Peers[2].NextHop6 = listener.us6
	d.ImportDefault = true
	d.Announcements = []vip.Announcement{host("192.0.2.10"), host("2001:db8:10::10")}
	for _, r := range []*router{f, b, listener} {
		r.up()
	}
	n := startNode(t, d)
	fromFRR, fromBIRD := fmt.Sprintf("ipv4 %s, ipv6 %s", f.them, f.them6), fmt.Sprintf("ipv4 %[1]s%%%[2]s, ipv6 %[1]s%%%[2]s", linkThem, b.link)
	n.waitHops("FRR", fromFRR, 8*time.Second)
	n.waitHops("BIRD", fromBIRD, 8*time.Second)
	n.waitUp("listener", 8*time.Second)
	since := []time.Time{n.session("FRR").Since, n.session("BIRD").Since}

	for i := range 10 {
		b.birdc("disable s4")
		took := n.waitHops("BIRD", strings.Split(fromBIRD, ", ")[1], time.Second)
		b.birdc("enable s4")
		back := n.waitHops("BIRD", fromBIRD, time.Second)
		if i == 9 {
			t.Logf("a withdraw is told within %s of birdc's return, a new one within %s", took, back)
		}
	}
	n.apply(func(d *bgp.Desired) { d.ImportDefault = false })
	n.waitHops("FRR", "", time.Second)
	n.waitHops("BIRD", "", time.Second)
	b.birdc("disable s6")
	n.apply(func(d *bgp.Desired) { d.ImportDefault = true })
	n.waitHops("FRR", fromFRR, time.Second)
	n.waitHops("BIRD", strings.Split(fromBIRD, ", ")[0], time.Second)
	if n.session("FRR").Since != since[0] || n.session("BIRD").Since != since[1] {
		t.Error("a session flapped")
	}

	n.apply(func(d *bgp.Desired) { d.Announcements = d.Announcements[1:] }) // goes out behind whatever came in
	eventually(t, time.Second, "the withdraw", func() bool { _, w := listener.birdCounts(); return w == "1" })
	u, _ := listener.birdCounts()
	if got := listener.birdc("show route"); u != "1" || strings.Count(got, "unicast") != 1 || !strings.Contains(got, "2001:db8:10::10/128") {
		t.Errorf("the listener was told %s IPv4 routes, and has:\n%s", u, got)
	}
	for _, r := range []*router{f, b} {
		r.kill()
	}
	n.waitHops("FRR", "", time.Second)
	n.waitHops("BIRD", "", time.Second)
}

// FRR sends its link-local address alone where it has no other.
func TestALinkLocalNextHopOnAnIPv4SessionHasItsLink(t *testing.T) {
	r := withZebra(frr(t, frrDefaults))
	run(t, "ip", "addr", "del", r.us6.String()+"/64", "dev", r.link)
	r.ip("addr", "flush", "dev", "eth0")
	r.ip("addr", "add", r.them.String()+"/24", "dev", "eth0")
	r.ip("addr", "add", linkThem+"/64", "dev", "eth0", "nodad")
	r.up()
	d := desired(peerOf(r, "tor"))
	d.ImportDefault = true
	n := startNode(t, d)
	n.waitHops("tor", fmt.Sprintf("ipv4 %s, ipv6 %s%%%s", r.them, linkThem, r.link), 8*time.Second)
}

// FRR sends two addresses where it has a global one, of which GoBGP keeps the
// one that is of no use here.
func TestADefaultRouteOverAnUnnumberedLinkGoesToThePeer(t *testing.T) {
	r := withZebra(unnumbered(frr(t, strings.Replace(frrUnnumbered, "  neighbor eth0 activate",
		"  neighbor eth0 activate\n  neighbor eth0 default-originate", 1))))
	r.ip("addr", "add", "2001:db8:99::1/64", "dev", "eth0", "nodad")
	r.up()
	r.advertise()
	d := desired(linkPeer(r, "tor"))
	d.ImportDefault = true
	n := startNode(t, d)
	n.waitHops("tor", fmt.Sprintf("ipv6 %s%%%s", linkThem, r.link), 8*time.Second)
}

func TestANextHopIsWhatARouteNeeds(t *testing.T) {
	addr := netip.MustParseAddr
	hop4 := func(a string) packet.PathAttributeInterface {
		v, err := packet.NewPathAttributeNextHop(addr(a))
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	hop6 := func(a string) packet.PathAttributeInterface {
		return &packet.PathAttributeMpReachNLRI{Nexthop: addr(a)}
	}
	path := func(as ...uint32) packet.PathAttributeInterface {
		return packet.NewPathAttributeAsPath([]packet.AsPathParamInterface{packet.NewAs4PathParam(packet.BGP_ASPATH_ATTR_TYPE_SEQ, as)})
	}
	ipv4 := vip.Session{Local: addr("10.0.0.2"), Remote: addr("10.0.0.1")}
	ipv6 := vip.Session{Local: addr("2001:db8::2"), Remote: addr("2001:db8::1")}
	link := vip.Session{Local: addr("fe80::2%eth9"), Remote: addr("fe80::1%eth9")}
	for _, tt := range []struct {
		name    string
		session vip.Session
		family  vip.Family
		attrs   []packet.PathAttributeInterface
		want    string // an address, or part of an error
	}{
		{"IPv4", ipv4, vip.IPv4, []packet.PathAttributeInterface{hop4("10.0.0.1"), path(65000)}, "10.0.0.1"},
		{"a third party", ipv4, vip.IPv4, []packet.PathAttributeInterface{hop4("10.0.0.9"), path(65000)}, "10.0.0.9"},
		{"IPv4 link-local", ipv4, vip.IPv4, []packet.PathAttributeInterface{hop4("169.254.0.1")}, "169.254.0.1"},
		{"IPv6 on IPv4", ipv4, vip.IPv6, []packet.PathAttributeInterface{path(65000), hop6("2001:db8::1")}, "2001:db8::1"},
		{"IPv6 on IPv6", ipv6, vip.IPv6, []packet.PathAttributeInterface{hop6("2001:db8::1")}, "2001:db8::1"},
		{"IPv4 on IPv6", ipv6, vip.IPv4, []packet.PathAttributeInterface{hop6("2001:db8::1")}, "2001:db8::1"},
		{"IPv4 written as IPv6", ipv6, vip.IPv4, []packet.PathAttributeInterface{hop6("::ffff:10.0.0.1")}, "10.0.0.1"},
		{"IPv6 by IPv4", ipv4, vip.IPv6, []packet.PathAttributeInterface{hop6("::ffff:10.0.0.1")}, "10.0.0.1 is none for ipv6"},
		{"link-local", link, vip.IPv6, []packet.PathAttributeInterface{hop6("fe80::1")}, "fe80::1%eth9"},
		{"IPv4 by link-local", link, vip.IPv4, []packet.PathAttributeInterface{hop6("fe80::1")}, "fe80::1%eth9"},
		{"another router of an unnumbered link", link, vip.IPv6, []packet.PathAttributeInterface{hop6("fe80::9")}, "fe80::9%eth9"},
		{"global on an unnumbered link", link, vip.IPv6, []packet.PathAttributeInterface{hop6("2001:db8::1")}, "fe80::1%eth9"},
		{"none but link-local from BIRD", link, vip.IPv6, []packet.PathAttributeInterface{hop6("::")}, "fe80::1%eth9"},
		{"link-local without a link", ipv6, vip.IPv6, []packet.PathAttributeInterface{hop6("fe80::1")}, "no link of this host has 2001:db8::2"},
		{"ourselves", ipv4, vip.IPv4, []packet.PathAttributeInterface{hop4("10.0.0.2")}, "10.0.0.2 is this host"},
		{"ourselves on a link", link, vip.IPv6, []packet.PathAttributeInterface{hop6("fe80::2")}, "fe80::2 is this host"},
		{"unspecified", ipv6, vip.IPv6, []packet.PathAttributeInterface{hop6("::")}, ":: is none for ipv6"},
		{"loopback", ipv4, vip.IPv4, []packet.PathAttributeInterface{hop4("127.0.0.1")}, "127.0.0.1 is none for ipv4"},
		{"none", ipv4, vip.IPv4, nil, "is none for ipv4"},
		{"a loop", ipv4, vip.IPv4, []packet.PathAttributeInterface{hop4("10.0.0.1"), path(65000, 65101)}, "our AS 65101 is in its AS_PATH"},
	} {
		hop, err := nextHop(tt.attrs, tt.session, tt.family, 65101)
		if err != nil && strings.Contains(err.Error(), tt.want) || err == nil && hop.String() == tt.want {
			continue
		}
		t.Errorf("%s: %s, %v; want %s", tt.name, hop, err, tt.want)
	}
}

// A peer's whole table costs us nothing but a look at each prefix.
func TestOnlyAnUpdateWithADefaultRouteIsASignal(t *testing.T) {
	nlri := func(prefixes ...string) (out []packet.PathNLRI) {
		for _, p := range prefixes {
			n, err := packet.NewIPAddrPrefix(netip.MustParsePrefix(p))
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, packet.PathNLRI{NLRI: n})
		}
		return out
	}
	reach := func(prefixes ...string) []packet.PathAttributeInterface {
		return []packet.PathAttributeInterface{packet.NewPathAttributeOrigin(0), &packet.PathAttributeMpReachNLRI{Value: nlri(prefixes...)}}
	}
	unreach := func(prefixes ...string) []packet.PathAttributeInterface {
		return []packet.PathAttributeInterface{&packet.PathAttributeMpUnreachNLRI{Value: nlri(prefixes...)}}
	}
	signals := newMailbox()
	log := newLogger(slog.NewTextHandler(io.Discard, nil), signals, new(atomic.Int64), 1).With("Key", "10.0.0.1")
	for _, tt := range []struct {
		nlri, withdrawn []packet.PathNLRI
		attributes      []packet.PathAttributeInterface
		want            bool
	}{
		{nlri: nlri("10.0.0.0/8", "0.0.0.0/1", "0.0.0.0/32"), attributes: reach("::/1", "::/128")},
		{withdrawn: nlri("10.0.0.0/8"), attributes: unreach("::/1")},
		{},
		{nlri: nlri("10.0.0.0/8", "0.0.0.0/0"), want: true},
		{withdrawn: nlri("0.0.0.0/0"), want: true},
		{attributes: reach("2001:db8::/32", "::/0"), want: true},
		{attributes: reach("0.0.0.0/0"), want: true},
		{attributes: unreach("::/0"), want: true},
	} {
		log.Debug(msgUpdate, "nlri", tt.nlri, "withdrawals", tt.withdrawn, "path_attributes", tt.attributes)
		got, ok := signals.take()
		if (ok && got.kind == defaultSaid) != tt.want || ok && !tt.want {
			t.Errorf("%+v: %v", tt, got)
		}
		if more, ok := signals.take(); ok {
			t.Errorf("%+v: a second signal %v", tt, more)
		}
	}
}

func TestAFullTableIsNeitherImportedNorToldOfNorReannounced(t *testing.T) {
	const routes = 20_000
	p := startRawPeer(t)
	listener := bird(t, "10.7.255.2", birdPeer)
	listener.up()
	d := p.desired()
	d.Peers = append(d.Peers, peerOf(listener, "listener"))
	d.ImportDefault = true
	d.Announcements = []vip.Announcement{host("192.0.2.10")}
	n := startNode(t, d)
	n.waitUp("tor", 5*time.Second)
	n.waitUp("listener", 5*time.Second)
	p.send(t, routes, 500)
	n.waitHops("tor", "ipv4 10.0.0.1", 60*time.Second)
	if got := n.received(t); got != routes+1 {
		t.Errorf("%d routes received", got)
	}
	n.apply(func(d *bgp.Desired) { d.Announcements = append(slices.Clip(d.Announcements), host("192.0.2.11")) })
	eventually(t, time.Second, "two routes at the listener", func() bool { u, _ := listener.birdCounts(); return u == "2" })
}

// received is how many routes the raw peer's Adj-RIB-In holds.
func (n *node) received(t testing.TB) (count int) {
	t.Helper()
	err := n.speaker.do(context.Background(), func() error {
		info, err := n.speaker.server.GetTable(context.Background(), &api.GetTableRequest{TableType: api.TableType_TABLE_TYPE_ADJ_IN,
			Name: "127.0.0.2", Family: &api.Family{Afi: api.Family_AFI_IP, Safi: api.Family_SAFI_UNICAST}})
		count = int(info.GetNumPath())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return count
}
