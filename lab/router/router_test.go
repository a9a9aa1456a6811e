package router

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/anyvip/anyvip/lab/labtest"
	"github.com/anyvip/anyvip/lab/watch"
	"github.com/anyvip/anyvip/lab/watch/nstest"
)

var (
	vip4 = netip.MustParsePrefix("192.0.2.10/32")
	vip6 = netip.MustParsePrefix("2001:db8:10::10/128")
)

// rack is a ToR with the router under test, a watcher beside it, and servers with real BIRDs.
type rack struct {
	t       *testing.T
	tor     *nstest.Host
	servers []*nstest.Host // s1, s2, s3 at 10.0.N.2 and fd00:N::2
	birds   []*exec.Cmd
	router  *exec.Cmd
	events  chan watch.Event
	seen    []watch.Event
	fib     map[netip.Prefix]watch.Event // the last one seen of each route
}

func newRack(t *testing.T, servers int, config string) *rack {
	labtest.Need(t, "root", "ip", "bird")
	r := &rack{t: t, tor: nstest.NewHost(t, "tor"), events: make(chan watch.Event, 10000), fib: map[netip.Prefix]watch.Event{}}
	var links []string
	for n := 1; n <= servers; n++ {
		s := nstest.NewHost(t, fmt.Sprintf("s%d", n))
		nstest.Join(r.tor, fmt.Sprintf("10.0.%d.1/30 fd00:%d::1/64", n, n), s, fmt.Sprintf("10.0.%d.2/30 fd00:%d::2/64", n, n))
		r.servers, links = append(r.servers, s), append(links, s.Name)
	}
	r.watch(append(links, vip4.String(), vip6.String()))
	r.startRouter(config)
	return r
}

func role(host *nstest.Host, role string, args ...string) *exec.Cmd {
	cmd := host.Command(append([]string{os.Args[0]}, args...)...)
	cmd.Env = append(os.Environ(), "ROUTER_TEST_ROLE="+role)
	return cmd
}

func (r *rack) watch(args []string) {
	cmd := role(r.tor, "watch", args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	r.tor.Start(cmd)
	go func() {
		defer close(r.events)
		for e, err := range watch.Decode(out) {
			if err != nil {
				return
			}
			r.events <- e
		}
	}()
	if e := r.next(time.After(10 * time.Second)); e.Kind != watch.Ready {
		r.t.Fatalf("the watcher's first event is %+v", e)
	}
}

func (r *rack) startRouter(config string) {
	file := filepath.Join(r.t.TempDir(), "router.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		r.t.Fatal(err)
	}
	r.router = role(r.tor, "router", file)
	out, err := r.router.StdoutPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	r.tor.Start(r.router)
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		r.t.Fatalf("router said %q, %v", line, err)
	}
}

// next waits for the watcher's next event.
func (r *rack) next(deadline <-chan time.Time) watch.Event {
	r.t.Helper()
	select {
	case e, ok := <-r.events:
		if !ok {
			r.t.Fatal("the watcher ended")
		}
		if e.Kind == watch.Lost {
			r.t.Errorf("the watcher lost something: %s", e.Lost)
		}
		if e.Kind == watch.FIB {
			r.fib[e.Route.Prefix] = e
		}
		r.seen = append(r.seen, e)
		return e
	case <-deadline:
		r.t.Fatalf("waited in vain; the kernel has\n%s\n%s", r.tor.Run("ip", "route"), r.tor.Run("ip", "-6", "route"))
		return watch.Event{}
	}
}

// route waits until the kernel's route to prefix has exactly these next hops; none means no route. It also checks
// that what the watcher says is what the kernel has.
func (r *rack) route(prefix netip.Prefix, hops ...string) watch.Event {
	r.t.Helper()
	deadline := time.After(15 * time.Second)
	for !slices.Equal(addrs(r.fib[prefix].Route), hops) {
		r.next(deadline)
	}
	family, kernel := "-4", ""
	if prefix.Addr().Is6() {
		family = "-6"
	}
	nstest.Eventually(r.t, func() string {
		kernel = r.tor.Run("ip", family, "route", "show", "proto", "bgp", prefix.String())
		for _, h := range hops {
			if !strings.Contains(kernel, "via "+h+" ") {
				return fmt.Sprintf("kernel route to %s has no %s:\n%s", prefix, h, kernel)
			}
		}
		if strings.Count(kernel, "via ") != len(hops) {
			return fmt.Sprintf("kernel route to %s, want %v:\n%s", prefix, hops, kernel)
		}
		return ""
	})
	return r.fib[prefix]
}

func addrs(route *watch.Route) []string {
	var out []string
	if route == nil {
		return nil
	}
	for _, a := range route.Addrs() {
		out = append(out, a.String())
	}
	return out
}

// announce configures the server's BIRD; attributes are statements of its export filter, "reject;" to withdraw.
func (r *rack) announce(n int, attributes string) {
	r.t.Helper()
	dir := r.birdDir(n)
	config := fmt.Sprintf(birdConfig, n, attributes)
	if err := os.WriteFile(filepath.Join(dir, "bird.conf"), []byte(config), 0o600); err != nil {
		r.t.Fatal(err)
	}
	host := r.servers[n-1]
	if len(r.birds) >= n && r.birds[n-1] != nil {
		host.Run("birdc", "-s", filepath.Join(dir, "ctl"), "configure")
		return
	}
	for len(r.birds) < n {
		r.birds = append(r.birds, nil)
	}
	r.birds[n-1] = startBIRD(host, dir)
}

func startBIRD(host *nstest.Host, dir string) *exec.Cmd {
	return host.Start(host.Command("bird", "-f", "-c", dir+"/bird.conf", "-s", dir+"/ctl", "-P", dir+"/pid"))
}

// birdDir is short, since the control socket's path must be.
func (r *rack) birdDir(n int) string {
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("anyvip-bird-%d-%d", os.Getpid(), n))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

const birdConfig = `
router id 10.0.%[1]d.2;
protocol device {}
protocol static { ipv4; route 192.0.2.10/32 blackhole; route 192.0.2.0/24 blackhole; }
protocol static { ipv6; route 2001:db8:10::10/128 blackhole; }
filter outgoing {
	%[2]s
	accept;
}
template bgp tor {
	local as 6510%[1]d;
	hold time 9; connect delay time 0; connect retry time 1; error wait time 1, 2;
}
protocol bgp tor4 from tor { neighbor 10.0.%[1]d.1 as 65000; ipv4 { import none; export filter outgoing; next hop self; }; }
protocol bgp tor6 from tor { neighbor fd00:%[1]d::1 as 65000; ipv6 { import none; export filter outgoing; next hop self; }; }
`

// threePeers has single peers and ranges.
const threePeers = `
asn: 65000
router_id: 10.0.0.1
peers:
  - {address: 10.0.1.2, asn: 65101}
  - {address: "fd00:1::2", asn: 65101}
peer_ranges:
  - {prefix: 10.0.2.0/24, asn: 65102}
  - {prefix: "fd00:2::/64", asn: 65102}
  - {prefix: 10.0.3.0/24, asn: 65103}
  - {prefix: "fd00:3::/64", asn: 65103}
`

func TestRouterFollowsBIRDs(t *testing.T) {
	r := newRack(t, 3, threePeers)
	for n := 1; n <= 3; n++ {
		r.announce(n, "")
	}
	r.route(vip4, "10.0.1.2", "10.0.2.2", "10.0.3.2")
	r.route(vip6, "fd00:1::2", "fd00:2::2", "fd00:3::2")
	if out := r.tor.Run("ip", "route", "show", "proto", "bgp", "192.0.2.0/24"); out != "" {
		t.Errorf("the router took a route that is no host route: %s", out)
	}

	t.Log("GRACEFUL_SHUTDOWN takes a server out while others are there")
	r.announce(3, "bgp_community.add((65535,0));")
	r.route(vip4, "10.0.1.2", "10.0.2.2")
	r.route(vip6, "fd00:1::2", "fd00:2::2")
	r.announce(3, "")
	r.route(vip4, "10.0.1.2", "10.0.2.2", "10.0.3.2")

	t.Log("a longer AS path takes a server out")
	r.announce(2, "bgp_path.prepend(65102); bgp_path.prepend(65102);")
	r.route(vip4, "10.0.1.2", "10.0.3.2")
	r.announce(2, "")
	r.route(vip4, "10.0.1.2", "10.0.2.2", "10.0.3.2")
	r.route(vip6, "fd00:1::2", "fd00:2::2", "fd00:3::2")

	t.Log("a withdraw, and how long it takes from the wire to the kernel")
	asked := time.Now()
	r.announce(1, "reject;")
	out := r.route(vip4, "10.0.2.2", "10.0.3.2")
	withdraw := r.onWire(asked, func(m *watch.Message) bool { return m.Withdraws(vip4) })
	if took := out.Time.Sub(withdraw.Time); took < 0 || took > time.Second {
		t.Errorf("the kernel route changed %v after the withdraw", took)
	} else {
		t.Logf("withdraw on the wire to kernel route: %v", took)
	}
	r.route(vip6, "fd00:2::2", "fd00:3::2")
	r.announce(1, "")
	r.route(vip4, "10.0.1.2", "10.0.2.2", "10.0.3.2")
	r.route(vip6, "fd00:1::2", "fd00:2::2", "fd00:3::2")

	t.Log("someone deletes the route (before links flap: BIRD may drop a session some seconds later)")
	r.tor.Run("ip", "route", "del", vip4.String())
	r.route(vip4)
	r.route(vip4, "10.0.1.2", "10.0.2.2", "10.0.3.2")

	t.Log("a link that goes takes its next hop along, and brings it back")
	r.servers[1].Run("ip", "link", "set", "tor", "down")
	r.route(vip4, "10.0.1.2", "10.0.3.2")
	r.servers[1].Run("ip", "link", "set", "tor", "up")
	r.servers[1].Run("ip", "addr", "replace", "fd00:2::2/64", "dev", "tor", "nodad") // IPv6 addresses go with the link
	r.route(vip4, "10.0.1.2", "10.0.2.2", "10.0.3.2")

	t.Log("our own link goes: the kernel drops next hops by itself")
	r.tor.Run("ip", "link", "set", "s3", "down")
	r.route(vip4, "10.0.1.2", "10.0.2.2")
	r.tor.Run("ip", "link", "set", "s3", "up")
	r.route(vip4, "10.0.1.2", "10.0.2.2", "10.0.3.2")

	t.Log("a speaker that dies")
	kill(t, r.birds[0], syscall.SIGKILL)
	r.route(vip4, "10.0.2.2", "10.0.3.2")
	r.birds[0] = nil
	r.announce(1, "")
	r.route(vip4, "10.0.1.2", "10.0.2.2", "10.0.3.2")

	t.Log("the router ends politely and leaves nothing")
	asked = time.Now()
	kill(t, r.router, syscall.SIGTERM)
	if err := r.router.Wait(); err != nil {
		t.Errorf("router: %v", err)
	}
	r.route(vip4)
	if out := r.tor.Run("ip", "-6", "route", "show", "proto", "bgp"); out != "" {
		t.Errorf("left behind: %s", out)
	}
	cease := r.onWire(asked, func(m *watch.Message) bool { return m.Type == watch.Notification && m.Src.Port() == 179 })
	if n := cease.Message.Notified; n.Code != 6 {
		t.Errorf("the router's last word was %+v, not a Cease", *n)
	}
}

func TestRouterRemovesLeftoversOfAKilledOne(t *testing.T) {
	r := newRack(t, 1, threePeers)
	r.announce(1, "")
	r.route(vip4, "10.0.1.2")
	kill(t, r.router, syscall.SIGKILL)
	_ = r.router.Wait()
	kill(t, r.birds[0], syscall.SIGKILL)
	if out := r.tor.Run("ip", "route", "show", "proto", "bgp"); out == "" {
		t.Fatal("a killed router should leave its route")
	}
	r.startRouter(threePeers)
	r.route(vip4)
}

func TestRouterWantsThePassword(t *testing.T) {
	key := filepath.Join(t.TempDir(), "md5")
	if err := os.WriteFile(key, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRack(t, 1, "asn: 65000\nrouter_id: 10.0.0.1\npeer_ranges:\n  - {prefix: 10.0.0.0/16, asn: 65101, ttl_security: true, password_file: "+key+"}\n")
	dir := r.birdDir(1)
	config := strings.ReplaceAll(fmt.Sprintf(birdConfig, 1, ""), "local as 65101;", "local as 65101; password \"secret\"; ttl security on;")
	if err := os.WriteFile(filepath.Join(dir, "bird.conf"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	startBIRD(r.servers[0], dir)
	r.route(vip4, "10.0.1.2")
}

func TestRouterTakesRoutesFromFRR(t *testing.T) {
	labtest.Need(t, "frr")
	r := newRack(t, 1, threePeers)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "bgpd.conf"), []byte(frrConfig), 0o644); err != nil {
		t.Fatal(err)
	}
	host := r.servers[0]
	// Without zebra, as root, with its own files: it touches nothing of the machine's FRR.
	host.Start(host.Command("/usr/lib/frr/bgpd", "-Z", "-S", "-P", "0", "-f", filepath.Join(dir, "bgpd.conf"),
		"-i", filepath.Join(dir, "pid"), "--vty_socket", dir, "--log", "stdout"))
	r.route(vip4, "10.0.1.2")
	m := r.onWire(time.Time{}, func(m *watch.Message) bool { return m.Announces(vip4) }).Message
	if a := m.Attributes; a.Origin != "igp" || !slices.Equal(a.ASPath, []uint32{65101}) || !slices.Equal(a.Communities, []string{"65101:7"}) {
		t.Errorf("attributes on the wire: %+v", *a)
	}
}

const frrConfig = `
router bgp 65101
 bgp router-id 10.0.1.2
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor 10.0.1.1 remote-as 65000
 neighbor 10.0.1.1 timers connect 1
 neighbor 10.0.1.1 advertisement-interval 0
 address-family ipv4 unicast
  network 192.0.2.10/32 route-map mark
 exit-address-family
!
route-map mark permit 10
 set community 65101:7
!
`

// onWire returns the newest message of this kind since then, and waits for one if there was none: the wire and the
// routes are watched side by side, so a message may be reported after its effect.
func (r *rack) onWire(since time.Time, is func(*watch.Message) bool) watch.Event {
	r.t.Helper()
	found := func(e watch.Event) bool { return e.Kind == watch.Wire && !e.Time.Before(since) && is(e.Message) }
	for _, e := range slices.Backward(r.seen) {
		if found(e) {
			return e
		}
	}
	for deadline := time.After(10 * time.Second); ; {
		if e := r.next(deadline); found(e) {
			return e
		}
	}
}

// kill signals the process inside nsenter, which has become it.
func kill(t *testing.T, cmd *exec.Cmd, signal syscall.Signal) {
	t.Helper()
	if err := cmd.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
}

func TestRouterTakesIPv6OverAnIPv4Session(t *testing.T) {
	r := newRack(t, 1, threePeers)
	config := `
router id 10.0.1.2;
protocol device {}
protocol static { ipv6; route 2001:db8:10::10/128 blackhole; }
protocol bgp tor {
	local as 65101; neighbor 10.0.1.1 as 65000;
	connect delay time 0; connect retry time 1; error wait time 1, 2;
	ipv6 { import none; export all; next hop address fd00:1::2; };
}
`
	dir := r.birdDir(1)
	if err := os.WriteFile(filepath.Join(dir, "bird.conf"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	startBIRD(r.servers[0], dir)
	r.route(vip6, "fd00:1::2")
}
