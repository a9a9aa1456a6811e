package gobgp

import (
	"context"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anyvip/anyvip/bgp"
	"github.com/anyvip/anyvip/pkg/vip"
)

// node is an engine with a real speaker, and what it reported last.
type node struct {
	t       testing.TB
	engine  *bgp.Engine
	speaker *Speaker
	desired bgp.Desired
	stop    func() // ends both, and waits for them

	mu     sync.Mutex
	report bgp.Report
}

func startNode(t testing.TB, d bgp.Desired) *node {
	t.Helper()
	out := io.Discard
	if testing.Verbose() && os.Getenv("ANYVIP_TEST_LOG") != "" {
		out = os.Stderr
	}
	level := slog.LevelDebug
	if _, ok := t.(*testing.B); ok {
		level = slog.LevelInfo
	}
	log := slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: level}))
	n := &node{t: t, speaker: New(log), desired: d}
	n.engine = bgp.New(bgp.Options{Speaker: n.speaker, Log: log, Report: func(r bgp.Report) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.report = r
	}})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = n.speaker.Run(ctx, n.engine.Notify) })
	wg.Go(func() { _ = n.engine.Run(ctx) })
	n.stop = func() { cancel(); wg.Wait() }
	t.Cleanup(n.stop)
	n.engine.Apply(d)
	return n
}

func (n *node) apply(change func(*bgp.Desired)) {
	d := n.desired
	d.Peers = append([]bgp.Peer(nil), d.Peers...)
	change(&d)
	n.desired = d
	n.engine.Apply(d)
}

func (n *node) session(peer string) vip.Session {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.report.Sessions[peer]
}

func (n *node) sent(peer string) map[netip.Prefix]vip.Announcement {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.report.Sent[peer]
}

func (n *node) waitUp(peer string, limit time.Duration) time.Duration {
	n.t.Helper()
	return eventually(n.t, limit, peer+" Established", func() bool { return n.session(peer).State == vip.Established })
}

// waitDown waits until a session is down that is kept down.
func (n *node) waitDown(peer string, limit time.Duration) vip.Session {
	n.t.Helper()
	eventually(n.t, limit, peer+" Idle, without a failure", func() bool {
		s := n.session(peer)
		return s.State == vip.Idle && s.Cause == vip.CauseNone && s.Detail == ""
	})
	return n.session(peer)
}

func (n *node) waitCause(peer string, want vip.SessionCause, limit time.Duration) vip.Session {
	n.t.Helper()
	start := time.Now()
	for n.session(peer).Cause != want {
		if time.Since(start) > limit {
			n.t.Fatalf("cause of %s is not %s within %s: %+v", peer, want, limit, n.session(peer))
		}
		time.Sleep(5 * time.Millisecond)
	}
	return n.session(peer)
}

func peerOf(r *router, name string) bgp.Peer {
	return bgp.Peer{Name: name, Address: r.them, ASN: 65000, Port: 179, HoldTime: 9 * time.Second, Up: true}
}

func desired(peers ...bgp.Peer) bgp.Desired {
	return bgp.Desired{ASN: 65101, RouterID: netip.MustParseAddr("10.7.0.2"), Peers: peers,
		AllowedPrefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8:10::/48")}}
}

func host(s string) vip.Announcement {
	a := netip.MustParseAddr(s)
	return vip.Announcement{Prefix: netip.PrefixFrom(a, a.BitLen()), LocalPref: 100}
}

const birdPeer = `
protocol bgp tor {
  local $THEM as 65000;
  neighbor $US as 65101;
  hold time 9;
  ipv4 { import all; export none; };
  ipv6 { import all; export none; };
}
`

func TestBIRDHearsAnnouncementsOfBothFamilies(t *testing.T) {
	r := bird(t, "10.7.255.1", birdPeer)
	r.up()
	p := peerOf(r, "tor")
	p.NextHop6 = r.us6
	d := desired(p)
	d.Announcements = []vip.Announcement{host("192.0.2.10"), host("2001:db8:10::10")}
	n := startNode(t, d)
	t.Logf("first Established after %s", n.waitUp("tor", 5*time.Second))
	eventually(t, time.Second, "both sent", func() bool { return len(n.sent("tor")) == 2 })
	eventually(t, time.Second, "routes at BIRD", func() bool {
		return strings.Contains(r.birdc("show route all 192.0.2.10/32"), "BGP.next_hop: "+r.us.String()) &&
			strings.Contains(r.birdc("show route all 2001:db8:10::10/128"), "BGP.next_hop: "+r.us6.String())
	})
	t.Log(r.birdc("show route all"), n.session("tor"))
	n.apply(func(d *bgp.Desired) { d.Announcements = nil })
	eventually(t, time.Second, "no routes at BIRD", func() bool { return !strings.Contains(r.birdc("show route"), "/") })
	eventually(t, time.Second, "nothing sent", func() bool { return len(n.sent("tor")) == 0 })
}
