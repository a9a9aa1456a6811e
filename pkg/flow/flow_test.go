package flow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anyvip/anyvip/pkg/sockdiag"
	"github.com/anyvip/anyvip/pkg/vip"
)

// served is a listener and the connections to it, which send when told to.
type served struct {
	t    *testing.T
	addr netip.Addr
	l    net.Listener
	cs   []net.Conn
}

func serve(t *testing.T, listen, dial string) *served {
	t.Helper()
	l, err := net.Listen("tcp", listen)
	if err != nil {
		t.Fatal(err)
	}
	s := &served{t: t, l: l, addr: netip.MustParseAddr(dial)}
	t.Cleanup(func() {
		_ = l.Close()
		for _, c := range s.cs {
			_ = c.Close()
		}
	})
	return s
}

func (s *served) connect() net.Conn {
	s.t.Helper()
	port := netip.MustParseAddrPort(s.l.Addr().String()).Port()
	c, err := net.Dial("tcp", netip.AddrPortFrom(s.addr, port).String())
	if err != nil {
		s.t.Fatal(err)
	}
	d, err := s.l.Accept()
	if err != nil {
		s.t.Fatal(err)
	}
	s.cs = append(s.cs, c, d)
	return c
}

func mustLook(t *testing.T, set ...netip.Addr) map[netip.Addr]vip.Flows {
	t.Helper()
	found, err := look(set, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestConnectionsAreCounted(t *testing.T) {
	watched := []*served{serve(t, "127.0.53.1:0", "127.0.53.1"), serve(t, "[::]:0", "127.0.53.2"), serve(t, "[::1]:0", "::1")}
	other := serve(t, "127.0.53.3:0", "127.0.53.3")
	other.connect()
	var set []netip.Addr
	for i, s := range watched {
		for range i + 1 {
			s.connect()
		}
		set = append(set, s.addr)
	}
	found := mustLook(t, set...)
	for i, s := range watched {
		// Both ends of a connection to ::1 and from it have that address.
		if got := found[s.addr]; got.Open < i+1 || s.addr.Is4() && got.Open != i+1 || time.Since(got.Received) > time.Second {
			t.Errorf("%s: %+v, want %d open", s.addr, got, i+1)
		}
	}
	if _, there := found[other.addr]; there {
		t.Error("an address that nobody asked for")
	}
	// More addresses than the kernel is asked to sort out.
	for i := range sockdiag.MaxLocals {
		set = append(set, netip.AddrFrom4([4]byte{127, 1, byte(i >> 8), byte(i)}))
	}
	if got := mustLook(t, set...)[watched[1].addr]; got.Open != 2 {
		t.Errorf("of many: %+v", got)
	}
	for _, c := range watched[1].cs {
		_ = c.Close()
	}
	if got := mustLook(t, set...)[watched[1].addr]; got.Open != 0 || !got.Received.IsZero() {
		t.Errorf("after they were closed: %+v", got)
	}
}

func TestDataThatComesInIsSeen(t *testing.T) {
	s := serve(t, "127.0.53.4:0", "127.0.53.4")
	c := s.connect()
	begin := time.Now()
	timer := time.NewTimer(300 * time.Millisecond)
	<-timer.C // nothing is waited for: the silence is the input
	first := mustLook(t, s.addr)[s.addr].Received
	if d := first.Sub(begin); d > 100*time.Millisecond || d < -100*time.Millisecond {
		t.Errorf("silent since %s after the connection was made", d)
	}
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if d := mustLook(t, s.addr)[s.addr].Received.Sub(begin); d < 250*time.Millisecond {
		t.Errorf("data after 300 ms is seen as that of %s", d)
	}
}

// Two connections, of which one goes on receiving: the other one no longer counts once
// it was silent for vip.Quiet.
func TestConnectionsThatReceiveAreCounted(t *testing.T) {
	t.Parallel()
	s := serve(t, "127.0.53.5:0", "127.0.53.5")
	busy := s.connect()
	begin := time.Now()
	s.connect()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		wrote := time.Now()
		if _, err := busy.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		got := mustLook(t, s.addr)[s.addr]
		if time.Since(wrote) > vip.Quiet/2 {
			continue // this machine stood still: nobody knows what was found
		}
		if got.Open != 2 {
			t.Fatalf("%+v", got)
		}
		silent := time.Since(begin)
		if got.Receiving == 1 {
			if silent < vip.Quiet-100*time.Millisecond { // the kernel's clock is coarse
				t.Errorf("silent after %s", silent)
			}
			return
		}
		if got.Receiving != 2 || silent > vip.Quiet+5*time.Second {
			t.Fatalf("after %s: %+v", silent, got)
		}
		<-tick.C
	}
}

func TestItLooksWhileThereIsSomethingToWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var looks atomic.Int32
		var broken atomic.Bool
		var last atomic.Pointer[map[netip.Addr]vip.Flows]
		e := New(Options{Report: func(r map[netip.Addr]vip.Flows) { last.Store(&r) }, Log: slog.New(slog.DiscardHandler)})
		e.look = func(set []netip.Addr, now time.Time) (map[netip.Addr]vip.Flows, error) {
			looks.Add(1)
			if broken.Load() {
				return nil, errors.New("no memory")
			}
			return map[netip.Addr]vip.Flows{set[0]: {At: now}}, nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- e.Run(ctx) }()
		time.Sleep(10 * time.Second)
		if n := looks.Load(); n != 0 {
			t.Errorf("%d looks at nothing", n)
		}
		a := netip.MustParseAddr("192.0.2.1")
		for range 40 { // as often as the loop decides
			e.Apply([]netip.Addr{a})
			time.Sleep(50 * time.Millisecond)
		}
		if n := looks.Load(); n != 5 && n != 4 {
			t.Errorf("%d looks in 2 s", n)
		}
		broken.Store(true)
		time.Sleep(time.Second)
		if got := (*last.Load())[a].Detail; got != "no memory" {
			t.Errorf("detail %q", got)
		}
		e.Apply(nil)
		synctest.Wait()
		looks.Store(0)
		time.Sleep(10 * time.Second)
		if n := looks.Load(); n != 0 {
			t.Errorf("%d looks after the end", n)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func BenchmarkLook(b *testing.B) {
	a := netip.MustParseAddr("127.0.53.9")
	for _, n := range []int{1, 10_000} {
		set := []netip.Addr{a}
		for i := range n - 1 {
			set = append(set, netip.AddrFrom4([4]byte{127, 2, byte(i >> 8), byte(i)}))
		}
		b.Run(fmt.Sprint(n, "-addresses"), func(b *testing.B) {
			for b.Loop() {
				if _, err := look(set, time.Now()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
