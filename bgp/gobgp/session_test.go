package gobgp

import (
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/anyvip/anyvip/bgp"
	"github.com/anyvip/anyvip/pkg/vip"
)

// withOption is birdPeer with one more line.
func withOption(option string) string {
	return strings.Replace(birdPeer, "hold time 9;", "hold time 9;\n  "+option, 1)
}

func TestTCPMD5(t *testing.T) {
	b, f := bird(t, "10.7.255.1", withOption(`password "secret";`)),
		frr(t, strings.Replace(frrPeer, " neighbor $US timers 3 9", " neighbor $US password secret\n neighbor $US timers 3 9", 1))
	b.up()
	f.up()
	n := startNode(t, desired(peerOf(b, "BIRD"), peerOf(f, "FRR")))
	for _, try := range []struct{ password, detail string }{
		{"", "a password that the peer wants"}, {"wrong", "another password there"}, {"secret", ""}, {"wrong", "another password there"},
	} {
		n.apply(func(d *bgp.Desired) {
			for i := range d.Peers {
				d.Peers[i].Password = try.password
			}
		})
		for _, name := range []string{"BIRD", "FRR"} {
			if try.detail == "" {
				n.waitUp(name, 5*time.Second)
				continue
			}
			eventually(t, 6*time.Second, name+" says "+try.detail, func() bool {
				s := n.session(name)
				return s.Cause == vip.CauseSilent && strings.Contains(s.Detail, try.detail)
			})
		}
	}
}

func TestTTLSecurity(t *testing.T) {
	r := bird(t, "10.7.255.1", withOption("ttl security on;"))
	r.up()
	p := peerOf(r, "tor")
	p.TTLSecurity = true
	n := startNode(t, desired(p))
	n.waitUp("tor", 5*time.Second)
	n.apply(func(d *bgp.Desired) { d.Peers[0].TTLSecurity, d.Peers[0].HoldTime = false, 3*time.Second })
	// BIRD takes the connection, and drops what comes on it sooner or later.
	eventually(t, 12*time.Second, "a cause", func() bool {
		s := n.session("tor")
		return s.State != vip.Established && (s.Cause == vip.CauseNoOpen || s.Cause == vip.CauseHoldExpired)
	})
}

func TestWhyASessionIsNotUp(t *testing.T) {
	cases := []struct {
		name   string
		router *router
		change func(p *bgp.Peer)
		cause  vip.SessionCause
		detail string
	}{
		{"nobody listens", bird(t, "10.7.255.1", ""), nil, vip.CauseRefused, "refuses TCP port 179"},
		{"a filter drops our SYN", filtered(bird(t, "10.7.255.1", birdPeer)), nil, vip.CauseSilent, "no answer from"},
		{"no route", newRouter(t), func(p *bgp.Peer) { p.Address, p.Multihop = netip.MustParseAddr("203.0.113.1"), 5 },
			vip.CauseUnreachable, "network is unreachable"},
		{"local_address is not ours", newRouter(t), func(p *bgp.Peer) { p.LocalAddress = netip.MustParseAddr("10.99.0.1") },
			vip.CauseLocal, "does not have local_address 10.99.0.1"},
		{"BIRD does not know us", bird(t, "10.7.255.1", strings.Replace(birdPeer, "neighbor $US", "multihop; neighbor 10.99.99.99 ", 1)), nil,
			vip.CausePeerClosed, "before it says OPEN"},
		{"BIRD has another AS", bird(t, "10.7.255.1", birdPeer), func(p *bgp.Peer) { p.ASN = 65009 },
			vip.CauseWrongAS, "another AS than 65009"},
		{"FRR has another AS", frr(t, frrPeer), func(p *bgp.Peer) { p.ASN = 65009 },
			vip.CauseWrongAS, "the peer says AS 65000, and asn here is 65009"},
		{"FRR expects another AS", frr(t, strings.Replace(frrPeer, "65101", "65102", 1)), nil,
			vip.CauseWrongAS, "the peer refuses our AS 65101"},
		{"BIRD expects another AS", bird(t, "10.7.255.1", strings.Replace(withOption("error wait time 4, 4;"), "65101", "65102", 1)), nil,
			vip.CauseWrongAS, "the peer refuses our AS 65101"},
		{"FRR shuts the session", frr(t, strings.Replace(frrPeer, " neighbor $US timers 3 9", " neighbor $US timers 3 9\n neighbor $US shutdown", 1)), nil,
			vip.CausePeerClosed, "before it says OPEN"},
		{"something else listens", dumb(newRouter(t)), nil, vip.CauseNoOpen, "says nothing"},
	}
	d := desired()
	for _, c := range cases {
		if c.router.start != nil {
			c.router.up()
		}
		p := peerOf(c.router, c.name)
		if c.change != nil {
			c.change(&p)
		}
		d.Peers = append(d.Peers, p)
	}
	n := startNode(t, d)
	for _, c := range cases {
		start := time.Now()
		for s := n.session(c.name); s.Cause != c.cause || !strings.Contains(s.Detail, c.detail); s = n.session(c.name) {
			if time.Since(start) > 15*time.Second {
				t.Errorf("%s: %s %s %q, want %s with %q", c.name, s.State, s.Cause, s.Detail, c.cause, c.detail)
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		s := n.session(c.name)
		t.Logf("%s: %s, %s: %s", c.name, s.State, s.Cause, s.Detail)
	}
}

// filtered makes the router answer nothing that dials it, as a filter would.
func filtered(r *router) *router {
	r.ip("route", "add", "blackhole", r.us.String())
	return r
}

// dumb makes the router take connections and say nothing.
func dumb(r *router) *router {
	r.start = func() *exec.Cmd {
		self, err := os.Executable()
		if err != nil {
			r.t.Fatal(err)
		}
		cmd := r.exec(self)
		cmd.Env = append(os.Environ(), dumbEnv+"=1")
		return cmd
	}
	return r
}

func TestAKilledRouterIsPeeredAgainWithin3s(t *testing.T) {
	n := startNode(t, desired())
	var killed []*killing
	for _, away := range []time.Duration{0, time.Second, 3500 * time.Millisecond, 12 * time.Second} {
		killed = append(killed,
			&killing{name: "BIRD", r: bird(t, "10.7.255.1", birdPeer), away: away},
			&killing{name: "FRR", r: frr(t, frrPeer), away: away})
	}
	n.apply(func(d *bgp.Desired) {
		d.Announcements = []vip.Announcement{host("192.0.2.10")}
		for _, k := range killed {
			k.r.up()
			k.name += " away for " + k.away.String()
			d.Peers = append(d.Peers, peerOf(k.r, k.name))
		}
	})
	for _, k := range killed {
		n.waitUp(k.name, 8*time.Second)
	}
	for _, k := range killed {
		k.r.kill()
	}
	gone := time.Now()
	for _, k := range killed { // sorted by how long they are away
		eventually(t, time.Second, k.name+" not Established", func() bool { return n.session(k.name).State != vip.Established })
		<-time.After(time.Until(gone.Add(k.away))) // being away is the input, nothing is waited for
		k.r.up()
		k.back = time.Now()
	}
	for _, k := range killed {
		n.waitUp(k.name, 3*time.Second)
		s := n.session(k.name)
		took := s.Since.Sub(k.back)
		t.Logf("%s: Established %s after its return", k.name, took.Round(time.Millisecond))
		if took > 3*time.Second || s.Flaps != 1 {
			t.Errorf("%s: %s, %d flaps", k.name, took, s.Flaps)
		}
		eventually(t, time.Second, "sent again", func() bool { return len(n.sent(k.name)) == 1 })
	}
}

// killing is one router that goes away for a while.
type killing struct {
	name string
	r    *router
	away time.Duration
	back time.Time
}

func TestAFlappingPeerLeavesOthersAloneAndNothingBehind(t *testing.T) {
	steady, shaky := bird(t, "10.7.255.1", birdPeer), bird(t, "10.7.255.2", birdPeer)
	steady.up()
	shaky.up()
	d := desired(peerOf(steady, "steady"), peerOf(shaky, "shaky"))
	d.Announcements = []vip.Announcement{host("192.0.2.10")}
	n := startNode(t, d)
	n.waitUp("steady", 5*time.Second)
	n.waitUp("shaky", 5*time.Second)
	since, goroutines := n.session("steady").Since, runtime.NumGoroutine()
	const flaps = hasteTimes + 2
	for i := range flaps {
		shaky.birdc("disable tor")
		eventually(t, 2*time.Second, "shaky down", func() bool { return n.session("shaky").State != vip.Established })
		shaky.birdc("enable tor")
		limit := 5 * time.Second
		if i >= hasteTimes {
			limit = 12 * time.Second // GoBGP rests for 5 s, then dials
		}
		took := n.waitUp("shaky", limit)
		if slow := took > 4500*time.Millisecond; slow != (i >= hasteTimes) {
			t.Errorf("flap %d: back after %s", i+1, took)
		}
	}
	if s := n.session("steady"); s.Since != since || s.Flaps != 0 {
		t.Errorf("steady: %+v", s)
	}
	if f := n.session("shaky").Flaps; f != flaps {
		t.Errorf("shaky: %d flaps", f)
	}
	eventually(t, 5*time.Second, "as many goroutines as before", func() bool { return runtime.NumGoroutine() <= goroutines+2 })
}

func TestFRRsLogShowsOurText(t *testing.T) {
	r := frr(t, frrPeer)
	r.up()
	n := startNode(t, desired(peerOf(r, "tor")))
	n.waitUp("tor", 5*time.Second)
	n.apply(func(d *bgp.Desired) { d.Peers[0].Up, d.Peers[0].Text = false, "anyvip stops: maintenance" })
	eventually(t, 2*time.Second, "text in FRR's log", func() bool { return strings.Contains(r.read("log"), "anyvip stops: maintenance") })
	n.waitDown("tor", time.Second)
	n.apply(func(d *bgp.Desired) { d.Peers[0].Up = true })
	n.waitUp("tor", 5*time.Second)
}

func TestAbortSendsCeaseAtOnce(t *testing.T) {
	r := frr(t, frrPeer)
	r.up()
	n := startNode(t, desired(peerOf(r, "tor")))
	n.waitUp("tor", 5*time.Second)
	// Our own goroutine stands still, as a deadman finds it.
	release := make(chan struct{})
	n.speaker.requests <- func() { <-release }
	defer close(release)
	start := time.Now()
	n.speaker.Abort("anyvip: agent stands still")
	if took := time.Since(start); took > abortLimit+100*time.Millisecond {
		t.Errorf("Abort took %s", took)
	} else {
		t.Logf("Abort took %s", took)
	}
	eventually(t, time.Second, "text in FRR's log", func() bool { return strings.Contains(r.read("log"), "agent stands still") })
}

func TestAPassivePeerConnectsToUs(t *testing.T) {
	r := bird(t, "10.7.255.1", withOption(`password "secret";`))
	r.up()
	p := peerOf(r, "tor")
	p.Passive, p.Password = true, "secret"
	d := desired(p)
	d.ListenPort = 179
	d.Announcements = []vip.Announcement{host("192.0.2.10")}
	n := startNode(t, d)
	// BIRD's first attempt was refused; it waits connect delay time (5 s) or retry.
	t.Logf("Established after %s", n.waitUp("tor", 20*time.Second))
	eventually(t, time.Second, "route", func() bool { return strings.Contains(r.birdc("show route"), "192.0.2.10/32") })
	n.apply(func(d *bgp.Desired) { d.Peers[0].Passive = false })
	n.waitUp("tor", 10*time.Second)
}

func TestAChangedPeerIsRebuiltAlone(t *testing.T) {
	one, other := bird(t, "10.7.255.1", birdPeer), bird(t, "10.7.255.2", birdPeer)
	one.up()
	other.up()
	n := startNode(t, desired(peerOf(one, "one"), peerOf(other, "other")))
	n.waitUp("one", 5*time.Second)
	n.waitUp("other", 5*time.Second)
	since := n.session("other").Since
	n.apply(func(d *bgp.Desired) { d.Peers[0].HoldTime = 6 * time.Second })
	eventually(t, 5*time.Second, "another hold time", func() bool { return n.session("one").HoldTime == 6*time.Second })
	if s := n.session("other"); s.Since != since || s.Flaps != 0 {
		t.Errorf("other: %+v", s)
	}
	n.apply(func(d *bgp.Desired) { d.Peers[0].HoldTime, d.Peers[0].Up = 12*time.Second, false })
	n.waitDown("one", time.Second)
	n.apply(func(d *bgp.Desired) { d.Peers[0].Up = true })
	n.waitUp("one", 5*time.Second)
	n.apply(func(d *bgp.Desired) { d.RouterID = netip.MustParseAddr("10.7.0.3") }) // a new generation
	eventually(t, 5*time.Second, "both flapped and are back", func() bool {
		return n.session("one").State == vip.Established && n.session("other").State == vip.Established && n.session("other").Flaps == 1
	})
}
