package lease

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/anyvip/anyvip/pkg/vip"
)

// BenchmarkTakeover adds addresses to eth1 of a namespace of its own: through the
// engine, from Apply to the report, with the socket alone, and with netlink's AddrAdd.
//
// What the kernel takes for an address grows with how many there are: it goes through
// those of the link for an IPv4 address, and through all of this host, and all multicast
// groups of the link, for an IPv6 address that is added or renewed. It takes ten times
// as long (2 ms each, with 1,000) while it still tells the link which groups were left,
// as here, where the addresses were removed a moment before; the first time, 1,000 IPv6
// addresses take 0.2 s (perf: mld_del_delrec).
func BenchmarkTakeover(b *testing.B) {
	if !inNamespace(b, "-test.bench=^BenchmarkTakeover$") {
		return
	}
	for _, n := range []int{1, 100, 1000} {
		for family, ips := range map[string][]netip.Addr{"IPv4": many(n), "IPv6": manySix(n)} {
			l := leasesOn(b, "eth1", 30*time.Second, ips...)
			b.Run(fmt.Sprintf("%s/%d/engine", family, n), func(b *testing.B) { benchEngine(b, l) })
			b.Run(fmt.Sprintf("%s/%d/socket", family, n), func(b *testing.B) { benchSocket(b, l) })
			b.Run(fmt.Sprintf("%s/%d/netlink", family, n), func(b *testing.B) { benchNetlink(b, l) })
		}
	}
}

func manySix(n int) []netip.Addr {
	out := make([]netip.Addr, n)
	for i := range out {
		out[i] = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 14: byte(i >> 8), 15: byte(i)})
	}
	return out
}

func perAddress(b *testing.B, l []Lease) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(l)), "ns/address")
}

func benchEngine(b *testing.B, l []Lease) {
	a, stop := start(b, b.TempDir(), released(l)...)
	a.until(b, vip.AddressAbsent, l...)
	for b.Loop() {
		a.engine.Apply(l)
		for a.latest().Addresses[l[0].Addr].State != vip.AddressPresent { // all are in one report
			time.Sleep(20 * time.Microsecond)
		}
		b.StopTimer()
		a.engine.Apply(released(l))
		a.until(b, vip.AddressAbsent, l...)
		b.StartTimer()
	}
	perAddress(b, l)
	stop()
}

func benchSocket(b *testing.B, l []Lease) {
	s, err := openSocket()
	if err != nil {
		b.Fatal(err)
	}
	defer s.close()
	all := func(v verb) {
		for i := 0; i < len(l); i += atOnce {
			var list []request
			for _, x := range l[i:min(i+atOnce, len(l))] {
				list = append(list, request{v, x.spot(), 122})
			}
			for _, err := range s.do(list) {
				if err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	for b.Loop() {
		all(add)
		b.StopTimer()
		all(remove)
		b.StartTimer()
	}
	perAddress(b, l)
}

func benchNetlink(b *testing.B, l []Lease) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	for b.Loop() {
		for _, x := range l {
			bits := x.Addr.BitLen()
			a := &netlink.Addr{IPNet: &net.IPNet{IP: x.Addr.AsSlice(), Mask: net.CIDRMask(bits, bits)}, LinkIndex: x.Index, ValidLft: 122, PreferedLft: 122}
			if x.Addr.Is6() {
				a.Flags = unix.IFA_F_NODAD
			}
			if err := h.AddrAdd(nil, a); err != nil {
				b.Fatal(err)
			}
		}
		b.StopTimer()
		for _, x := range l {
			bits := x.Addr.BitLen()
			if err := h.AddrDel(nil, &netlink.Addr{IPNet: &net.IPNet{IP: x.Addr.AsSlice(), Mask: net.CIDRMask(bits, bits)}, LinkIndex: x.Index}); err != nil {
				b.Fatal(err)
			}
		}
		b.StartTimer()
	}
	perAddress(b, l)
}

// BenchmarkPass is what the engine itself does in a pass, when there is nothing to do.
func BenchmarkPass(b *testing.B) {
	a := newAgent(nil, b.TempDir())
	e := a.engine
	h := newFakeHost()
	e.host, e.links, e.disk.ready = h, h, true
	var w []Lease
	for _, ip := range many(1000) {
		w = append(w, held(ip))
		e.disk.known[spot{ip, eth1}] = "eth1"
	}
	e.want(w)
	for b.Loop() {
		now := time.Now()
		e.pass(now)
		e.rest(now)
	}
}
