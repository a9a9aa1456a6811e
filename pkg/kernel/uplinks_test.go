package kernel

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

// uplinks makes links eth0, eth1, ... to routers .1 and ::1, which are never
// asked for: their neighbour entries are permanent.
func uplinks(t *testing.T, n int) {
	t.Helper()
	for i := range n {
		ip(t, fmt.Sprintf("link add eth%d type veth peer name tor%d", i, i))
		ip(t, fmt.Sprintf("link set tor%d up", i))
		uplink(t, i)
	}
	eventually(t, "links are up", func() bool {
		return strings.Count(ip(t, "-br link"), "LOWER_UP") == 2*n+1
	})
}

// uplink gives a link what it has in uplinks; a link that went down lost some.
func uplink(t *testing.T, i int) {
	t.Helper()
	ip(t, fmt.Sprintf("link set eth%d up", i))
	ip(t, fmt.Sprintf("addr replace 10.0.%d.2/24 dev eth%d", i, i))
	ip(t, fmt.Sprintf("-6 addr replace 2001:db8:%d::2/64 dev eth%d nodad", i, i))
	for _, router := range []string{fmt.Sprintf("10.0.%d.1", i), fmt.Sprintf("2001:db8:%d::1", i), "fe80::1"} {
		ip(t, fmt.Sprintf("neigh replace %s lladdr 02:00:00:00:00:01 dev eth%d nud permanent", router, i))
	}
}

// ipRoute is one route as iproute2, and not our own code, sees it.
type ipRoute struct {
	Dst      string  `json:"dst"`
	Protocol string  `json:"protocol"`
	Metric   int     `json:"metric"`
	Gateway  string  `json:"gateway"`
	Via      ipVia   `json:"via"`
	Dev      string  `json:"dev"`
	Hops     []ipHop `json:"nexthops"`
	Metrics  []any   `json:"metrics"` // an MTU and the like
}

type ipHop struct {
	Gateway string `json:"gateway"`
	Via     ipVia  `json:"via"`
	Dev     string `json:"dev"`
	Weight  int    `json:"weight"`
}

type ipVia struct {
	Host string `json:"host"`
}

func (h ipHop) String() string {
	weight := ""
	if h.Weight > 1 {
		weight = fmt.Sprintf("*%d", h.Weight)
	}
	return h.Gateway + h.Via.Host + "@" + h.Dev + weight
}

// tableOf lists the default routes of a family, one a string: "137/20 10.0.0.1@eth0 10.0.1.1@eth1".
func tableOf(t *testing.T, f vip.Family) (out []string) {
	t.Helper()
	var list []ipRoute
	option := map[vip.Family]string{vip.IPv4: "-4", vip.IPv6: "-6"}[f]
	if err := json.Unmarshal([]byte(ip(t, option+" -j route show default")), &list); err != nil {
		t.Fatal(err)
	}
	for _, r := range list {
		if len(r.Hops) == 0 {
			r.Hops = []ipHop{{r.Gateway, r.Via, r.Dev, 1}}
		}
		var hops []string
		for _, h := range r.Hops {
			hops = append(hops, h.String())
		}
		slices.Sort(hops)
		for _, m := range r.Metrics {
			hops = append(hops, fmt.Sprint(m))
		}
		out = append(out, fmt.Sprintf("%s/%d %s", r.Protocol, r.Metric, strings.Join(hops, " ")))
	}
	return out
}

// untilTable waits for the default routes of a family to be these.
func untilTable(t *testing.T, f vip.Family, want ...string) {
	t.Helper()
	end := time.Now().Add(5 * time.Second)
	for !slices.Equal(tableOf(t, f), want) {
		if time.Now().After(end) {
			t.Fatalf("%s default routes are %q, want %q", f, tableOf(t, f), want)
		}
	}
}

// untilDefault waits for a default route to be reported as wanted, by way of
// these next hops.
func (a *agent) untilDefault(f vip.Family, hops string) vip.DefaultRoute {
	a.t.Helper()
	eventually(a.t, fmt.Sprintf("%s default route by %q is reported, not %+v", f, hops, a.defaultRoute(f)), func() bool {
		return hopsOf(a.defaultRoute(f)) == hops
	})
	return a.defaultRoute(f)
}

func linkIndex(t *testing.T, name string) int {
	t.Helper()
	l, err := net.InterfaceByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return l.Index
}

func routesOf(t *testing.T, table *mainTable, f vip.Family) []route {
	t.Helper()
	list, err := table.routes(f)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// sender sends to hosts behind the default routes until it is stopped. It is the
// witness of a gap, since RTM_GETROUTE for IPv6 is none: it says "unreachable" when
// the next hop that it found goes in that moment, although another is there and
// packets use it.
type sender struct {
	stop    func()
	mu      sync.Mutex
	sent    int
	failed  int
	longest time.Duration // from the last that went to the next that did
}

func startSender(t *testing.T, to string) *sender {
	t.Helper()
	c, err := net.ListenUDP("udp", nil)
	if err != nil {
		t.Fatal(err)
	}
	ended, done := make(chan struct{}), make(chan struct{})
	s := &sender{}
	s.stop = sync.OnceFunc(func() { close(ended); <-done; _ = c.Close() })
	t.Cleanup(s.stop)
	dst := netip.MustParseAddr(to).AsSlice()
	go func() {
		defer close(done)
		good := time.Now()
		for i := 0; ; i++ {
			select {
			case <-ended:
				return
			case <-time.After(50 * time.Microsecond):
			}
			dst[len(dst)-1] = byte(i)
			ip, _ := netip.AddrFromSlice(dst)
			_, err := c.WriteToUDPAddrPort([]byte("x"), netip.AddrPortFrom(ip, 9))
			s.mu.Lock()
			s.sent++
			if now := time.Now(); err == nil {
				if s.failed > 0 {
					s.longest = max(s.longest, now.Sub(good))
				}
				good = now
			} else {
				s.failed++
			}
			s.mu.Unlock()
		}
	}()
	return s
}

func (s *sender) counts() (sent, failed int, longest time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent, s.failed, s.longest
}

// untilBack removes our route and waits until there is a way to a host again.
func untilBack(t *testing.T, table *mainTable, r route, to string) time.Duration {
	t.Helper()
	begin := time.Now()
	if err := table.change(removeRoute, r); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := table.handle.RouteGet(netip.MustParseAddr(to).AsSlice()); err == nil {
			return time.Since(begin)
		}
		if time.Since(begin) > 5*time.Second {
			t.Fatalf("%s route is not back", r.family)
		}
	}
}
