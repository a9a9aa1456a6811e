package lease

import (
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// monitor hears of every address that goes.
type monitor struct {
	mu   sync.Mutex
	gone map[netip.Addr]time.Time
}

func startMonitor(t *testing.T) *monitor {
	t.Helper()
	m := &monitor{gone: map[netip.Addr]time.Time{}}
	updates, done := make(chan netlink.AddrUpdate, 1000), make(chan struct{})
	if err := netlink.AddrSubscribeWithOptions(updates, done, netlink.AddrSubscribeOptions{ReceiveBufferSize: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	var hearing sync.WaitGroup
	hearing.Go(func() {
		for u := range updates {
			if a, ok := netip.AddrFromSlice(u.LinkAddress.IP); ok && !u.NewAddr {
				m.mu.Lock()
				m.gone[a.Unmap()] = time.Now()
				m.mu.Unlock()
			}
		}
	})
	t.Cleanup(func() { close(done); hearing.Wait() })
	return m
}

func (m *monitor) when(ip netip.Addr) (time.Time, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at, gone := m.gone[ip]
	return at, gone
}

// A process that is killed, or hangs, leaves no address behind, and until then none
// ever goes.
func TestNoAddressOutlivesAKilledProcess(t *testing.T)  { outlive(t, syscall.SIGKILL) }
func TestNoAddressOutlivesAStoppedProcess(t *testing.T) { outlive(t, syscall.SIGSTOP) }

func outlive(t *testing.T, signal syscall.Signal) {
	t.Parallel()
	if !inNamespace(t) {
		return
	}
	m := startMonitor(t)
	type victim struct {
		interval time.Duration
		leases   []Lease
		holder   *holder
		hitAt    time.Time
	}
	var victims []*victim
	for i, interval := range []time.Duration{10 * time.Millisecond, time.Second, 3 * time.Second} {
		v := &victim{interval: interval}
		v.leases = leasesOn(t, "eth1", interval, netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: byte(i)}))
		v.holder = startHolder(t, t.TempDir(), 0, v.leases...)
		victims = append(victims, v)
	}
	for _, v := range victims {
		for strings.Count(v.holder.line(t), "present ours=true") != 2 {
			continue
		}
	}
	time.Sleep(5 * time.Second) // to watch: several renewals of each
	for _, v := range victims {
		for _, l := range v.leases {
			if _, gone := m.when(l.Addr); gone {
				t.Errorf("interval %s: %s went while its process lived", v.interval, l.Addr)
			}
		}
	}
	for _, v := range victims {
		v.hitAt = time.Now()
		if err := v.holder.cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
	}
	for _, v := range victims {
		bound := 4*v.interval + 3*time.Second
		for _, l := range v.leases {
			for time.Since(v.hitAt) < bound+time.Second {
				if _, gone := m.when(l.Addr); gone {
					break
				}
				time.Sleep(5 * time.Millisecond)
			}
			at, gone := m.when(l.Addr)
			after := at.Sub(v.hitAt).Round(time.Millisecond)
			if !gone || after > bound || after < 4*v.interval || len(onHost(t, l.Addr)) != 0 {
				t.Errorf("interval %s, %s: %s gone %t, after %s; it may take %s to %s", v.interval, signal, l.Addr, gone, after, 4*v.interval, bound)
			}
			t.Logf("interval %s, %s: %s gone after %s of at most %s", v.interval, signal, l.Addr, after, bound)
		}
	}
}

// What lifetime.go builds on.
func TestWhenTheKernelRemoves(t *testing.T) {
	t.Parallel()
	if !inNamespace(t) {
		return
	}
	s, err := openSocket()
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	m, index := startMonitor(t), indexOf(t, "eth1")
	give := func(ip netip.Addr) time.Time {
		if err := s.do([]request{{renew, spot{ip, index}, 2}})[0]; err != nil {
			t.Fatal(err)
		}
		return time.Now()
	}
	life := func(given map[netip.Addr]time.Time) (shortest, longest time.Duration) {
		shortest = time.Hour
		for ip, at := range given {
			eventually(t, ip.String()+" goes", func() bool { _, gone := m.when(ip); return gone })
			gone, _ := m.when(ip)
			shortest, longest = min(shortest, gone.Sub(at)), max(longest, gone.Sub(at))
		}
		return shortest, longest
	}
	pair := func(i int) [2]netip.Addr {
		return [2]netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: byte(i)})}
	}

	alone := map[netip.Addr]time.Time{}
	for _, ip := range pair(1) { // each is alone in its family
		alone[ip] = give(ip)
	}
	least, most := life(alone)
	t.Logf("alone, a lifetime of 2 s lasts %s to %s", least, most)
	check := func() { // an older kernel has one timer for all namespaces, so that nobody is alone
		t.Helper()
		if least < 1900*time.Millisecond || most > 3050*time.Millisecond {
			t.Errorf("a lifetime of 2 s lasts %s to %s", least, most)
		}
	}
	check()

	staggered := map[netip.Addr]time.Time{}
	for i := range 12 {
		for _, ip := range pair(10 + i) {
			staggered[ip] = give(ip)
		}
		time.Sleep(97 * time.Millisecond)
	}
	least, most = life(staggered)
	t.Logf("one after another, it lasts %s to %s", least, most)
	check()
}
