package checks

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

// BenchmarkHTTPProbe is one whole probe: connect, ask, judge, close. The server
// is a few lines in the same process, and counts.
func BenchmarkHTTPProbe(b *testing.B) {
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
	address := serve(b, func(c *net.TCPConn) {
		var buf [512]byte
		_, _ = c.Read(buf[:])
		_, _ = c.Write(answer)
	})
	benchmarkProbe(b, &HTTP{URL: "http://" + address + "/healthz", Status: []int{200}})
}

func BenchmarkTCPProbe(b *testing.B) {
	address := serve(b, func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) })
	benchmarkProbe(b, &TCP{Address: address})
}

func BenchmarkExecProbe(b *testing.B) {
	benchmarkProbe(b, &Exec{Command: []string{"/bin/true"}})
}

func BenchmarkDNSProbe(b *testing.B) {
	benchmarkProbe(b, &DNS{Server: serveDNS(b, right, nil), Name: "www.example"})
}

func BenchmarkFileProbe(b *testing.B) {
	name := filepath.Join(b.TempDir(), "ready")
	if err := os.WriteFile(name, []byte("ready"), 0o600); err != nil {
		b.Fatal(err)
	}
	benchmarkProbe(b, &File{Path: name, Exists: true, Contains: "ready"})
}

func benchmarkProbe(b *testing.B, k Kind) {
	c, err := k.Checker()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if r := c.Probe(b.Context()); r.Outcome != vip.Pass {
			b.Fatalf("%+v", r)
		}
	}
}

// BenchmarkApplyUnchanged is what a set of 1,000 checks costs that is applied
// again, as it is after each decision.
func BenchmarkApplyUnchanged(b *testing.B) {
	r := NewRunner(Options{Report: func(vip.Result) {}})
	set := make([]Probe, 1000)
	for i := range set {
		set[i].Config = valid(&HTTP{URL: "http://127.0.0.1/"})
		set[i].Name = fmt.Sprint("check", i)
		set[i].Interval = time.Hour
	}
	ctx := b.Context()
	for _, p := range set {
		r.probers[p.Name] = &prober{config: p.Config, done: make(chan struct{})}
	}
	b.ReportAllocs()
	for b.Loop() {
		r.replace(ctx, set)
	}
}
