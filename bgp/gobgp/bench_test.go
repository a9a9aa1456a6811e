package gobgp

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	packet "github.com/osrg/gobgp/v4/pkg/packet/bgp"
	"golang.org/x/sys/unix"

	"github.com/anyvip/anyvip/bgp"
	"github.com/anyvip/anyvip/pkg/vip"
)

// rawPeer is a BGP peer of few lines, which says when routes come in.
type rawPeer struct {
	listener net.Listener
	routes   chan seen
	waits    atomic.Bool   // for our OPEN
	sessions chan net.Conn // that are up
}

// seen is one UPDATE.
type seen struct {
	at               time.Time
	added, withdrawn int
}

func startRawPeer(b testing.TB) *rawPeer {
	run(b, "ip", "link", "set", "lo", "up")
	l, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		b.Fatal(err)
	}
	p := &rawPeer{listener: l, routes: make(chan seen, 100_000), sessions: make(chan net.Conn, 16)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			p.serve(conn)
			_ = conn.Close()
		}
	}()
	b.Cleanup(func() { _ = l.Close(); <-done })
	return p
}

func (p *rawPeer) serve(conn net.Conn) {
	h := handshake{peer: bgp.Peer{HoldTime: time.Hour}, asn: 65000, id: netip.MustParseAddr("10.7.255.255")}
	open, _ := h.open()
	keepalive, _ := packet.NewBGPKeepAliveMessage().Serialize()
	r := bufio.NewReader(conn)
	if p.waits.Load() {
		_, _ = r.Peek(1)
	}
	_, _ = conn.Write(open)
	for {
		m, err := readMessage(r)
		if err != nil {
			return
		}
		switch body := m.Body.(type) {
		case *packet.BGPOpen:
			_, _ = conn.Write(keepalive)
			p.sessions <- conn
		case *packet.BGPKeepAlive:
			_, _ = conn.Write(keepalive)
		case *packet.BGPUpdate:
			p.routes <- seen{at: time.Now(), added: len(body.NLRI), withdrawn: len(body.WithdrawnRoutes)}
		}
	}
}

func (p *rawPeer) desired() bgp.Desired {
	port := p.listener.Addr().(*net.TCPAddr).Port
	return desired(bgp.Peer{Name: "tor", Address: netip.MustParseAddr("127.0.0.2"), ASN: 65000, Port: uint16(port), HoldTime: time.Hour, Up: true})
}

// send sends count routes, so many in each UPDATE, then a default route.
func (p *rawPeer) send(b testing.TB, count, each int) {
	b.Helper()
	conn := <-p.sessions
	attributes := []packet.PathAttributeInterface{packet.NewPathAttributeOrigin(packet.BGP_ORIGIN_ATTR_TYPE_IGP),
		packet.NewPathAttributeAsPath([]packet.AsPathParamInterface{packet.NewAs4PathParam(packet.BGP_ASPATH_ATTR_TYPE_SEQ, []uint32{65000})})}
	hop, err := packet.NewPathAttributeNextHop(netip.MustParseAddr("10.0.0.1"))
	if err != nil {
		b.Fatal(err)
	}
	attributes = append(attributes, hop)
	var out []byte
	update := func(prefixes ...netip.Prefix) {
		var nlri []packet.PathNLRI
		for _, p := range prefixes {
			n, _ := packet.NewIPAddrPrefix(p)
			nlri = append(nlri, packet.PathNLRI{NLRI: n})
		}
		octets, err := packet.NewBGPUpdateMessage(nil, attributes, nlri).Serialize()
		if err != nil {
			b.Fatal(err)
		}
		out = append(out, octets...)
	}
	var some []netip.Prefix
	for i := range count {
		some = append(some, netip.PrefixFrom(netip.AddrFrom4([4]byte{20 + byte(i>>16), byte(i >> 8), byte(i), 0}), 24))
		if len(some) == each || i == count-1 {
			update(some...)
			some = some[:0]
		}
	}
	update(netip.PrefixFrom(netip.IPv4Unspecified(), 0))
	if _, err := conn.Write(out); err != nil {
		b.Fatal(err)
	}
}

// wait takes UPDATEs until n routes came or went, and says when the last did.
func (p *rawPeer) wait(b testing.TB, n int) time.Time {
	b.Helper()
	limit := time.After(30 * time.Second)
	if n == 0 {
		return time.Now()
	}
	for {
		select {
		case s := <-p.routes:
			if n -= s.added + s.withdrawn; n <= 0 {
				return s.at
			}
		case <-limit:
			b.Fatalf("%d routes are missing", n)
		}
	}
}

func hosts(n int) []vip.Announcement {
	out := make([]vip.Announcement, n)
	for i := range out {
		a := netip.AddrFrom4([4]byte{10, 200, byte(i >> 8), byte(i)})
		out[i] = vip.Announcement{Prefix: netip.PrefixFrom(a, 32), LocalPref: 100}
	}
	return out
}

// BenchmarkApplyToWire is one change of one route, from Apply to the peer's
// read of the UPDATE, with others already announced.
func BenchmarkApplyToWire(b *testing.B) {
	needNamespaces(b)
	for _, others := range []int{0, 1000} {
		b.Run(fmt.Sprintf("others=%d", others), func(b *testing.B) {
			p := startRawPeer(b)
			d := p.desired()
			d.AllowedPrefixes = append(d.AllowedPrefixes, netip.MustParsePrefix("10.200.0.0/16"))
			base := hosts(others)
			d.Announcements = base
			n := startNode(b, d)
			n.waitUp("tor", 5*time.Second)
			p.wait(b, others)
			one := host("192.0.2.10")
			var took []time.Duration
			for i := 0; b.Loop(); i++ {
				one.MED = uint32(i)
				start := time.Now()
				n.apply(func(d *bgp.Desired) {
					d.Announcements = base
					if i%3 != 2 { // announce, change, withdraw
						d.Announcements = append(slices.Clip(base), one)
					}
				})
				took = append(took, p.wait(b, 1).Sub(start))
			}
			report(b, took)
		})
	}
}

// BenchmarkPeersTable is a peer's whole table, from its first octet until it is
// in GoBGP's Adj-RIB-In and a default route behind it is told, if it is asked
// for; and what it takes.
func BenchmarkPeersTable(b *testing.B) {
	needNamespaces(b)
	const count = 100_000
	for _, importDefault := range []bool{false, true} {
		for _, each := range []int{500, 1} { // in one UPDATE
			b.Run(fmt.Sprintf("import_default=%t/each=%d", importDefault, each), func(b *testing.B) {
				var took []time.Duration
				var heap, cpu float64
				for b.Loop() {
					p := startRawPeer(b)
					d := p.desired()
					d.ImportDefault = importDefault
					n := startNode(b, d)
					n.waitUp("tor", 5*time.Second)
					before, cpuBefore := heapInUse(), cpuTime(b)
					start := time.Now()
					p.send(b, count, each)
					poll := time.NewTicker(500 * time.Millisecond) // GoBGP counts the whole table each time
					for n.received(b) != count+1 || (n.hops("tor") != "") != importDefault {
						<-poll.C
					}
					poll.Stop()
					took = append(took, time.Since(start))
					cpu += cpuTime(b) - cpuBefore
					heap = heapInUse() - before
					n.stop()
				}
				report(b, took)
				b.ReportMetric(heap, "heap-MB")
				b.ReportMetric(cpu/float64(len(took)), "cpu-ms")
			})
		}
	}
}

// cpuTime is what this process took, in ms: other load does not matter to it.
func cpuTime(b testing.TB) float64 {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e6
}

func heapInUse() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / 1e6
}

// BenchmarkManyRoutes is a batch of many routes, from Apply to the peer's read
// of the last UPDATE; announced and withdrawn in turn.
func BenchmarkManyRoutes(b *testing.B) {
	needNamespaces(b)
	for _, count := range []int{1000, 10_000} {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			p := startRawPeer(b)
			d := p.desired()
			d.AllowedPrefixes = append(d.AllowedPrefixes, netip.MustParsePrefix("10.200.0.0/16"))
			n := startNode(b, d)
			n.waitUp("tor", 5*time.Second)
			all := hosts(count)
			var took []time.Duration
			for i := 0; b.Loop(); i++ {
				start := time.Now()
				n.apply(func(d *bgp.Desired) {
					d.Announcements = nil
					if i%2 == 0 {
						d.Announcements = all
					}
				})
				took = append(took, p.wait(b, count).Sub(start))
			}
			report(b, took)
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			b.ReportMetric(float64(m.HeapInuse)/1e6, "heap-MB")
		})
	}
}

func report(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	at := func(q float64) float64 { return float64(took[int(q*float64(len(took)-1))].Microseconds()) }
	b.ReportMetric(at(0.5), "p50-us")
	b.ReportMetric(at(0.99), "p99-us")
	b.ReportMetric(at(1), "max-us")
	b.ReportMetric(0, "ns/op")
}
