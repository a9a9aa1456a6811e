package gobgp

import (
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/anyvip/anyvip/bgp"
	"github.com/anyvip/anyvip/pkg/vip"
)

// behind puts another namespace behind r, and returns it as a router of its own:
// one hop further away.
func behind(r *router) *router {
	r.t.Helper()
	far := *r
	far.ns, far.them = r.ns+"b", netip.MustParseAddr("10.8.0.2")
	run(r.t, "ip", "netns", "add", far.ns)
	r.t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", far.ns).Run() })
	r.ip("link", "add", "far", "type", "veth", "peer", "name", "eth0", "netns", far.ns)
	r.ip("addr", "add", "10.8.0.1/24", "dev", "far")
	r.ip("link", "set", "far", "up")
	run(r.t, "ip", "netns", "exec", r.ns, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
	far.ip("addr", "add", "10.8.0.2/24", "dev", "eth0")
	far.ip("link", "set", "eth0", "up")
	far.ip("link", "set", "lo", "up")
	far.ip("route", "add", "default", "via", "10.8.0.1")
	return &far
}

// A session from an address of our own choice, over a hop, to another port: with
// any of the three left out it does not come up.
func TestLocalAddressPortAndMultihop(t *testing.T) {
	needNamespaces(t, "bird", "birdc")
	const ours = "10.9.9.9"
	near := bird(t, "10.7.255.1", "")
	run(t, "ip", "route", "add", "10.8.0.0/24", "via", near.them.String())
	run(t, "ip", "addr", "add", ours+"/32", "dev", "lo")
	t.Cleanup(func() { _ = exec.Command("ip", "addr", "del", ours+"/32", "dev", "lo").Run() })
	near.ip("route", "add", ours, "via", near.us.String())
	far := behind(near)
	far.start = func() *exec.Cmd {
		return far.exec("bird", "-f", "-c", far.dir+"/bird.conf", "-s", far.dir+"/ctl", "-P", far.dir+"/pid")
	}
	far.birdConfig("10.7.255.1", strings.NewReplacer("OURS", ours).Replace(`
protocol bgp tor {
  local $THEM port 1179 as 65000;
  neighbor OURS as 65101;
  multihop 4;
  hold time 9;
  ipv4 { import all; export none; };
}`))
	far.up()
	p := peerOf(far, "tor")
	p.LocalAddress, p.Port, p.Multihop = netip.MustParseAddr(ours), 1179, 4
	d := desired(p)
	d.Announcements = []vip.Announcement{host("192.0.2.10")}
	n := startNode(t, d)
	n.waitUp("tor", 8*time.Second)
	eventually(t, 5*time.Second, "the route at BIRD", func() bool { return strings.Contains(far.birdc("show route"), "192.0.2.10/32") })
	if s := n.session("tor"); s.Local != p.LocalAddress {
		t.Errorf("the session's local address is %s", s.Local)
	}
	for name, change := range map[string]func(p *bgp.Peer){
		"multihop":      func(p *bgp.Peer) { p.Multihop = 0 },
		"port":          func(p *bgp.Peer) { p.Port = 179 },
		"local_address": func(p *bgp.Peer) { p.LocalAddress = netip.Addr{} },
	} {
		n.apply(func(d *bgp.Desired) { d.Peers[0] = p; change(&d.Peers[0]) })
		eventually(t, 12*time.Second, "a cause without "+name, func() bool {
			s := n.session("tor")
			return s.State != vip.Established && s.Cause != vip.CauseNone
		})
		t.Logf("without %s: %s: %s", name, n.session("tor").Cause, n.session("tor").Detail)
		n.apply(func(d *bgp.Desired) { d.Peers[0] = p })
		n.waitUp("tor", 15*time.Second)
	}
}

func TestTTLSecurityWithFRR(t *testing.T) {
	r := frr(t, strings.Replace(frrPeer, " neighbor $US timers 3 9", " neighbor $US ttl-security hops 1\n neighbor $US timers 3 9", 1))
	r.up()
	p := peerOf(r, "tor")
	p.TTLSecurity = true
	n := startNode(t, desired(p))
	n.waitUp("tor", 5*time.Second)
	n.apply(func(d *bgp.Desired) { d.Peers[0].TTLSecurity = false })
	eventually(t, 12*time.Second, "a cause without ttl_security", func() bool {
		s := n.session("tor")
		return s.State != vip.Established && s.Cause != vip.CauseNone
	})
}
