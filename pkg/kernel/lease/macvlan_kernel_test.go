package lease

import (
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

func TestAddressesWithAMACOfTheirOwn(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	quietARP(t)
	dir, ear := t.TempDir(), startEar(t)
	l := virtualOn(t, time.Second, v4, v6, linkLocal)
	four, six := macvlanOf(l[0]), macvlanOf(l[1])
	a, _ := start(t, dir, released(l)...)
	a.until(t, vip.AddressAbsent, l...)
	for name, mac := range map[string]string{four: "00:00:5e:00:01:33", six: "00:00:5e:00:02:33"} {
		m := macvlans(t)[name]
		if m.Address != mac || m.Link != "eth1" || m.up() || m.Linkinfo.Data.Mode != "private" || m.Alias != "anyvip, state in "+dir || m.MTU != 1500 {
			t.Errorf("%s: %+v", name, m)
		}
	}
	if m := macvlans(t)[six]; m.GenMode != "none" {
		t.Errorf("%s: addrgenmode %s", six, m.GenMode)
	}
	for path, want := range map[string]string{
		"ipv4/conf/" + four + "/arp_ignore": "1", "ipv4/conf/" + four + "/rp_filter": "2", "ipv6/conf/" + four + "/disable_ipv6": "1",
		"ipv4/conf/" + six + "/arp_ignore": "8", "ipv6/conf/" + six + "/accept_ra": "0", "ipv6/conf/" + six + "/autoconf": "0",
	} {
		if got := sysctlOf(t, path); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}

	for _, version := range []string{"1", "2"} { // 1 ms, or a tick of the kernel
		if got := sysctlOf(t, "ipv6/conf/"+six+"/mldv"+version+"_unsolicited_report_interval"); len(got) > 2 {
			t.Errorf("it would report groups of multicast until %s ms later", got)
		}
	}

	begin := time.Now()
	a.engine.Apply(l)
	a.until(t, vip.AddressPresent, l...)
	t.Logf("taken within %s, with polling", time.Since(begin))
	for _, x := range l {
		bits := x.Addr.BitLen()
		if got := onHost(t, x.Addr); len(got) != 1 || got[0].Link != macvlanOf(x) || got[0].Prefixlen != bits || got[0].Valid != 6 || got[0].Tentative {
			t.Errorf("%s: %+v", x.Addr, got)
		}
	}
	if !macvlans(t)[four].up() || !macvlans(t)[six].up() || !strings.Contains(ip(t, "-6 route show dev "+six), "fe80::/64") {
		t.Errorf("%+v\n%s", macvlans(t), ip(t, "-6 route show dev "+six))
	}
	ip(t, "link set eth1 mtu 1400")
	eventually(t, "the MTU follows, down", func() bool { return macvlans(t)[four].MTU == 1400 })
	ip(t, "link set eth1 mtu 1500")
	eventually(t, "and up", func() bool { return macvlans(t)[four].MTU == 1500 && macvlans(t)[six].MTU == 1500 })

	time.Sleep(2 * time.Second)
	if heard := ear.took(); len(heard) == 0 {
		t.Error("a renewal sent nothing: Going is needless on this kernel")
	}
	for i := range l {
		l[i].Going = true
	}
	a.engine.Apply(l)
	time.Sleep(100 * time.Millisecond)
	ear.took()
	time.Sleep(2 * time.Second) // a renewal comes after 1.5 s
	if heard := ear.took(); len(heard) != 0 {
		t.Errorf("one that goes sent %q", heard)
	}
	a.engine.Apply(released(l))
	a.until(t, vip.AddressAbsent, l...)
	ear.took() // of before it was down
	if macvlans(t)[four].up() || macvlans(t)[six].up() || len(onHost(t, v4))+len(onHost(t, v6)) != 0 {
		t.Errorf("%s", ip(t, "addr"))
	}
	time.Sleep(3 * time.Second) // as long as the kernel would say that it leaves groups of multicast
	if heard := ear.took(); len(heard) != 0 {
		t.Errorf("a Backup sent %q", heard)
	}
	a.engine.Apply(nil)
	eventually(t, "they are removed", func() bool { return len(macvlans(t)) == 0 })
}

// From the moment a candidate is there until it takes an address, and when nobody wants
// it any more, not one frame comes from its MAC; with router advertisements on the link,
// too.
func TestACandidateSendsNothingFromItsMAC(t *testing.T) {
	t.Parallel()
	if !inNamespace(t) {
		return
	}
	quietARP(t)
	ear := startEar(t)
	l := virtualOn(t, time.Second, v4, v6, linkLocal)
	a, _ := start(t, t.TempDir(), released(l)...)
	a.until(t, vip.AddressAbsent, l...)
	ip(t, "link set eth1 down")
	ip(t, "link set eth1 up")
	time.Sleep(3 * time.Second)
	a.engine.Apply(nil)
	eventually(t, "they are removed", func() bool { return len(macvlans(t)) == 0 })
	time.Sleep(time.Second)
	if heard := ear.took(); len(heard) != 0 {
		t.Errorf("sent %q", heard)
	}
}

func TestTheLinkBelowMustNotAnswerForThem(t *testing.T) {
	t.Parallel()
	if !inNamespace(t) {
		return
	}
	l := virtualOn(t, time.Second, v4)
	a, _ := start(t, t.TempDir(), released(l)...)
	says := func(what string) {
		t.Helper()
		eventually(t, what, func() bool { return strings.Contains(a.latest().Addresses[v4].Detail, what) })
		if f := a.latest().Addresses[v4]; f.State != vip.AddressRefused {
			t.Errorf("%+v", f)
		}
	}
	says("run: sysctl -w net.ipv4.conf.eth1.arp_ignore=1 net.ipv4.conf.eth1.arp_announce=2, and keep it in /etc/sysctl.d")
	quietARP(t)
	free := func() {
		t.Helper()
		for end := time.Now().Add(2 * lookEvery); a.latest().Addresses[v4].State != vip.AddressAbsent; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%+v", a.latest().Addresses[v4])
			}
		}
	}
	free()
	for setting, value := range map[string]string{"arp_ignore": "2", "arp_filter": "1", "proxy_arp": "1"} {
		run(t, "sysctl", "-qw", "net.ipv4.conf.all."+setting+"="+value)
		ip(t, "link set lo up") // sysctls send no event, links do
		ip(t, "link set lo mtu 60000")
		says(setting + " of all links must be at most")
		run(t, "sysctl", "-qw", "net.ipv4.conf.all."+setting+"=0")
		ip(t, "link set lo mtu 65536")
		free()
	}
}

func TestALinkThatGoesTakesItsMacvlanAlong(t *testing.T) {
	t.Parallel()
	if !inNamespace(t) {
		return
	}
	quietARP(t)
	l := virtualOn(t, time.Second, v4, v6)
	a, _ := start(t, t.TempDir(), l...)
	a.until(t, vip.AddressPresent, l...)
	before := macvlanOf(l[0])
	ip(t, "link set eth1 down")
	time.Sleep(100 * time.Millisecond)
	ip(t, "link set eth1 up")
	a.until(t, vip.AddressPresent, l...)
	ip(t, "link del "+before)
	eventually(t, "it is back", func() bool { return macvlans(t)[before].up() && len(onHost(t, v4)) == 1 })
	a.until(t, vip.AddressPresent, l...)

	ip(t, "link del eth1")
	eventually(t, "all are gone", func() bool { return len(macvlans(t)) == 0 })
	eventually(t, "it says why", func() bool { return strings.Contains(a.latest().Addresses[v4].Detail, "the link is gone") })
	ip(t, "link add eth1 type veth peer name peer1")
	ip(t, "link set peer1 up")
	ip(t, "link set eth1 up")
	quietARP(t)
	again := virtualOn(t, time.Second, v4, v6)
	a.engine.Apply(again)
	a.until(t, vip.AddressPresent, again...)
	if after := macvlanOf(again[0]); after == before || !macvlans(t)[after].up() {
		t.Errorf("%s, then %s: %+v", before, after, macvlans(t))
	}
}

func TestAnAdministratorsMacvlanStays(t *testing.T) {
	t.Parallel()
	if !inNamespace(t) {
		return
	}
	quietARP(t)
	l := virtualOn(t, time.Second, v4, v6)
	name := macvlanOf(l[0])
	ip(t, "link add "+name+" link eth1 address 00:00:5e:00:01:33 type macvlan mode bridge")
	ip(t, "link set "+name+" up")
	ip(t, "link add mv0 link peer1 type macvlan mode bridge")
	before := macvlans(t)
	a, _ := start(t, t.TempDir(), l...)
	a.until(t, vip.AddressRefused, l[0])
	a.until(t, vip.AddressPresent, l[1]) // the other family is another macvlan
	if f := a.latest().Addresses[v4]; !strings.Contains(f.Detail, "there is a link "+name+" on this host already") {
		t.Errorf("%+v", f)
	}
	a.engine.Apply(nil)
	eventually(t, "ours are gone", func() bool { return len(macvlans(t)) == 2 })
	for n, m := range before {
		if got := macvlans(t)[n]; got.Ifindex != m.Ifindex || got.up() != m.up() || got.Alias != "" {
			t.Errorf("before %+v, after %+v", m, got)
		}
	}
	// One of another name, up with the same MAC, is no obstacle until ours has to be up.
	ip(t, "link set "+name+" name other")
	a.engine.Apply(released(l))
	a.until(t, vip.AddressAbsent, l...)
	a.engine.Apply(l)
	a.until(t, vip.AddressRefused, l[0])
	if f := a.latest().Addresses[v4]; !strings.Contains(f.Detail, "end the other VRRP daemon") {
		t.Errorf("%+v", f)
	}
}

// What a killed agent leaves answers for as long as its addresses live, and is the next
// one's.
func TestAMacvlanOutlivesItsAgentAndItsAddressesDoNot(t *testing.T) {
	t.Parallel()
	if !inNamespace(t) {
		return
	}
	quietARP(t)
	m, ear, dir := startMonitor(t), startEar(t), t.TempDir()
	l := virtualOn(t, time.Second, v4, v6)
	lost := l[0] // of another VRID, that nobody wants afterwards
	lost.Addr, lost.MAC[5] = netip.MustParseAddr("192.0.2.77"), 52
	killed := startHolder(t, dir, 0, append(slices.Clone(l), lost)...)
	for strings.Count(killed.line(t), "present ours=true") != 3 {
		continue
	}
	hitAt := time.Now()
	if err := killed.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = killed.cmd.Wait()
	const bound = 7 * time.Second
	for _, x := range append(slices.Clone(l), lost) {
		for time.Since(hitAt) < bound+time.Second && len(onHost(t, x.Addr)) > 0 {
			time.Sleep(20 * time.Millisecond)
		}
		if at, gone := m.when(x.Addr); !gone || at.Sub(hitAt) > bound {
			t.Errorf("%s gone %t, after %s", x.Addr, gone, at.Sub(hitAt))
		}
	}
	before := macvlans(t)
	if len(before) != 3 {
		t.Fatalf("%+v", before)
	}
	ear.took()
	time.Sleep(3 * time.Second)
	if heard := ear.took(); len(heard) > 2 { // that the kernel leaves the group of the IPv6 address, twice at most
		t.Errorf("a dead agent's macvlans send %q", heard)
	}
	a, _ := start(t, dir, released(l)...)
	a.until(t, vip.AddressAbsent, l...)
	eventually(t, "they are adopted, down, and what nobody wants is gone", func() bool {
		now := macvlans(t)
		return len(now) == 2 && !now[macvlanOf(l[0])].up() && !now[macvlanOf(l[1])].up()
	})
	for _, x := range l {
		if got := macvlans(t)[macvlanOf(x)]; got.Ifindex != before[macvlanOf(x)].Ifindex {
			t.Errorf("made anew: %+v", got)
		}
	}
	a.engine.Apply(l)
	a.until(t, vip.AddressPresent, l...)
}

// 255 virtual routers, each with a macvlan of its own.
func TestManyMacvlans(t *testing.T) {
	t.Parallel()
	if !inNamespace(t) {
		return
	}
	quietARP(t)
	var l []Lease
	for i := range 255 {
		x := virtualOn(t, time.Second, netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}))[0]
		x.MAC[5] = byte(i + 1)
		l = append(l, x)
	}
	begin := time.Now()
	a, _ := start(t, t.TempDir(), released(l)...)
	limit := func(what string, holds func() bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); !holds(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("not within a minute: %s", what)
			}
		}
		t.Logf("%s: %s", what, time.Since(begin).Round(time.Millisecond))
		begin = time.Now()
	}
	limit("made", func() bool { return strings.Count(ip(t, "-br link"), "vip4-") == 255 })
	all := func(s vip.AddressState) func() bool {
		return func() bool {
			r := a.latest()
			return !slices.ContainsFunc(l, func(x Lease) bool {
				f := r.Addresses[x.Addr]
				return f.State != s || s == vip.AddressAbsent && f.Detail != ""
			})
		}
	}
	limit("ready", all(vip.AddressAbsent))
	a.engine.Apply(l)
	limit("taken", all(vip.AddressPresent))
	a.engine.Apply(released(l))
	limit("left", all(vip.AddressAbsent))
	a.engine.Apply(nil)
	for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if age := time.Since(a.engine.LastPass()); age > time.Second {
			t.Fatalf("the engine did nothing else for %s", age)
		}
	}
	limit("removed", func() bool { return strings.Count(ip(t, "-br link"), "vip4-") == 0 })
	eventually(t, "nothing is reported", func() bool { return len(a.latest().Addresses) == 0 })
}
