package kernel

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/anyvip/anyvip/pkg/vip"
)

func TestDefaultRoutesOfEveryForm(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	uplinks(t, 3)
	const foreign4, foreign6 = "static/10 10.0.2.9@eth2", "static/1024 2001:db8:2::9@eth2"
	ip(t, "route add default via 10.0.2.9 metric 10 proto static")
	ip(t, "-6 route add default via 2001:db8:2::9 metric 1024 proto static")
	a := start(t, t.TempDir())
	index := linkIndex(t, "eth1")
	tests := []struct {
		name   string
		wanted string
		four   string
		six    string
	}{
		{"one next hop", "10.0.0.1 2001:db8:0::1", "10.0.0.1@eth0", "2001:db8::1@eth0"},
		{"two", "10.0.0.1 10.0.1.1 2001:db8:0::1 2001:db8:1::1", "10.0.0.1@eth0 10.0.1.1@eth1", "2001:db8:1::1@eth1 2001:db8::1@eth0"},
		{"two others", "10.0.1.1 10.0.2.1 2001:db8:1::1 2001:db8:2::1", "10.0.1.1@eth1 10.0.2.1@eth2", "2001:db8:1::1@eth1 2001:db8:2::1@eth2"},
		{"a third one", "10.0.0.1 10.0.1.1 10.0.2.1 2001:db8:0::1 2001:db8:1::1 2001:db8:2::1",
			"10.0.0.1@eth0 10.0.1.1@eth1 10.0.2.1@eth2", "2001:db8:1::1@eth1 2001:db8:2::1@eth2 2001:db8::1@eth0"},
		{"the same link-local address on two links, by name and by index", "fe80::1%eth0 fe80::1%" + strconv.Itoa(index), "", "fe80::1@eth0 fe80::1@eth1"},
		{"one family alone", "10.0.0.1", "10.0.0.1@eth0", ""},
		{"link-local and global", "fe80::1%eth0 2001:db8:1::1", "", "2001:db8:1::1@eth1 fe80::1@eth0"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a.engine.Apply(byWayOf(strings.Fields(test.wanted)...))
			four, six := []string{foreign4}, []string{foreign6}
			if test.four != "" {
				four = append(four, "137/20 "+test.four)
			}
			if test.six != "" {
				six = []string{"137/20 " + test.six, foreign6}
			}
			untilTable(t, vip.IPv4, four...)
			untilTable(t, vip.IPv6, six...)
		})
	}
	// RFC 8950: IPv4 by way of IPv6 routers, and beside an IPv4 one.
	for _, hops := range [][]string{{"fe80::1%eth0", "fe80::1%eth1"}, {"10.0.0.1", "2001:db8:1::1", "fe80::1%eth2"}} {
		d := Desired{Defaults: []vip.DefaultRoute{{Family: vip.IPv4}}}
		for _, h := range hops {
			d.Defaults[0].NextHops = append(d.Defaults[0].NextHops, netip.MustParseAddr(h))
		}
		a.engine.Apply(d)
		if f := a.untilDefault(vip.IPv4, strings.Join(hops, " ")); f.Detail != "" {
			t.Errorf("RFC 8950: %+v", f)
		}
	}
	untilTable(t, vip.IPv4, foreign4, "137/20 10.0.0.1@eth0 2001:db8:1::1@eth1 fe80::1@eth2")
	a.engine.Apply(Desired{})
	a.untilDefault(vip.IPv4, "")
	untilTable(t, vip.IPv4, foreign4)
	untilTable(t, vip.IPv6, foreign6)
	for _, r := range a.all() {
		for _, f := range r.Defaults {
			if f.Detail != "" {
				t.Errorf("reported %+v", f)
			}
		}
	}
}

func TestNoPacketLacksARouteWhileNextHopsChange(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	uplinks(t, 3)
	sets := []string{
		"10.0.0.1 2001:db8::1", "10.0.1.1 2001:db8:1::1", "10.0.0.1 10.0.1.1 2001:db8::1 2001:db8:1::1",
		"10.0.1.1 10.0.2.1 2001:db8:1::1 2001:db8:2::1", "10.0.0.1 10.0.1.1 10.0.2.1 2001:db8::1 2001:db8:1::1 2001:db8:2::1",
	}
	a := start(t, t.TempDir())
	a.engine.Apply(byWayOf(strings.Fields(sets[len(sets)-1])...))
	a.untilDefault(vip.IPv6, "2001:db8::1 2001:db8:1::1 2001:db8:2::1")
	four, six := startSender(t, "203.0.113.0"), startSender(t, "2001:db8:ffff::")
	begin, changes := time.Now(), 0
	for range 40 {
		for _, s := range sets {
			d := byWayOf(strings.Fields(s)...)
			a.engine.Apply(d)
			for _, r := range d.Defaults {
				a.untilDefault(r.Family, hopsOf(r))
			}
			changes++
		}
	}
	took := time.Since(begin)
	for name, s := range map[string]*sender{"IPv4": four, "IPv6": six} {
		s.stop()
		sent, failed, longest := s.counts()
		t.Logf("%s: %d changes in %v, %d packets sent, %d failed, longest gap %v", name, changes, took, sent, failed, longest)
		if failed > 0 || sent < changes {
			t.Errorf("%s: of %d packets %d failed during %d changes", name, sent, failed, changes)
		}
	}
}

func TestADeletedDefaultRouteIsBackAtOnce(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	uplinks(t, 2)
	a := start(t, t.TempDir())
	a.engine.Apply(byWayOf("10.0.0.1", "10.0.1.1", "2001:db8::1", "2001:db8:1::1"))
	a.untilDefault(vip.IPv6, "2001:db8::1 2001:db8:1::1")
	h := netlinkHandle(t)
	table := &mainTable{handle: h, dumps: h}
	eth0, eth1 := linkIndex(t, "eth0"), linkIndex(t, "eth1")
	routes := map[vip.Family]route{
		vip.IPv4: parseRoute(t, vip.IPv4, fmt.Sprintf("20 10.0.0.1@%d 10.0.1.1@%d", eth0, eth1)),
		vip.IPv6: parseRoute(t, vip.IPv6, fmt.Sprintf("20 2001:db8::1@%d 2001:db8:1::1@%d", eth0, eth1)),
	}
	for f, r := range routes {
		to := map[vip.Family]string{vip.IPv4: "203.0.113.0", vip.IPv6: "2001:db8:ffff::"}[f]
		s := startSender(t, to)
		var gaps []time.Duration
		for range 20 {
			gaps = append(gaps, untilBack(t, table, r, to))
			eventually(t, "both next hops are back", func() bool {
				list := routesOf(t, table, f)
				return len(list) == 1 && len(without(r.hops, list[0].hops)) == 0
			})
			time.Sleep(longRest) // of the engine: this measures the first of a fight
		}
		s.stop()
		sent, failed, longest := s.counts()
		slices.Sort(gaps)
		t.Logf("%s: from deletion to back: median %v, p90 %v, max %v; of %d packets %d failed, longest gap %v",
			f, gaps[len(gaps)/2], gaps[len(gaps)*9/10], gaps[len(gaps)-1], sent, failed, longest)
		if median := gaps[len(gaps)/2]; median > 10*time.Millisecond {
			t.Errorf("%s: median is %v", f, median)
		}
	}
	if !a.log.has("default route was changed") {
		t.Error("the log is silent about it")
	}
}

func TestAChangedDefaultRouteIsSetRight(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	uplinks(t, 3)
	a := start(t, t.TempDir())
	a.engine.Apply(byWayOf("10.0.0.1", "10.0.1.1", "2001:db8::1", "2001:db8:1::1"))
	four, six := "137/20 10.0.0.1@eth0 10.0.1.1@eth1", "137/20 2001:db8:1::1@eth1 2001:db8::1@eth0"
	for _, command := range []string{
		"route replace default metric 20 proto 137 via 10.0.2.1",
		"route replace default metric 20 proto 137 nexthop via 10.0.0.1 weight 5 nexthop via 10.0.1.1",
		"route replace default metric 20 proto 137 mtu 1300 nexthop via 10.0.0.1 nexthop via 10.0.1.1",
		"route append default metric 20 proto 137 via 10.0.2.1",
		"route prepend default metric 20 proto 137 via 10.0.2.1",
		"route add default metric 30 proto 137 via 10.0.2.1",
		"route add default metric 30 proto 137 dev eth2 scope link",
		"route flush proto 137",
		"-6 route replace default metric 20 proto 137 via 2001:db8:2::1",
		"-6 route replace default metric 20 proto 137 nexthop via 2001:db8::1 weight 5 nexthop via 2001:db8:1::1",
		"-6 route replace default metric 20 proto 137 mtu 1300 nexthop via 2001:db8::1 nexthop via 2001:db8:1::1",
		"-6 route append default metric 20 proto 137 via 2001:db8:2::1",
		"-6 route del default metric 20 proto 137 via 2001:db8::1",
		"-6 route add default metric 30 proto 137 via 2001:db8:2::1",
		"-6 route flush proto 137",
	} {
		t.Run(command, func(t *testing.T) {
			untilTable(t, vip.IPv4, four)
			untilTable(t, vip.IPv6, six)
			ip(t, command)
			untilTable(t, vip.IPv4, four)
			untilTable(t, vip.IPv6, six)
		})
	}
	if f := a.defaultRoute(vip.IPv4); hopsOf(f) != "10.0.0.1 10.0.1.1" || f.Detail != "" {
		t.Errorf("%+v", f)
	}
}

func TestADefaultRouteOfAKilledRunIsAdopted(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	uplinks(t, 2)
	dir := t.TempDir()
	k := startHelper(t, "route", 0, dir)
	if got := k.line(t); got != "present" {
		t.Fatalf("helper says %q", got)
	}
	if err := k.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = k.cmd.Wait()
	four, six := "137/20 10.0.0.1@eth0 10.0.1.1@eth1", "137/20 2001:db8::1@eth0 fe80::1@eth1"
	untilTable(t, vip.IPv4, four)
	untilTable(t, vip.IPv6, six)

	updates, done := make(chan netlink.RouteUpdate, 1000), make(chan struct{})
	if err := netlink.RouteSubscribe(updates, done); err != nil {
		t.Fatal(err)
	}
	a := newAgent(t, dir)
	ctx := t.Context()
	ended := make(chan error, 1)
	go func() { ended <- a.engine.Run(ctx) }()
	t.Cleanup(func() { <-ended }) // it still writes into dir
	eventually(t, "the first report", func() bool { return len(a.all()) > 0 })
	if r := a.all()[0]; len(r.Defaults) != 2 || hopsOf(r.Defaults[0]) != "10.0.0.1 10.0.1.1" || hopsOf(r.Defaults[1]) != "2001:db8::1 fe80::1%eth1" {
		t.Errorf("the first report says %+v", r.Defaults)
	}
	for _, d := range []Desired{ // no peer gave one yet; then they all did
		{Addresses: []netip.Addr{v4}, AdoptDefaults: []vip.Family{vip.IPv4, vip.IPv6}},
		{Addresses: []netip.Addr{v6}, Defaults: a.all()[0].Defaults},
	} {
		a.engine.Apply(d)
		a.until(d.Addresses[0], vip.AddressPresent)
	}
	a.engine.Apply(Desired{Addresses: []netip.Addr{v4}, Defaults: a.all()[0].Defaults}) // so the pass before is over
	a.until(v4, vip.AddressPresent)
	untilTable(t, vip.IPv4, four)
	untilTable(t, vip.IPv6, six)
	close(done)
	for u := range updates {
		if ones, _ := u.Dst.Mask.Size(); ones == 0 {
			t.Errorf("the route was touched: %v", u)
		}
	}
	a.engine.Apply(Desired{})
	untilTable(t, vip.IPv4)
	untilTable(t, vip.IPv6)
}

// routeKeeper is an agent of its own process. Argument: state directory.
func routeKeeper() error {
	reports := make(chan Report, 100)
	e := New(Options{StateDir: os.Args[1], Alive: func() bool { return true }, Report: func(r Report) { reports <- r }, Log: slog.New(slog.DiscardHandler)})
	e.Apply(byWayOf("10.0.0.1", "10.0.1.1", "2001:db8::1", "fe80::1%eth1"))
	return serve(e, func() error {
		for r := range reports {
			if len(r.Defaults) == 2 && len(r.Defaults[0].NextHops) == 2 && len(r.Defaults[1].NextHops) == 2 {
				break
			}
		}
		fmt.Println("present")
		_, err := bufio.NewReader(os.Stdin).ReadString('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	})
}
