package gobgp

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/anyvip/anyvip/bgp"
	"github.com/anyvip/anyvip/pkg/vip"
)

// The ends of an unnumbered link, the same on every link.
const (
	linkThem = "fe80::1"
	linkUs   = "fe80::2"
)

// unnumbered takes the addresses of r's link away, and gives both ends
// link-local ones that are usable at once.
func unnumbered(r *router) *router {
	r.t.Helper()
	run(r.t, "ip", "link", "set", r.link, "addrgenmode", "none")
	run(r.t, "ip", "addr", "flush", "dev", r.link)
	run(r.t, "ip", "addr", "add", linkUs+"/64", "dev", r.link, "nodad")
	r.ip("link", "set", "eth0", "addrgenmode", "none")
	r.ip("addr", "flush", "dev", "eth0")
	r.ip("addr", "add", linkThem+"/64", "dev", "eth0", "nodad")
	return r
}

func linkPeer(r *router, name string) bgp.Peer {
	p := peerOf(r, name)
	p.Address = netip.MustParseAddr(linkThem).WithZone(r.link)
	return p
}

// birdUnnumbered is birdPeer at the end of an unnumbered link.
func birdUnnumbered(t testing.TB, id, protocols string) *router {
	protocols = strings.NewReplacer("local $THEM", `interface "eth0"; local `+linkThem, "$US", linkUs).Replace(protocols)
	return unnumbered(bird(t, id, protocols))
}

var birdExtended = strings.Replace(birdPeer, "ipv4 {", "ipv4 { extended next hop on;", 1)

const frrUnnumbered = `
hostname tor
router bgp 65000
 bgp router-id 10.7.255.9
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor eth0 interface remote-as external
 neighbor eth0 timers 3 9
 neighbor eth0 timers connect 1
 neighbor eth0 advertisement-interval 0
 address-family ipv6 unicast
  neighbor eth0 activate
 exit-address-family
`

// withZebra makes FRR's bgpd know its interfaces, and write routes to its
// kernel.
func withZebra(r *router) *router {
	r.t.Helper()
	needNamespaces(r.t, "/usr/lib/frr/zebra")
	frr, err := user.Lookup("frr") // zebra knows no -S: it wants a user of group frrvty
	if err != nil {
		r.t.Fatal(err)
	}
	uid, _ := strconv.Atoi(frr.Uid)
	gid, _ := strconv.Atoi(frr.Gid)
	if err := errors.Join(os.Chmod(filepath.Dir(r.dir), 0o711), os.Chown(r.dir, uid, gid)); err != nil {
		r.t.Fatal(err)
	}
	socket := filepath.Join(r.dir, "zserv")
	bgpd := r.start
	r.start = func() *exec.Cmd {
		if _, err := os.Stat(socket); err != nil {
			r.startZebra(socket)
		}
		cmd := bgpd()
		for i, arg := range cmd.Args {
			if arg == "-Z" { // without zebra
				cmd.Args = append(append(cmd.Args[:i:i], "-z", socket), cmd.Args[i+1:]...)
			}
		}
		return cmd
	}
	return r
}

func (r *router) startZebra(socket string) {
	r.t.Helper()
	zebra := r.exec("/usr/lib/frr/zebra", "-f", r.write("zebra.conf", ""), "-i", filepath.Join(r.dir, "zebra.pid"),
		"--vty_socket", r.dir, "-z", socket, "-P", "0")
	if err := zebra.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = zebra.Process.Kill(); _ = zebra.Wait() })
	eventually(r.t, 5*time.Second, "zebra listens", func() bool { _, err := os.Stat(socket); return err == nil })
}

// advertise makes us known to FRR by router advertisements with lifetime 0 (RFC
// 4861, section 4.2): until it hears one, it neither dials nor takes connections.
func (r *router) advertise() {
	r.t.Helper()
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, 255); err != nil {
		r.t.Fatal(err)
	}
	link, err := net.InterfaceByName(r.link)
	if err != nil {
		r.t.Fatal(err)
	}
	allNodes := &unix.SockaddrInet6{ZoneId: uint32(link.Index), Addr: netip.MustParseAddr("ff02::1").As16()}
	eventually(r.t, 5*time.Second, "FRR hears us", func() bool {
		const routerAdvertisement = 134
		_ = unix.Sendto(fd, append([]byte{routerAdvertisement}, make([]byte, 15)...), 0, allNodes)
		return strings.Contains(r.vtysh("show bgp neighbors eth0"), linkUs)
	})
}

// kernelRoute is what the router's kernel knows about a destination.
func (r *router) kernelRoute(destination string) string {
	family := "-4"
	if strings.Contains(destination, ":") {
		family = "-6"
	}
	out, _ := r.exec("ip", family, "route", "show", destination).CombinedOutput()
	return strings.Join(strings.Fields(string(out)), " ")
}

func TestFRRRoutesBothFamiliesOverAnUnnumberedLink(t *testing.T) {
	r := withZebra(unnumbered(frr(t, frrUnnumbered)))
	r.up()
	r.advertise()
	d := desired(linkPeer(r, "tor"))
	d.Peers[0].ASN = 0
	d.Announcements = []vip.Announcement{host("192.0.2.10"), host("2001:db8:10::10")}
	n := startNode(t, d)
	t.Logf("Established after %s", n.waitUp("tor", 5*time.Second))
	for destination, want := range map[string]string{"192.0.2.10": "via inet6 fe80::2 dev eth0", "2001:db8:10::10": "via fe80::2 dev eth0"} {
		eventually(t, 2*time.Second, destination+" in FRR's kernel", func() bool { return strings.Contains(r.kernelRoute(destination), want) })
	}
	eventually(t, time.Second, "both sent", func() bool { return len(n.sent("tor")) == 2 })
	if s := n.session("tor"); s.Local != netip.MustParseAddr(linkUs).WithZone(r.link) || s.Remote != d.Peers[0].Address || len(s.Families) != 2 || s.RemoteAS != 65000 {
		t.Errorf("%+v", s)
	}
	n.apply(func(d *bgp.Desired) { d.Announcements = nil })
	for _, destination := range []string{"192.0.2.10", "2001:db8:10::10"} {
		eventually(t, 2*time.Second, destination+" gone from FRR's kernel", func() bool { return r.kernelRoute(destination) == "" })
	}
}

// Both links have the same addresses at both ends, which a policy of GoBGP
// cannot tell apart.
func TestTwoLinksWithTheSameAddresses(t *testing.T) {
	inside := `protocol bgp tor { local $THEM as 65101; neighbor $US as 65101; direct; hold time 9;
		ipv4 { import all; export none; extended next hop on; }; ipv6 { import all; export none; }; }`
	for _, tt := range []struct {
		name           string
		second         string
		asn            uint32
		families, sent int // at the second
		ASPath         string
	}{
		{"alike", birdExtended, 65000, 2, 2, "65101 65101 65101"},
		{"the second takes no IPv4", birdPeer, 65000, 1, 1, "65101 65101 65101"},
		{"the second is iBGP", inside, 65101, 2, 2, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			one, two := birdUnnumbered(t, "10.7.255.1", birdExtended), birdUnnumbered(t, "10.7.255.2", tt.second)
			one.up()
			two.up()
			d := desired(linkPeer(one, "one"), linkPeer(two, "two"))
			d.Peers[1].ASN = tt.asn
			d.Announcements = []vip.Announcement{host("192.0.2.10"), host("2001:db8:10::10")}
			for i := range d.Announcements {
				d.Announcements[i].Prepend = 2
			}
			n := startNode(t, d)
			eventually(t, 10*time.Second, "what each should have been sent", func() bool {
				return len(n.sent("one")) == 2 && len(n.sent("two")) == tt.sent && len(n.session("two").Families) == tt.families
			})
			for r, path := range map[*router]string{one: "65101 65101 65101", two: tt.ASPath} {
				eventually(t, time.Second, "the route", func() bool {
					return strings.Contains(r.birdc("show route all 2001:db8:10::10/128"), "BGP.as_path: "+path+"\n")
				})
			}
			if got := strings.Contains(two.birdc("show route"), "192.0.2.10/32"); got != (tt.families == 2) {
				t.Errorf("IPv4 at the second: %t", got)
			}
			if !strings.Contains(one.birdc("show route"), "192.0.2.10/32") {
				t.Error("no IPv4 at the first")
			}
			since := n.session("two").Since
			n.apply(func(d *bgp.Desired) { d.Peers[0].Up, d.Peers[0].Text = false, "only the first" })
			eventually(t, time.Second, "the first closed", func() bool { return n.session("one").State == vip.Idle })
			eventually(t, time.Second, "the text at the first", func() bool { return strings.Contains(one.read("log"), "only the first") })
			if s := n.session("two"); s.Since != since || strings.Contains(two.read("log"), "only the first") {
				t.Errorf("the second: %+v", s)
			}
			n.apply(func(d *bgp.Desired) { d.Peers[0].Up = true })
			n.waitUp("one", 5*time.Second)
		})
	}
}

func TestPasswordAndTTLSecurityOnAnUnnumberedLink(t *testing.T) {
	b := birdUnnumbered(t, "10.7.255.1", strings.Replace(birdExtended, "hold time 9;", `hold time 9; password "secret"; ttl security on;`, 1))
	f := withZebra(unnumbered(frr(t, strings.Replace(frrUnnumbered, " neighbor eth0 timers 3 9",
		" neighbor eth0 password secret\n neighbor eth0 ttl-security hops 1\n neighbor eth0 timers 3 9", 1))))
	b.up()
	f.up()
	f.advertise()
	n := startNode(t, desired(linkPeer(b, "BIRD"), linkPeer(f, "FRR")))
	for _, password := range []string{"secret", "wrong"} {
		n.apply(func(d *bgp.Desired) {
			for i := range d.Peers {
				d.Peers[i].Password, d.Peers[i].TTLSecurity = password, true
			}
		})
		for _, name := range []string{"BIRD", "FRR"} {
			if password == "secret" {
				n.waitUp(name, 5*time.Second)
				continue
			}
			eventually(t, 8*time.Second, name+" is silent", func() bool {
				s := n.session(name)
				return s.Cause == vip.CauseSilent && strings.Contains(s.Detail, "another password there")
			})
		}
	}
}

func TestWhyASessionOverALinkIsNotUp(t *testing.T) {
	refused, bare, gone := unnumbered(newRouter(t)), unnumbered(newRouter(t)), unnumbered(newRouter(t))
	steady := birdUnnumbered(t, "10.7.255.1", birdExtended)
	steady.up()
	run(t, "ip", "addr", "flush", "dev", bare.link)
	run(t, "ip", "link", "del", gone.link)
	d := desired(linkPeer(refused, "refused"), linkPeer(bare, "bare"), linkPeer(gone, "gone"), linkPeer(steady, "steady"))
	d.Peers = append(d.Peers, bgp.Peer{Name: "unknown", Cause: vip.CauseNoNeighbor, Text: "no router is heard"})
	d.Announcements = []vip.Announcement{host("2001:db8:10::10")}
	n := startNode(t, d)
	for name, want := range map[string]struct {
		cause  vip.SessionCause
		detail string
	}{
		"refused": {vip.CauseRefused, "refuses TCP port 179"},
		"bare":    {vip.CauseLocal, "no ipv6 link local address"},
		"gone":    {vip.CauseLocal, "cannot open the session"},
	} {
		s := n.waitCause(name, want.cause, 5*time.Second)
		t.Logf("%s: %s: %s", name, s.Cause, s.Detail)
		if !strings.Contains(s.Detail, want.detail) {
			t.Errorf("%s: %q, want %q", name, s.Detail, want.detail)
		}
	}
	n.waitDown("unknown", time.Second)
	n.waitUp("steady", 5*time.Second)
	eventually(t, time.Second, "the other peer has its route", func() bool { return len(n.sent("steady")) == 1 })
	// A peer that is found, and a link that gets its address, need nothing else.
	run(t, "ip", "addr", "add", linkUs+"/64", "dev", bare.link, "nodad")
	n.waitCause("bare", vip.CauseRefused, 10*time.Second)
}

func TestASessionOverALinkThatIsMadeAnew(t *testing.T) {
	r := birdUnnumbered(t, "10.7.255.1", birdExtended)
	r.up()
	n := startNode(t, desired(linkPeer(r, "tor")))
	n.waitUp("tor", 5*time.Second)
	r.kill()
	run(t, "ip", "link", "del", r.link)
	n.apply(func(d *bgp.Desired) {
		d.Peers[0].Up, d.Peers[0].Cause, d.Peers[0].Address = false, vip.CauseLinkDown, netip.Addr{}
	})
	run(t, "ip", "link", "add", r.link, "type", "veth", "peer", "name", "eth0", "netns", r.ns)
	run(t, "ip", "link", "set", r.link, "up")
	r.ip("link", "set", "eth0", "up")
	unnumbered(r).up()
	n.apply(func(d *bgp.Desired) { d.Peers[0] = linkPeer(r, "tor") })
	t.Logf("Established after %s", n.waitUp("tor", 6*time.Second))
}

func TestASessionOverALinkThatFlaps(t *testing.T) {
	// BIRD rests for its error wait time (60 s) after a link went down.
	r := birdUnnumbered(t, "10.7.255.1", strings.Replace(birdExtended, "hold time 9;", "hold time 9; error wait time 1, 1;", 1))
	r.up()
	d := desired(linkPeer(r, "tor"))
	d.Peers[0].ASN = 0
	n := startNode(t, d)
	n.waitUp("tor", 5*time.Second)
	run(t, "ip", "link", "set", r.link, "down")
	start := time.Now()
	n.apply(func(d *bgp.Desired) {
		d.Peers[0].Up, d.Peers[0].Cause, d.Peers[0].Text = false, vip.CauseLinkDown, "link is down"
	})
	n.waitDown("tor", 500*time.Millisecond)
	t.Logf("closed after %s", time.Since(start))
	n.apply(func(d *bgp.Desired) { d.Peers[0].Address = netip.Addr{} }) // its neighbour is not known any more
	n.waitDown("tor", 500*time.Millisecond)
	run(t, "ip", "link", "set", r.link, "up")
	run(t, "ip", "addr", "replace", linkUs+"/64", "dev", r.link, "nodad")
	n.apply(func(d *bgp.Desired) { d.Peers[0] = linkPeer(r, "tor"); d.Peers[0].ASN = 0 })
	t.Logf("Established again after %s", n.waitUp("tor", 6*time.Second))
}
