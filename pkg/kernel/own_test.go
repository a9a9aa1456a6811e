package kernel

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/anyvip/anyvip/pkg/vip"
)

func TestAddressesOfAKilledRunAreAdoptedOrRemoved(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	dir := t.TempDir()
	k := startHelper(t, "keep", 0, dir, v4.String(), v6.String())
	if got := k.line(t); got != "present" {
		t.Fatalf("helper says %q", got)
	}
	if err := k.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = k.cmd.Wait()
	if len(onHost(t, v4)) != 1 || len(onHost(t, v6)) != 1 {
		t.Fatal("kill -9 took the addresses along")
	}

	a := newAgent(t, dir)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.engine.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	eventually(t, "the first look", func() bool { return len(a.all()) > 0 })
	if len(onHost(t, v4)) != 1 {
		t.Fatal("removed before anybody said what is wanted")
	}
	a.engine.Apply(Desired{Addresses: []netip.Addr{v4}})
	if f := a.until(v4, vip.AddressPresent); !f.Ours || len(f.Lost) != 0 {
		t.Errorf("wanted leftover: %+v", f)
	}
	if n := a.latest().Adds; n != 0 {
		t.Errorf("a leftover was added again %d times", n)
	}
	eventually(t, "the leftover that is not wanted is gone", func() bool { return len(onHost(t, v6)) == 0 })
	eventually(t, "the file names the one that is left", func() bool {
		raw, err := os.ReadFile(filepath.Join(dir, "addresses.json"))
		return err == nil && strings.Contains(string(raw), v4.String()) && !strings.Contains(string(raw), v6.String())
	})
}

// keep is an agent of its own process. Arguments: state directory, addresses.
func keep() error {
	var wanted []netip.Addr
	for _, s := range os.Args[2:] {
		wanted = append(wanted, netip.MustParseAddr(s))
	}
	reports := make(chan Report, 100)
	e := New(Options{StateDir: os.Args[1], Alive: func() bool { return true }, Report: func(r Report) { reports <- r }, Log: slog.New(slog.DiscardHandler)})
	e.Apply(Desired{Addresses: wanted})
	return serve(e, func() error {
		for r := range reports {
			present := 0
			for _, f := range r.Addresses {
				if f.State == vip.AddressPresent {
					present++
				}
			}
			if present == len(wanted) {
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

// serve runs e while body runs.
func serve(e *Engine, body func() error) error {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	err := body()
	cancel()
	return errors.Join(err, <-ended)
}

func TestAdministratorsAddressIsUsedAndNeverTouched(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	ip(t, "link add eth0 type veth peer name eth1")
	ip(t, "link set eth0 up")
	ip(t, "link set eth1 up")
	ip(t, "addr add 192.0.2.10/32 dev lo")                 // where ours would be, with another scope
	ip(t, "-6 addr add 2001:db8:10::10/64 dev eth0 nodad") // elsewhere, preferred
	before := [2]ipAddr{onHost(t, v4)[0], onHost(t, v6)[0]}

	a := start(t, t.TempDir(), v4, v6)
	for addr, link := range map[netip.Addr]string{v4: "lo", v6: "eth0"} {
		if f := a.until(addr, vip.AddressPresent); f.Ours || f.Link != link {
			t.Errorf("%s: %+v", addr, f)
		}
	}
	for _, l := range a.latest().Links {
		for _, p := range l.Prefixes {
			if p.Addr() == v4 || p.Addr() == v6 {
				t.Errorf("link %s shows VIP %s as its own", l.Name, p)
			}
		}
	}
	a.engine.Apply(Desired{})
	a.untilNone()
	a.engine.Apply(Desired{Addresses: []netip.Addr{v4, v6}})
	a.until(v4, vip.AddressPresent)
	a.until(v6, vip.AddressPresent)
	if four, six := onHost(t, v4), onHost(t, v6); len(four) != 1 || len(six) != 1 || [2]ipAddr{four[0], six[0]} != before {
		t.Errorf("changed from %+v to %+v %+v", before, four, six)
	}

	// The administrator takes it away: that is a loss, and from then on it is ours.
	ip(t, "addr del 192.0.2.10/32 dev lo")
	eventually(t, "it is back, as ours", func() bool {
		f := a.latest().Addresses[v4]
		return f.State == vip.AddressPresent && f.Ours && len(f.Lost) == 1
	})
}

func TestNothingIsAddedThatCannotBeWrittenDown(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	full := func(dir string) error { return os.WriteFile(filepath.Join(dir, "ballast"), make([]byte, 1<<20), 0o600) }
	remount := func(flags uintptr) func(string) error {
		return func(dir string) error { return unix.Mount("state", dir, "tmpfs", flags|unix.MS_REMOUNT, "size=16k") }
	}
	tests := []struct {
		name       string
		spoil      func(dir string) error
		want       string
		repair     func(dir string) error
		spoilFails bool
	}{
		{"read-only", remount(unix.MS_RDONLY), "read-only file system", remount(0), false},
		{"full", full, "no space left on device", func(dir string) error { return os.Remove(filepath.Join(dir, "ballast")) }, true},
	}
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := unix.Mount("state", dir, "tmpfs", 0, "size=16k"); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = unix.Unmount(dir, 0) })
			a := start(t, dir, v4)
			a.until(v4, vip.AddressPresent)
			if err := test.spoil(dir); err != nil && !test.spoilFails {
				t.Fatal(err)
			}
			a.engine.Apply(Desired{Addresses: []netip.Addr{v4, v6}})
			f := a.until(v6, vip.AddressRefused)
			t.Log(f.Detail)
			if !strings.Contains(f.Detail, test.want) || !strings.Contains(f.Detail, filepath.Join(dir, "addresses.json")) {
				t.Errorf("detail names neither file nor error: %s", f.Detail)
			}
			if len(onHost(t, v6)) != 0 {
				t.Error("it was added")
			}
			// What is written down is still put back.
			ip(t, "addr del 192.0.2.10/32 dev lo")
			eventually(t, "the other VIP is back", func() bool { return len(onHost(t, v4)) == 1 })
			// So is one that was removed meanwhile: the file, out of date, says that it is ours.
			a.engine.Apply(Desired{})
			eventually(t, "it is removed", func() bool { return len(onHost(t, v4)) == 0 })
			a.engine.Apply(Desired{Addresses: []netip.Addr{v4, v6}})
			if f := a.until(v4, vip.AddressPresent); !f.Ours {
				t.Errorf("added again, but not as ours: %+v", f)
			}
			a.until(v6, vip.AddressRefused)
			if n := strings.Count(a.log.String(), "addresses cannot be kept"); n != 1 {
				t.Errorf("logged %d times", n)
			}
			if err := test.repair(dir); err != nil {
				t.Fatal(err)
			}
			a.until(v6, vip.AddressPresent)
			a.engine.Apply(Desired{})
			a.untilNone()
			a.stop()
		})
	}
}

func TestMissingCapabilityIsNamed(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	if err := Check(); err != nil {
		t.Errorf("Check with the capability: %v", err)
	}
	// A child inherits the capability bounds of the thread that starts it. This
	// thread ends with the goroutine, since it stays locked.
	result := make(chan *helper)
	go func() {
		runtime.LockOSThread()
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_NET_ADMIN, 0, 0, 0); err != nil {
			t.Error(err)
		}
		result <- startHelper(t, "unprivileged", 0, t.TempDir())
	}()
	h := <-result
	const how = "CAP_NET_ADMIN is missing; run anyvip as root, or put AmbientCapabilities=CAP_NET_ADMIN into its systemd unit"
	if got, want := h.line(t), "change addresses of this host: operation not permitted: "+how; got != want {
		t.Errorf("Check says %q, want %q", got, want)
	}
	if got, want := h.line(t), "refused: add 192.0.2.10 on lo: operation not permitted; "+how; got != want {
		t.Errorf("fact says %q, want %q", got, want)
	}
}

// unprivileged prints what Check and a running engine say.
func unprivileged() error {
	fmt.Println(Check())
	refused := make(chan string, 100)
	e := New(Options{StateDir: os.Args[1], Alive: func() bool { return true }, Log: slog.New(slog.DiscardHandler),
		Report: func(r Report) {
			if f := r.Addresses[v4]; f.State == vip.AddressRefused {
				refused <- f.State.String() + ": " + f.Detail
			}
		}})
	e.Apply(Desired{Addresses: []netip.Addr{v4}})
	return serve(e, func() error { fmt.Println(<-refused); return nil })
}

func TestDisabledIPv6IsExplained(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	setSysctl(t, "net/ipv6/conf/lo/disable_ipv6", "1")
	a := start(t, t.TempDir(), v4, v6)
	a.until(v4, vip.AddressPresent)
	if f := a.until(v6, vip.AddressRefused); !strings.Contains(f.Detail, "sysctl -w net.ipv6.conf.lo.disable_ipv6=0") {
		t.Errorf("detail: %s", f.Detail)
	}
	setSysctl(t, "net/ipv6/conf/lo/disable_ipv6", "0")
	a.until(v6, vip.AddressPresent)
}

func TestLinksAreReportedAsTheyChange(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	a := start(t, t.TempDir(), v4)
	find := func(name string) (vip.Link, bool) {
		for _, l := range a.latest().Links {
			if l.Name == name {
				return l, true
			}
		}
		return vip.Link{}, false
	}
	eventually(t, "lo is up", func() bool { l, ok := find("lo"); return ok && l.Up && l.Index == 1 && l.MTU == 65536 })
	ip(t, "link add eth0 type veth peer name eth1")
	eventually(t, "eth0 is down", func() bool { l, ok := find("eth0"); return ok && !l.Up && l.Index > 1 })
	ip(t, "addr add 198.51.100.5/24 dev eth0")
	ip(t, "link set eth0 up")
	ip(t, "link set eth1 up")
	eventually(t, "eth0 is up with both addresses", func() bool {
		l, _ := find("eth0")
		return l.Up && len(l.Prefixes) == 2 && l.Prefixes[0] == netip.MustParsePrefix("198.51.100.5/24") && l.Prefixes[1].Addr().IsLinkLocalUnicast() && l.Prefixes[1].Bits() == 64
	})
	ip(t, "link set eth0 mtu 9000")
	eventually(t, "eth0 has another MTU", func() bool { l, _ := find("eth0"); return l.MTU == 9000 })
	ip(t, "link set eth1 down") // eth0 loses its carrier
	eventually(t, "eth0 is down again", func() bool { l, ok := find("eth0"); return ok && !l.Up })
	ip(t, "link del eth0")
	eventually(t, "eth0 is gone", func() bool { _, ok := find("eth0"); return !ok })
}
