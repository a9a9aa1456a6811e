package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestUnnumberedPeers runs examples/unnumbered as it stands: two servers with
// interface peers, and two FRR routers with theirs.
func TestUnnumberedPeers(t *testing.T) {
	t.Parallel()
	u := unnumbered{up(t, "../../../examples/unnumbered/unnumbered.clab.yml", options{})}
	heard := map[string]*instrument[discovery]{
		"tor-a": u.watchDiscovery("tor-a", "eth1"), "tor-b": u.watchDiscovery("tor-b", "eth1"), "client": u.watchDiscovery("client", "eth3"),
	}
	u.bothUp("from the start of the lab")
	u.trafficPasses()
	u.defaultsLeadToTheRouters()

	u.linkFlaps()
	u.sessionWaitsForAnAdvertisement()
	u.bgpdDies()
	u.routerChangesItsAddress()
	u.trafficPasses()

	for _, name := range tors {
		checkAdvertisements(t, name, heard[name], u.mac("s1", linkTo[name]))
	}
	if got := heard["client"].all(func(d discovery) bool { return d.From == u.mac("s1", "eth3") && d.Type == advertisement }); len(got) > 0 {
		t.Errorf("advertisements on a link without a peer: %s", asJSON(got))
	}
}

// linkTo is the servers' link to each router.
var linkTo = map[string]string{"tor-a": "eth1", "tor-b": "eth2"}

type unnumbered struct{ *rig }

// checkAdvertisements looks at everything that the server with that MAC sent of
// router discovery on one link.
func checkAdvertisements(t *testing.T, name string, heard *instrument[discovery], mac string) {
	t.Helper()
	const sourceLinkLayerAddress = 1
	ours := heard.all(func(d discovery) bool { return d.From == mac && d.Type != 0 })
	advertisements := 0
	for _, d := range ours {
		if d.Type == advertisement {
			advertisements++
		}
		if d.HopLimit != 255 || d.Lifetime != 0 || !d.Source.IsLinkLocalUnicast() || !slices.Equal(d.Options, []byte{sourceLinkLayerAddress}) {
			t.Errorf("%s received %s", name, asJSON(d))
		}
	}
	if advertisements < 5 {
		t.Errorf("%s received %d advertisements: %s", name, advertisements, asJSON(ours))
	}
}

// bothUp waits until s1 has both sessions and both routers' kernels have both
// servers.
func (u unnumbered) bothUp(since string) {
	u.t.Helper()
	took := eventually(u.t, patience, func() error {
		s, err := u.status("s1")
		if err == nil && !s.established() {
			err = errors.New("sessions " + asJSON(s.Sessions))
		}
		return err
	})
	u.t.Logf("both sessions up %s: %s", since, ms(took))
	for _, name := range tors {
		u.leads(name, "eth1", "eth2")
	}
}

// leads waits until the kernel of a router sends both VIPs over exactly those
// links, to the server at their other end.
func (u unnumbered) leads(router string, links ...string) {
	u.t.Helper()
	server := map[string]string{"eth1": "s1", "eth2": "s2"}
	eventually(u.t, patience, func() error {
		for _, p := range vips {
			hops, err := u.hops(router, p)
			if err != nil {
				return err
			}
			if got := slices.Sorted(maps.Keys(hops)); !slices.Equal(got, links) {
				return fmt.Errorf("%s sends %s over %v, want %v", router, p, got, links)
			}
			for link, hop := range hops {
				if want := u.linkLocal(server[link], linkTo[router]); hop != want {
					return fmt.Errorf("%s sends %s to %s over %s, want %s", router, p, hop, link, want)
				}
			}
		}
		return nil
	})
}

// hops are the next hops of a router's kernel by link. FRR without kernel next hop
// objects writes an IPv4 route over IPv6 as one to 169.254.0.1, with the server's
// MAC as its neighbour: that counts as the link-local address with this MAC.
func (r *rig) hops(node string, p netip.Prefix) (map[string]netip.Addr, error) {
	type hop struct {
		Gateway netip.Addr
		Via     struct{ Host netip.Addr }
		Dev     string
	}
	var routes []struct {
		hop
		NextHops []hop
	}
	if err := r.ipJSON(node, &routes, "route show "+p.String()); err != nil {
		return nil, err
	}
	hops := make(map[string]netip.Addr)
	for _, route := range routes {
		for _, h := range append(route.NextHops, route.hop) {
			switch {
			case h.Via.Host.IsValid():
				hops[h.Dev] = h.Via.Host
			case h.Gateway.Is4():
				hops[h.Dev] = r.sameMAC(node, h.Dev, h.Gateway)
			case h.Gateway.IsValid():
				hops[h.Dev] = h.Gateway
			}
		}
	}
	return hops, nil
}

// sameMAC is the link-local neighbour with the MAC of another neighbour.
func (r *rig) sameMAC(node, link string, address netip.Addr) netip.Addr {
	var neighbors []struct {
		Dst  netip.Addr
		Addr string `json:"lladdr"`
	}
	if err := r.ipJSON(node, &neighbors, "neighbour show dev "+link); err != nil {
		return netip.Addr{}
	}
	for _, n := range neighbors {
		for _, m := range neighbors {
			if n.Dst == address && m.Addr == n.Addr && m.Dst.IsLinkLocalUnicast() && m.Dst.Is6() {
				return m.Dst
			}
		}
	}
	return netip.Addr{}
}

func (r *rig) ipJSON(node string, v any, command string) error {
	family := "-4"
	if strings.Contains(command, "::") {
		family = "-6"
	}
	if strings.HasPrefix(command, "neighbour") {
		family = ""
	}
	return json.Unmarshal([]byte(r.sh(node, fmt.Sprintf("ip %s -json %s", family, command))), v)
}

// linkLocal is the link-local address of a link.
func (r *rig) linkLocal(node, link string) netip.Addr {
	r.t.Helper()
	for _, a := range r.addresses(node, link) {
		if p := netip.MustParsePrefix(a); p.Addr().Is6() && p.Addr().IsLinkLocalUnicast() {
			return p.Addr()
		}
	}
	return netip.Addr{}
}

func (r *rig) mac(node, link string) string {
	r.t.Helper()
	return strings.TrimSpace(r.sh(node, "cat /sys/class/net/"+link+"/address"))
}

func (u unnumbered) trafficPasses() {
	u.t.Helper()
	for _, target := range []string{"http://192.0.2.10/", "http://[2001:db8:10::10]/"} {
		eventually(u.t, patience, func() error { return u.reaches(target) })
	}
}

// defaultsLeadToTheRouters checks the server's only way out, for IPv4 too.
func (u unnumbered) defaultsLeadToTheRouters() {
	u.t.Helper()
	for _, p := range []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")} {
		eventually(u.t, patience, func() error {
			hops, err := u.hops("s1", p)
			want := map[string]netip.Addr{"eth1": u.linkLocal("tor-a", "eth1"), "eth2": u.linkLocal("tor-b", "eth1")}
			if err == nil && !maps.Equal(hops, want) {
				err = fmt.Errorf("%s goes to %v, want %v", p, hops, want)
			}
			return err
		})
	}
}

// shows waits for a cause of the session of s1 with a router.
func (u unnumbered) shows(router, cause, detail string) (s session) {
	u.t.Helper()
	took := eventually(u.t, patience, func() error {
		a, err := u.status("s1")
		if err != nil {
			return err
		}
		if s = a.session(u.t, router); s.Cause != cause || !strings.Contains(s.Detail, detail) {
			return fmt.Errorf("%s is %s because of %s: %q, want %s: %q", router, s.State, s.Cause, s.Detail, cause, detail)
		}
		return nil
	})
	u.t.Logf("%s after %s: %s: %s", router, ms(took), s.Cause, s.Detail)
	return s
}

func (u unnumbered) linkFlaps() {
	u.t.Helper()
	u.sh("s1", "ip link set eth2 down")
	u.shows("tor-b", "LINK_DOWN", "link eth2 is down")
	u.leads("tor-b", "eth2")
	u.trafficPasses()
	u.sh("s1", "ip link set eth2 up")
	u.bothUp("after the link came up again")
	u.trafficPasses()
}

// sessionWaitsForAnAdvertisement lets s1 forget its router, which is silent. What
// a dead zebra leaves in the kernel goes, as with a reboot: the next one would
// take a next hop of its own new IPv6 route away with it.
func (u unnumbered) sessionWaitsForAnAdvertisement() {
	u.t.Helper()
	u.kill("tor-b")
	u.sh("tor-b", "ip route flush proto bgp; ip -6 route flush proto bgp")
	u.sh("s1", "ip link set eth2 down")
	u.shows("tor-b", "LINK_DOWN", "")
	u.sh("s1", "ip link set eth2 up")
	u.shows("tor-b", "NO_NEIGHBOR", "no router advertisement heard on eth2")
	u.start("tor-b")
	u.bothUp("after the router's start")
}

// bgpdDies leaves zebra alone, which still knows the link.
func (u unnumbered) bgpdDies() {
	u.t.Helper()
	u.signal("tor-a", syscall.SIGKILL)
	u.shows("tor-a", "REFUSED", "")
	u.start("tor-a")
	u.bothUp("after the start of bgpd")
}

// routerChangesItsAddress while the link stays up. The server gives the old one
// up once its session is over and it has not answered for 5 s; its other session stays.
func (u unnumbered) routerChangesItsAddress() {
	u.t.Helper()
	const address = "fe80::abcd"
	other := u.mustStatus("s1").session(u.t, "tor-b")
	old := u.linkLocal("tor-a", "eth1")
	u.sh("tor-a", fmt.Sprintf("ip address add %s/64 dev eth1 nodad && ip address del %s/64 dev eth1", address, old))
	took := eventually(u.t, time.Minute, func() error {
		s, err := u.status("s1")
		if err != nil {
			return err
		}
		if x := s.session(u.t, "tor-a"); x.State != "ESTABLISHED" || !strings.HasPrefix(x.Address, address) {
			return fmt.Errorf("the session with tor-a is %s", asJSON(x))
		}
		return nil
	})
	u.t.Logf("session with the new address: %s", ms(took))
	for _, name := range tors {
		u.leads(name, "eth1", "eth2")
	}
	if s := u.mustStatus("s1").session(u.t, "tor-b"); s.Flaps != other.Flaps {
		u.t.Errorf("the other session flapped: %s", asJSON(s))
	}
}

// TestUnnumberedPeerIsBIRD has the router of examples/unnumbered that runs BIRD.
func TestUnnumberedPeerIsBIRD(t *testing.T) {
	t.Parallel()
	onePeer := func(text string) string {
		return strings.Replace(text, "    - {name: tor-b, interface: eth2, asn: external}\n", "", 1)
	}
	u := unnumbered{up(t, "unnumbered-bird.clab.yml", options{edits: map[string]func(string) string{"s1": onePeer}})}
	isUp := func(since string) {
		t.Helper()
		s := u.statusShows("s1", "the session with BIRD", agentStatus.established)
		t.Logf("up %s: %s", since, asJSON(s.Sessions))
		for _, p := range vips {
			eventually(t, patience, func() error {
				hops, err := u.hops("tor", p)
				if want := map[string]netip.Addr{"eth1": u.linkLocal("s1", "eth1")}; err == nil && !maps.Equal(hops, want) {
					err = fmt.Errorf("BIRD sends %s to %v, want %v", p, hops, want)
				}
				return err
			})
		}
		u.trafficPasses()
	}
	isUp("from the start of the lab")

	u.sh("s1", "ip link set eth1 down")
	u.shows("tor-a", "LINK_DOWN", "link eth1 is down")
	u.sh("s1", "ip link set eth1 up")
	isUp("after the link came up again")

	u.kill("tor")
	u.shows("tor-a", "REFUSED", "")
	u.start("tor")
	isUp("after BIRD's start")
}
