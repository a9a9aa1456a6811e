package lease

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

func TestHeldAddressesAreOnTheHost(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	l := leasesOn(t, "eth1", time.Second, v4, v6)
	a, _ := start(t, t.TempDir(), released(l)...)
	a.until(t, vip.AddressAbsent, l...)
	a.engine.Apply(l)
	a.until(t, vip.AddressPresent, l...)
	if got := onHost(t, v4); len(got) != 1 || got[0] != (ipAddr{Local: v4, Prefixlen: 32, Scope: "global", Valid: 6, Preferred: 6, Link: "eth1"}) {
		t.Errorf("IPv4: %+v", got)
	}
	if got := onHost(t, v6); len(got) != 1 || got[0] != (ipAddr{Local: v6, Prefixlen: 128, Scope: "global", Nodad: true, Valid: 6, Preferred: 0, Link: "eth1"}) {
		t.Errorf("IPv6: %+v", got)
	}
	a.engine.Apply(released(l))
	a.until(t, vip.AddressAbsent, l...)
	if got := append(onHost(t, v4), onHost(t, v6)...); len(got) != 0 {
		t.Errorf("left behind: %+v", got)
	}
}

// Traffic that this host starts would die with the next takeover.
func TestAHeldAddressIsNoSource(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	ip(t, "addr add 192.0.2.1/24 dev eth1")
	ip(t, "-6 addr add 2001:db8:10::1/64 dev eth1 nodad")
	ip(t, "route add default via 192.0.2.254")
	ip(t, "-6 route add default via 2001:db8:10::fe")
	l := leasesOn(t, "eth1", time.Second, v4, v6)
	a, _ := start(t, t.TempDir(), l...)
	a.until(t, vip.AddressPresent, l...)
	for to, want := range map[string]string{"192.0.2.11": "192.0.2.1", "203.0.113.1": "192.0.2.1",
		"2001:db8:10::11": "2001:db8:10::1", "2001:db8:9::1": "2001:db8:10::1"} {
		if got := sourceTo(t, to); got != want {
			t.Errorf("source of traffic to %s is %s, want %s", to, got, want)
		}
	}
	ip(t, "-6 addr add 2001:db8:10::12/128 dev eth1 nodad") // the counter-proof
	if got := sourceTo(t, "2001:db8:10::13"); got != "2001:db8:10::12" {
		t.Errorf("source with an ordinary address is %s", got)
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

func TestARestartKeepsTheAddresses(t *testing.T) {
	t.Parallel()
	if !inNamespace(t) {
		return
	}
	m, dir := startMonitor(t), t.TempDir()
	gone := netip.MustParseAddr("192.0.2.77")
	l := leasesOn(t, "eth1", time.Second, v4, v6, gone)
	killed := startHolder(t, dir, 0, l...)
	for strings.Count(killed.line(t), "present ours=true") != 3 {
		continue
	}
	if err := killed.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = killed.cmd.Wait()
	a, _ := start(t, dir, l[:2]...)
	a.until(t, vip.AddressPresent, l[:2]...)
	for _, x := range l[:2] {
		if f := a.latest().Addresses[x.Addr]; !f.Ours {
			t.Errorf("not adopted: %+v", f)
		}
	}
	time.Sleep(8 * time.Second) // longer than the lifetime that was left
	if _, went := m.when(gone); !went {
		t.Error("what is not wanted is still there")
	}
	for _, x := range l[:2] {
		if _, went := m.when(x.Addr); went || len(onHost(t, x.Addr)) != 1 {
			t.Errorf("%s went", x.Addr)
		}
	}
}

func TestAnAdministratorsAddressesStay(t *testing.T) {
	t.Parallel()
	if !inNamespace(t) {
		return
	}
	inSubnet := netip.MustParseAddr("192.0.2.20")
	ip(t, "addr add 192.0.2.20/24 dev eth1")
	ip(t, "-6 addr add 2001:db8:10::10/64 dev eth1 nodad")
	all := func() string { return ip(t, "addr") }
	eventually(t, "both ends of the link have settled", func() bool {
		a := all()
		return strings.Count(a, "inet6 fe80::") == 2 && strings.Count(a, "state UP") == 2 && !strings.Contains(a, "tentative")
	})
	before := all()
	m := startMonitor(t)
	l := leasesOn(t, "eth1", 10*time.Millisecond, inSubnet, v6)
	a, _ := start(t, t.TempDir(), released(l)...)
	a.until(t, vip.AddressPresent, l...)
	a.engine.Apply(l)
	time.Sleep(3 * time.Second)
	for _, x := range []netip.Addr{inSubnet, v6} {
		if f := a.latest().Addresses[x]; f.State != vip.AddressPresent || f.Ours || f.Link != "eth1" {
			t.Errorf("fact: %+v", f)
		}
	}
	a.engine.Apply(nil)
	eventually(t, "nothing is reported", func() bool { return len(a.latest().Addresses) == 0 })
	if after := all(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.gone) != 0 {
		t.Errorf("went: %v", m.gone)
	}
}

// An address of mode ecmp is on lo, and falls back to a link.
func TestAnAddressOnLoIsOnTheLinkBesides(t *testing.T) {
	t.Parallel()
	if !inNamespace(t) {
		return
	}
	ip(t, "addr add "+v4.String()+"/32 dev lo scope host")
	ip(t, "-6 addr add "+v6.String()+"/128 dev lo preferred_lft 0 nodad")
	onLo := func() string {
		return ip(t, "addr show dev lo") + ip(t, "route get "+v4.String()) + ip(t, "-6 route get "+v6.String())
	}
	before := onLo()
	l := leasesOn(t, "eth1", 10*time.Millisecond, v4, v6)
	a, _ := start(t, t.TempDir(), l...)
	a.until(t, vip.AddressPresent, l...)
	for _, x := range []netip.Addr{v4, v6} {
		if f := a.latest().Addresses[x]; !f.Ours || f.Link != "eth1" {
			t.Errorf("fact: %+v", f)
		}
	}
	a.engine.Apply(nil)
	eventually(t, "nothing is reported", func() bool { return len(a.latest().Addresses) == 0 })
	if after := onLo(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

func TestWhatSomebodyTakesAwayIsBackAtOnce(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	l := leasesOn(t, "eth1", 30*time.Second, v4, v6) // no renewal comes in between
	a, _ := start(t, t.TempDir(), l...)
	a.until(t, vip.AddressPresent, l...)
	m := startMonitor(t)
	time.Sleep(stands)
	for _, x := range l {
		ip(t, "addr del dev eth1 "+netip.PrefixFrom(x.Addr, x.Addr.BitLen()).String())
		eventually(t, "it is back", func() bool { return len(onHost(t, x.Addr)) == 1 })
		went, _ := m.when(x.Addr)
		t.Logf("%s was seen to be back %s after it went, most of it by ip addr", x.Addr, time.Since(went).Round(time.Millisecond))
		eventually(t, "it is reported", func() bool { return len(a.latest().Addresses[x.Addr].Lost) == 1 })
	}
}

func TestWhatSomebodyMakesPermanentGetsItsLifetimeBack(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	l := leasesOn(t, "eth1", 30*time.Second, v4, v6) // no renewal comes in between
	a, _ := start(t, t.TempDir(), l...)
	a.until(t, vip.AddressPresent, l...)
	for _, x := range l {
		ip(t, "addr replace dev eth1 "+netip.PrefixFrom(x.Addr, x.Addr.BitLen()).String()+" valid_lft forever preferred_lft forever")
		eventually(t, "it has a lifetime", func() bool { got := onHost(t, x.Addr); return len(got) == 1 && got[0].Valid <= 122 })
	}
	a.engine.Apply(released(l))
	a.until(t, vip.AddressAbsent, l...)
}

// An IPv6 address goes with its link; here it is back before the link is.
func TestALinkThatIsDownIsNoError(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	ip(t, "link set eth1 down")
	l := leasesOn(t, "eth1", time.Second, v4, v6)
	a, _ := start(t, t.TempDir(), l...)
	a.until(t, vip.AddressPresent, l...)
	for _, state := range []string{"up", "down", "up"} {
		ip(t, "link set eth1 "+state)
		for _, x := range l {
			eventually(t, x.Addr.String()+" is on a link that is "+state, func() bool { return len(onHost(t, x.Addr)) == 1 })
			a.until(t, vip.AddressPresent, x)
		}
	}
	if !strings.Contains(ip(t, "-6 route show table local"), "local "+v6.String()+" dev eth1") {
		t.Error("the kernel does not take packets for the IPv6 address")
	}
}

func TestALinkThatIsGoneOrHasNoIPv6IsExplained(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	disable := "/proc/sys/net/ipv6/conf/eth1/disable_ipv6"
	if err := os.WriteFile(disable, []byte("1"), 0); err != nil {
		skip(t, err.Error())
	}
	l := leasesOn(t, "eth1", time.Second, v4, v6)
	a, _ := start(t, t.TempDir(), l...)
	a.until(t, vip.AddressPresent, l[0])
	a.until(t, vip.AddressRefused, l[1])
	if f := a.latest().Addresses[v6]; !strings.HasSuffix(f.Detail, "IPv6 is disabled there, run: sysctl -w net/ipv6/conf/eth1/disable_ipv6=0") {
		t.Errorf("fact: %+v", f)
	}
	if err := os.WriteFile(disable, []byte("0"), 0); err != nil {
		t.Fatal(err)
	}
	a.until(t, vip.AddressPresent, l...)
	ip(t, "link del eth1")
	a.until(t, vip.AddressAbsent, l...)
	eventually(t, "it says why", func() bool {
		return strings.Contains(a.latest().Addresses[v4].Detail, "is gone, a new one of that name")
	})
	ip(t, "link add eth1 type veth peer name peer1")
	again := leasesOn(t, "eth1", time.Second, v4, v6)
	a.engine.Apply(again)
	a.until(t, vip.AddressPresent, again...)
}

func TestWithoutPermissionItSaysWhatToDo(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	h := startHolder(t, t.TempDir(), syscall.CLONE_NEWUSER, leasesOn(t, "eth1", time.Second, v4)...)
	for {
		line := h.line(t)
		if strings.Contains(line, "refused") {
			if !strings.Contains(line, howToPermit) {
				t.Error(line)
			}
			return
		}
	}
}

func TestAThousandAddressesNeverExpire(t *testing.T) {
	t.Parallel()
	if !inNamespace(t) {
		return
	}
	l := leasesOn(t, "eth1", time.Second, many(1000)...)
	a, _ := start(t, t.TempDir(), released(l)...)
	a.until(t, vip.AddressAbsent, l...)
	m := startMonitor(t)
	begin := time.Now()
	a.engine.Apply(l)
	a.until(t, vip.AddressPresent, l...)
	t.Logf("1,000 addresses within %s, with polling", time.Since(begin))
	time.Sleep(8 * time.Second)
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.gone) != 0 {
		t.Errorf("%d went", len(m.gone))
	}
	if states := a.latest().Addresses; slices.ContainsFunc(l, func(x Lease) bool { return states[x.Addr].State != vip.AddressPresent }) {
		t.Error("not all are reported")
	}
}
