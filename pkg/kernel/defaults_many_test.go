package kernel

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

// countingTable counts looks.
type countingTable struct {
	*mainTable
	mu    sync.Mutex
	looks int
}

func (c *countingTable) routes(f vip.Family) ([]route, error) {
	c.mu.Lock()
	c.looks++
	c.mu.Unlock()
	return c.mainTable.routes(f)
}

func (c *countingTable) looked() int { c.mu.Lock(); defer c.mu.Unlock(); return c.looks }

func TestAHundredThousandOtherRoutesCostNothing(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	uplinks(t, 1)
	a := newAgent(t, t.TempDir())
	k, table, w := a.openParts()
	counting := &countingTable{mainTable: table}
	stop := a.runOn(k, counting, w)
	defer stop()
	a.engine.Apply(byWayOf("10.0.0.1", "2001:db8::1"))
	a.untilDefault(vip.IPv4, "10.0.0.1")
	a.untilDefault(vip.IPv6, "2001:db8::1")

	batch := func(option string, prefix func(i int) string) {
		t.Helper()
		var b strings.Builder
		for i := range 50_000 {
			fmt.Fprintf(&b, "route add %s dev eth0\n", prefix(i))
		}
		path := t.TempDir() + "/batch"
		if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		looks, cpu, begin := counting.looked(), ownCPU(t), time.Now()
		ip(t, option+" -batch "+path)
		used, took := ownCPU(t)-cpu, time.Since(begin)
		looks = counting.looked() - looks
		t.Logf("ip %s: 50,000 notifications in %v cost %v of processor time and %d looks", option, took, used, looks)
		if looks > 10 || used > took/10 {
			t.Error("that is too much")
		}
	}
	batch("-4", func(i int) string { return fmt.Sprintf("20.%d.%d.0/24", i>>8, i&255) })
	batch("-6", func(i int) string { return fmt.Sprintf("2002:%x::/32", i) })
	for _, f := range []vip.Family{vip.IPv4, vip.IPv6} {
		r := routesOf(t, table, f)[0]
		var best time.Duration
		for range 5 {
			if d := untilBack(t, table, r, map[vip.Family]string{vip.IPv4: "203.0.113.1", vip.IPv6: "2001:db8:ffff::1"}[f]); best == 0 || d < best {
				best = d
			}
			time.Sleep(10 * longRest)
		}
		t.Logf("%s: with 100,000 other routes from deletion to back: best of five %v", f, best)
	}
	// The kernel leaves them out of a look, which is most of what a look would cost.
	all := &mainTable{dumps: netlinkHandle(t)}
	for _, f := range []vip.Family{vip.IPv4, vip.IPv6} {
		few, many := lookTime(t, table, f), lookTime(t, all, f)
		t.Logf("%s: a look takes %v, and %v if all are shown", f, few, many)
		if few > many/2 {
			t.Errorf("%s: a look takes %v, and %v if all are shown", f, few, many)
		}
	}
	ip(t, "link set eth0 down") // takes all of them along
	a.untilDefault(vip.IPv4, "")
	uplink(t, 0)
	a.untilDefault(vip.IPv4, "10.0.0.1")
	a.untilDefault(vip.IPv6, "2001:db8::1")
	if a.log.has("cannot be kept") {
		t.Error("a look failed")
	}
}

// lookTime is the best of five looks.
func lookTime(t *testing.T, table *mainTable, f vip.Family) (best time.Duration) {
	t.Helper()
	for i := range 5 {
		begin := time.Now()
		routesOf(t, table, f)
		if d := time.Since(begin); i == 0 || d < best {
			best = d
		}
	}
	return best
}

// ownCPU is the processor time of this process.
func ownCPU(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func TestOnlyDefaultRoutesOfTheMainTableAreHeard(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	uplinks(t, 1)
	w, err := openWatch(nobodys, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer w.socket.Close()
	for i, test := range []struct {
		hearing bool
		command string
		want    bool
	}{
		{true, "route add 20.0.0.0/24 dev eth0", false},
		{true, "-6 route add 2002::/32 dev eth0", false},
		{true, "route add default via 10.0.0.1 table 100", false},
		{true, "route add default via 10.0.0.1 table 1000", false},
		{true, "-6 route add default via 2001:db8::1 table 100", false},
		{true, "route add default via 10.0.0.1", true},
		{true, "-6 route add default via 2001:db8::1", true},
		{true, "route replace default via 10.0.0.9", true},
		{true, "route del default", true},
		{true, "-6 route del default", true},
		{false, "route add default via 10.0.0.1", false},
		{true, "route del default", true},
	} {
		if err := w.hearRoutes(test.hearing); err != nil {
			t.Fatal(err)
		}
		ip(t, test.command)
		ip(t, fmt.Sprintf("addr add 192.0.2.%d/32 dev lo", i+1)) // heard whatever comes before
		heard := false
		for over := false; !over; {
			messages, _, err := w.socket.Receive()
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range messages {
				heard = heard || hintOf(m.Header.Type) == hintRoutes
				over = over || hintOf(m.Header.Type) == hintAddresses && m.Data[1] == 32 // not those of uplinks
			}
		}
		if heard != test.want {
			t.Errorf("%q while hearing is %v: heard is %v", test.command, test.hearing, heard)
		}
	}
}
