package kernel

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/anyvip/anyvip/pkg/vip"
)

func TestAddsHostAddressesThatAreNoSource(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	a := start(t, t.TempDir(), v4, v6)
	for _, addr := range []netip.Addr{v4, v6} {
		f := a.until(addr, vip.AddressPresent)
		if !f.Ours || f.Link != "lo" || f.Detail != "" || len(f.Lost) != 0 || f.Since.IsZero() {
			t.Errorf("fact of %s: %+v", addr, f)
		}
	}
	const forever = 1<<32 - 1
	if got := onHost(t, v4); len(got) != 1 || got[0] != (ipAddr{Local: v4, Prefixlen: 32, Scope: "host", Valid: forever, Preferred: forever, Link: "lo"}) {
		t.Errorf("IPv4 on the host: %+v", got)
	}
	if got := onHost(t, v6); len(got) != 1 || got[0] != (ipAddr{Local: v6, Prefixlen: 128, Scope: "global", Deprecated: true, Nodad: true, Valid: forever, Link: "lo"}) {
		t.Errorf("IPv6 on the host: %+v", got)
	}
	for _, l := range a.latest().Links {
		if slices.ContainsFunc(l.Prefixes, func(p netip.Prefix) bool { return p.Addr() == v4 || p.Addr() == v6 }) {
			t.Errorf("link %s shows a VIP: %v", l.Name, l.Prefixes)
		}
	}
	a.engine.Apply(Desired{})
	a.untilNone()
	if got := append(onHost(t, v4), onHost(t, v6)...); len(got) != 0 {
		t.Errorf("left behind: %+v", got)
	}
}

// A host in a routed fabric often has its own address on lo and none on its
// links. The VIP is added first, and sorts first, so it would win.
func TestVIPIsNeverTheSource(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	ip(t, "link add eth0 type veth peer name eth1")
	ip(t, "link set eth1 up")
	ip(t, "link set eth0 up")
	a := start(t, t.TempDir(), v4, v6)
	a.until(v4, vip.AddressPresent)
	a.until(v6, vip.AddressPresent)
	ip(t, "addr add 198.51.100.1/32 dev lo")
	ip(t, "-6 addr add 2001:db8:ffff::1/128 dev lo nodad")
	ip(t, "route add default dev eth0 onlink via 198.51.100.254")
	ip(t, "-6 route add default dev eth0 via fe80::1")
	if got, want := sourceTo(t, "203.0.113.1"), "198.51.100.1"; got != want {
		t.Errorf("IPv4 source is %s, want %s", got, want)
	}
	if got, want := sourceTo(t, "2001:db8:9::1"), "2001:db8:ffff::1"; got != want {
		t.Errorf("IPv6 source is %s, want %s", got, want)
	}
	// The counter-proof: with ordinary attributes the VIP is the source.
	ip(t, "addr del 198.51.100.1/32 dev lo")
	ip(t, "addr add 192.0.2.99/32 dev lo")
	if got := sourceTo(t, "203.0.113.1"); got != "192.0.2.99" {
		t.Errorf("IPv4 source with an ordinary address is %s", got)
	}
}

// sourceTo is the address that the kernel picks for traffic to a host.
func sourceTo(t *testing.T, to string) string {
	t.Helper()
	c, err := net.Dial("udp", net.JoinHostPort(to, "9"))
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().String()
}

func TestPutsBackAtOnce(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	// With many addresses only a dump of all of them costs more: that one is shown, since how long it
	// takes under the race detector says nothing.
	for n, bound := range map[int]time.Duration{2: 10 * time.Millisecond, 1000: time.Second} {
		t.Run(fmt.Sprintf("%d VIPs", n), func(t *testing.T) {
			vips := manyVIPs(n)
			a := start(t, t.TempDir(), vips...)
			a.untilAll(vips, vip.AddressPresent)
			h := netlinkHandle(t)
			var gaps []time.Duration
			for i := range 20 {
				addr := vips[i%2]
				begin := time.Now()
				deleteVIP(t, h, addr)
				for !isLocal(t, h, addr) {
					if time.Since(begin) > 5*time.Second {
						t.Fatalf("%s is not back", addr)
					}
				}
				gaps = append(gaps, time.Since(begin))
				time.Sleep(sameLoss / 2) // every second one is a new loss of the same address
			}
			slices.Sort(gaps)
			median := gaps[len(gaps)/2]
			t.Logf("%d VIPs: from deletion to back: median %v, p90 %v, max %v", n, median, gaps[len(gaps)*9/10], gaps[len(gaps)-1])
			if median > bound {
				t.Errorf("median %v is more than %v", median, bound)
			}
			a.until(vips[0], vip.AddressPresent)
			if lost := a.latest().Addresses[vips[0]].Lost; len(lost) != keptLosses || !slices.IsSortedFunc(lost, time.Time.Compare) {
				t.Errorf("losses: %v", lost)
			}
			a.engine.Apply(Desired{})
			a.untilNone()
			a.stop()
		})
	}
}

func netlinkHandle(t *testing.T) *netlink.Handle {
	t.Helper()
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

func deleteVIP(t *testing.T, h *netlink.Handle, addr netip.Addr) {
	t.Helper()
	if err := h.AddrDel(nil, hostAddress(addr, link{index: 1})); err != nil {
		t.Fatalf("delete %s: %v", addr, err)
	}
}

// isLocal asks the routing table, in one exchange whatever the number of
// addresses.
func isLocal(t *testing.T, h *netlink.Handle, addr netip.Addr) bool {
	t.Helper()
	routes, err := h.RouteGet(net.IP(addr.AsSlice()))
	if errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EHOSTUNREACH) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	return len(routes) > 0 && routes[0].Type == unix.RTN_LOCAL
}

func TestDeleteLoopAlwaysEndsWithTheAddressBack(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	a := start(t, t.TempDir(), v4, v6)
	a.until(v4, vip.AddressPresent)
	a.until(v6, vip.AddressPresent)
	h := netlinkHandle(t)
	for i := range 40 {
		for _, addr := range []netip.Addr{v4, v6} {
			deleteVIP(t, h, addr)
			eventually(t, fmt.Sprintf("%s is back (%d)", addr, i), func() bool { return isLocal(t, h, addr) })
		}
		time.Sleep(50 * time.Millisecond)
	}
	a.until(v4, vip.AddressPresent)
	var absent, present int
	for _, r := range a.all() {
		switch r.Addresses[v4].State {
		case vip.AddressAbsent:
			absent++
		case vip.AddressPresent:
			present++
		case vip.AddressUnknown, vip.AddressTentative, vip.AddressRefused:
		}
	}
	if absent < 40 || present < 40 {
		t.Errorf("of 40 losses %d were reported, and %d returns", absent, present)
	}
	if r := a.latest(); r.Adds != 82 {
		t.Errorf("added %d times, want 82", r.Adds)
	}
}

func TestFlushAndLinkDown(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	a := start(t, t.TempDir(), v4, v6)
	a.until(v4, vip.AddressPresent)
	a.until(v6, vip.AddressPresent)
	out, err := exec.Command("ip", "-s", "addr", "flush", "dev", "lo").CombinedOutput() // gives up after ten rounds of ours
	t.Logf("flush: %v: %s", err, out)
	h := netlinkHandle(t)
	eventually(t, "both are back", func() bool { return isLocal(t, h, v4) && isLocal(t, h, v6) })
	f := a.untilBack(v4)
	if len(f.Lost) != 1 {
		t.Errorf("one flush counts as %d losses: %v", len(f.Lost), f.Lost)
	}

	ip(t, "link set lo down")
	f = a.until(v4, vip.AddressAbsent)
	t.Logf("lo down: %s", f.Detail)
	if want := "it is on lo, which is down; run: ip link set lo up"; f.Detail != want {
		t.Errorf("detail is %q, want %q", f.Detail, want)
	}
	if len(f.Lost) != 1 {
		t.Errorf("a link that is down counts as a loss: %v", f.Lost)
	}
	f = a.until(v6, vip.AddressAbsent)
	t.Logf("lo down: %s", f.Detail)
	if len(f.Lost) != 1 {
		t.Errorf("an IPv6 VIP that went with its link counts as lost: %v", f.Lost)
	}
	ip(t, "link set lo up")
	a.until(v4, vip.AddressPresent)
	a.until(v6, vip.AddressPresent)
	eventually(t, "both are local again", func() bool { return isLocal(t, h, v4) && isLocal(t, h, v6) })
}

func TestWrongAttributesAreSetRightWithoutAGap(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	a := start(t, t.TempDir(), v4, v6)
	a.until(v4, vip.AddressPresent)
	a.until(v6, vip.AddressPresent)
	a.stop()
	ip(t, "addr del "+v4.String()+"/32 dev lo")
	ip(t, "addr add "+v4.String()+"/32 dev lo") // scope global
	ip(t, "-6 addr change "+v6.String()+"/128 dev lo valid_lft 1000 preferred_lft 500")

	updates, done := make(chan netlink.RouteUpdate, 1000), make(chan struct{})
	if err := netlink.RouteSubscribe(updates, done); err != nil {
		t.Fatal(err)
	}
	b := start(t, a.dir, v4, v6)
	eventually(t, "attributes are right", func() bool {
		four, six := onHost(t, v4), onHost(t, v6)
		return len(four) == 1 && four[0].Scope == "host" && four[0].Prefixlen == 32 && len(six) == 1 && six[0].Deprecated && six[0].Valid == 1<<32-1
	})
	b.until(v4, vip.AddressPresent)
	b.until(v6, vip.AddressPresent)
	for _, r := range b.all() {
		if f, known := r.Addresses[v4]; known && f.State != vip.AddressPresent {
			t.Errorf("reported as %s: %s", f.State, f.Detail)
		}
	}
	close(done)
	for u := range updates {
		if u.Type == unix.RTM_DELROUTE && u.Table == unix.RT_TABLE_LOCAL {
			if one, _ := u.Dst.Mask.Size(); one == 32 && u.Dst.IP.Equal(net.IP(v4.AsSlice())) {
				t.Errorf("the local route went away in between: %v", u.Route)
			}
		}
	}
}

func TestAThousandVIPsAreAddedWellUnderASecond(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	vips := manyVIPs(1000)
	a := start(t, t.TempDir())
	eventually(t, "the first look", func() bool { return len(a.all()) > 0 })
	begin := time.Now()
	a.engine.Apply(Desired{Addresses: vips})
	a.untilAll(vips, vip.AddressPresent)
	added := time.Since(begin)
	begin = time.Now()
	a.engine.Apply(Desired{})
	a.untilNone()
	t.Logf("1,000 VIPs: added and reported in %v, removed in %v", added, time.Since(begin))
	if added > time.Second {
		t.Errorf("adding took %v", added)
	}
}

func TestNotificationOverflowIsHarmless(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	a := newAgent(t, t.TempDir())
	k, table, w := a.openParts()
	if err := w.setBuffer(1, false); err != nil { // the kernel makes the smallest of it
		t.Fatal(err)
	}
	stop := a.runOn(k, table, w)
	defer stop()
	a.engine.Apply(Desired{Addresses: []netip.Addr{v4}})
	a.until(v4, vip.AddressPresent)

	h := netlinkHandle(t)
	other := link{index: 1}
	for i := range 2500 { // 5,000 changes
		addr := netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)})
		if err := h.AddrAdd(nil, hostAddress(addr, other)); err != nil {
			t.Fatal(err)
		}
		if err := h.AddrDel(nil, hostAddress(addr, other)); err != nil {
			t.Fatal(err)
		}
		if i == 1250 {
			deleteVIP(t, h, v4)
		}
	}
	eventually(t, "the VIP is back", func() bool { return isLocal(t, h, v4) })
	if !a.log.has("kernel dropped notifications") {
		t.Error("the flood did not overflow the socket: nothing was tested")
	}
	if f := a.untilBack(v4); len(f.Lost) != 1 {
		t.Errorf("losses: %v", f.Lost)
	}
}

// Among what was dropped may be a link's state, although only addresses flooded.
func TestNotificationOverflowHintsAtLinksToo(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	w, err := openWatch(nobodys, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.setBuffer(1, false); err != nil {
		t.Fatal(err)
	}
	h := netlinkHandle(t)
	for range 100 { // and nobody receives
		if err := h.AddrAdd(nil, hostAddress(v4, link{index: 1})); err != nil {
			t.Fatal(err)
		}
		deleteVIP(t, h, v4)
	}
	var running sync.WaitGroup
	running.Go(w.run)
	defer running.Wait()
	defer w.close()
	for end := time.After(5 * time.Second); ; {
		select {
		case got := <-w.hints:
			if got == hintLinks {
				return
			}
		case <-end:
			t.Fatal("only addresses were hinted at")
		}
	}
}

func TestRunLeavesNothingBehind(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	start(t, t.TempDir()).stop() // whatever the runtime opens once
	files, goroutines := openFiles(t), runtime.NumGoroutine()
	for range 5 {
		a := start(t, t.TempDir(), v4)
		a.until(v4, vip.AddressPresent)
		a.stop()
	}
	if n := openFiles(t); n > files {
		t.Errorf("%d files are open, were %d", n, files)
	}
	eventually(t, "no more goroutines than before", func() bool { return runtime.NumGoroutine() <= goroutines })
}

func openFiles(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
