package gobgp

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	packet "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/anyvip/anyvip/bgp"
	"github.com/anyvip/anyvip/pkg/vip"
)

const quitterPort = 17917

// quitter listens at an address as a peer that hangs up a moment after its
// session is Established, again and again, and counts how often.
func quitter(t *testing.T, address netip.Addr, ends *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", netip.AddrPortFrom(address, quitterPort).String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if comeUp(c, address, 9*time.Second) {
					ends.Add(1)
				}
			}()
		}
	}()
}

// comeUp is the peer's end of a session, up to Established.
func comeUp(c net.Conn, id netip.Addr, hold time.Duration) bool {
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := readMessage(c); err != nil {
		return false
	}
	open, err := handshake{asn: 65002, id: id, peer: bgp.Peer{HoldTime: hold}}.open()
	if err != nil {
		return false
	}
	keepalive, err := packet.NewBGPKeepAliveMessage().Serialize()
	if err != nil {
		return false
	}
	if _, err := c.Write(append(open, keepalive...)); err != nil {
		return false
	}
	m, err := readMessage(c)
	return err == nil && m.Header.Type == packet.BGP_MSG_KEEPALIVE
}

// Sessions that are over before we have looked at them keep nobody waiting, and
// after some quick ones each peer is left to GoBGP's pace.
func TestManyPeersThatQuitKeepNoCallerWaiting(t *testing.T) {
	needNamespaces(t)
	run(t, "ip", "link", "set", "lo", "up")
	const peers = 17
	var ends atomic.Int64
	want := bgp.Sessions{ASN: 65101, RouterID: netip.MustParseAddr("10.7.0.2"), AllowedPrefixes: desired().AllowedPrefixes}
	for i := range peers {
		address := netip.AddrFrom4([4]byte{127, 0, 7, byte(11 + i)})
		quitter(t, address, &ends)
		want.Peers = append(want.Peers, bgp.Peer{Name: fmt.Sprint("quitter-", i), Address: address, ASN: 65002, Port: quitterPort, HoldTime: 9 * time.Second, Up: true})
	}
	ctx, cancel := context.WithCancel(t.Context())
	s := New(slog.New(slog.DiscardHandler))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, func(bgp.Event) {}) }()
	defer func() { cancel(); <-done }()
	if _, err := s.Sessions(ctx, want); err != nil {
		t.Fatal(err)
	}
	var worst time.Duration
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.Now().Add(30 * time.Second)
	for i := 0; ends.Load() < (hasteTimes+1)*peers; i++ {
		if time.Now().After(limit) {
			t.Fatalf("%d sessions in 30 s", ends.Load())
		}
		start := time.Now()
		a := host("192.0.2.1")
		a.MED = uint32(i)
		if err := s.Set(ctx, []vip.Announcement{a}, nil); err != nil {
			t.Fatal(err)
		}
		worst = max(worst, time.Since(start))
		<-tick.C
	}
	t.Logf("%d sessions ended; a caller waited for %s at most", ends.Load(), worst)
	if worst > 1500*time.Millisecond { // the agent's deadman acts at 2 s
		t.Errorf("a caller waited for %s", worst)
	}

	// From here on nothing more is left behind: each queue belongs to a peer.
	before := queues()
	for from := ends.Load(); ends.Load() < from+2*peers; {
		if time.Now().After(limit.Add(30 * time.Second)) {
			t.Fatalf("only %d sessions more", ends.Load()-from)
		}
		<-tick.C
	}
	eventually(t, 5*time.Second, "no more queues than before", func() bool { return queues() <= before })
}

// queues are the goroutines that hold GoBGP's queues.
func queues() int {
	buf := make([]byte, 8<<20)
	return strings.Count(string(buf[:runtime.Stack(buf, true)]), "infiniteBuffer(")
}

func TestAHoldTimeOf0IsWorthAWarning(t *testing.T) {
	needNamespaces(t)
	run(t, "ip", "link", "set", "lo", "up")
	address := netip.MustParseAddr("127.0.7.9")
	l, err := net.Listen("tcp", netip.AddrPortFrom(address, quitterPort).String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		if c, err := l.Accept(); err == nil && comeUp(c, address, 0) {
			_, _ = io.Copy(io.Discard, c)
		}
	}()
	n := startNode(t, desired(bgp.Peer{Name: "careless", Address: address, ASN: 65002, Port: quitterPort, HoldTime: 9 * time.Second, Up: true}))
	n.waitUp("careless", 5*time.Second)
	if s := n.session("careless"); s.HoldTime != 0 || !strings.Contains(s.Warning, "hold time 0") {
		t.Errorf("%+v", s)
	}
}
