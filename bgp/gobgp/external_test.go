package gobgp

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/anyvip/anyvip/bgp"
	"github.com/anyvip/anyvip/pkg/vip"
)

func external(r *router, name string) bgp.Peer {
	p := peerOf(r, name)
	p.ASN = 0
	return p
}

func TestTheASOfAnExternalPeerIsFoundOutAndKept(t *testing.T) {
	routers := map[string]*router{"BIRD": bird(t, "10.7.255.1", birdPeer), "FRR": frr(t, frrPeer)}
	d := desired(external(routers["BIRD"], "BIRD"), external(routers["FRR"], "FRR"))
	a := host("192.0.2.10")
	a.Prepend, a.LocalPref = 2, 250
	d.Announcements = []vip.Announcement{a}
	for _, r := range routers {
		r.up()
	}
	n := startNode(t, d)
	eventually(t, time.Second, "sessions without an AS", func() bool { return n.session("BIRD").Peer != "" })
	for name, r := range routers {
		t.Logf("%s: Established after %s", name, n.waitUp(name, 5*time.Second))
		eventually(t, time.Second, "sent as it was announced", func() bool { return n.sent(name)[a.Prefix].Equal(a) })
		if s := n.session(name); s.RemoteAS != 65000 {
			t.Errorf("%s: AS %d", name, s.RemoteAS)
		}
		r.kill()
		eventually(t, time.Second, name+" gone", func() bool { return n.session(name).State != vip.Established })
		if s := n.session(name); s.RemoteAS != 65000 {
			t.Errorf("%s: AS %d while it is away", name, s.RemoteAS)
		}
		back := time.Now()
		r.up()
		n.waitUp(name, 4*time.Second)
		t.Logf("%s: Established %s after its return", name, n.session(name).Since.Sub(back))
		if f := n.session(name).Flaps; f != 1 {
			t.Errorf("%s: %d flaps", name, f)
		}
	}
	for name, r := range routers {
		if strings.Contains(r.read("log"), "NOTIFICATION") || strings.Contains(r.read("log"), "Startup delayed") {
			t.Errorf("%s does not like to be asked:\n%s", name, r.read("log"))
		}
	}
}

func TestAnExternalPeerMayChangeItsASButNotToOurs(t *testing.T) {
	as := func(number string) string {
		return strings.Replace(withOption("error wait time 1, 1;"), "65000", number, 1)
	}
	r := bird(t, "10.7.255.1", as("65000"))
	r.up()
	n := startNode(t, desired(external(r, "tor")))
	n.waitUp("tor", 5*time.Second)
	for _, step := range []struct {
		as   string
		want func(s vip.Session) bool
	}{
		{"65101", func(s vip.Session) bool {
			return s.Cause == vip.CauseWrongAS && s.RemoteAS == 0 && strings.Contains(s.Detail, "the peer says AS 65101, which is ours, and asn here is external")
		}},
		{"4200000001", func(s vip.Session) bool { return s.State == vip.Established && s.RemoteAS == 4200000001 }},
	} {
		r.kill()
		r.birdConfig("10.7.255.1", as(step.as))
		r.up()
		took := eventually(t, 15*time.Second, "what AS "+step.as+" means", func() bool { return step.want(n.session("tor")) })
		t.Logf("AS %s after %s", step.as, took)
	}
}

// The causes are those of a peer whose AS number is configured.
func TestWhyAnExternalSessionIsNotUp(t *testing.T) {
	cases := []struct {
		name   string
		router *router
		change func(p *bgp.Peer)
		cause  vip.SessionCause
		detail string
	}{
		{"nobody listens", bird(t, "10.7.255.1", ""), nil, vip.CauseRefused, "refuses TCP port 179"},
		{"a filter drops our SYN", filtered(bird(t, "10.7.255.1", birdPeer)), nil, vip.CauseSilent, "no answer from"},
		{"nobody has the address", newRouter(t), func(p *bgp.Peer) { p.Address = p.Address.Next().Next() }, vip.CauseUnreachable, "no route to host"},
		{"no route", newRouter(t), func(p *bgp.Peer) { p.Address, p.Multihop = netip.MustParseAddr("203.0.113.1"), 5 },
			vip.CauseUnreachable, "network is unreachable"},
		{"local_address is not ours", newRouter(t), func(p *bgp.Peer) { p.LocalAddress = netip.MustParseAddr("10.99.0.1") },
			vip.CauseLocal, "does not have local_address 10.99.0.1"},
		{"BIRD does not know us", bird(t, "10.7.255.1", strings.Replace(birdPeer, "neighbor $US", "multihop; neighbor 10.99.99.99 ", 1)), nil,
			vip.CausePeerClosed, "before it says OPEN"},
		{"BIRD wants a password", bird(t, "10.7.255.1", withOption(`password "secret";`)), nil, vip.CauseSilent, "a password that the peer wants"},
		{"FRR expects another AS", frr(t, strings.Replace(frrPeer, "65101", "65102", 1)), nil, vip.CauseWrongAS, "the peer refuses our AS 65101"},
		{"FRR shuts the session", frr(t, strings.Replace(frrPeer, " neighbor $US timers 3 9", " neighbor $US timers 3 9\n neighbor $US shutdown", 1)), nil,
			vip.CausePeerClosed, "before it says OPEN"},
		{"something else listens", dumb(newRouter(t)), nil, vip.CauseNoOpen, "says nothing"},
		{"an iBGP peer", bird(t, "10.7.255.1", strings.Replace(birdPeer, "65000", "65101", 1)), nil, vip.CauseWrongAS, "which is ours"},
	}
	d := desired()
	for _, c := range cases {
		if c.router.start != nil {
			c.router.up()
		}
		p := external(c.router, c.name)
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
	// Whatever it was, a session that is taken away ends at once.
	n.apply(func(d *bgp.Desired) {
		for i := range d.Peers {
			d.Peers[i].Up = false
		}
	})
	for _, c := range cases {
		eventually(t, time.Second, c.name+" is Idle", func() bool {
			s := n.session(c.name)
			return s.State == vip.Idle && s.Cause == vip.CauseNone
		})
	}
}

// A peer that waits for the other side's OPEN hears ours.
func TestAnExternalPeerThatWaitsForOurOpen(t *testing.T) {
	p := startRawPeer(t)
	p.waits.Store(true)
	d := p.desired()
	d.Peers[0].ASN = 0
	n := startNode(t, d)
	n.waitUp("tor", 6*time.Second)
	if s := n.session("tor"); s.RemoteAS != 65000 {
		t.Errorf("%+v", s)
	}
}
