package bench

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/anyvip/anyvip/lab/watch"
)

func TestTheGaugeTellsWhenTheLastVIPHasComeAndGone(t *testing.T) {
	var (
		server = netip.MustParseAddr("10.0.1.2")
		tor    = netip.MustParseAddr("10.0.1.1")
		vips   = addresses(2)
		other  = netip.MustParsePrefix("192.0.2.1/32")
		second = 0
		told   []string
	)
	c := counter{server: server, within: netip.MustParsePrefix(vipRange), wire: presence{n: 2}, fib: presence{n: 2}, emit: func(r reading) {
		text := r.Where
		if r.Where == onWire || r.Where == inFIB {
			text += map[bool]string{true: " all", false: " none"}[r.Up]
		}
		told = append(told, r.Time.Format("05 ")+text)
	}}
	take := func(e watch.Event) {
		second++
		e.Time = time.Unix(int64(second), 0)
		c.take(e)
	}
	message := func(from netip.Addr, m watch.Message) {
		m.Src = netip.AddrPortFrom(from, 1)
		take(watch.Event{Kind: watch.Wire, Message: &m})
	}
	update := func(from netip.Addr, announced ...netip.Prefix) {
		m := watch.Message{Type: watch.Update}
		for _, p := range announced {
			m.Announced = append(m.Announced, watch.NLRI{Prefix: p})
		}
		message(from, m)
	}
	withdraw := func(withdrawn ...netip.Prefix) {
		message(server, watch.Message{Type: watch.Update, Withdrawn: withdrawn})
	}
	route := func(p netip.Prefix, hops ...netip.Addr) {
		r := watch.Route{Prefix: p, Removed: len(hops) == 0}
		for _, h := range hops {
			r.NextHops = append(r.NextHops, watch.NextHop{Addr: h})
		}
		take(watch.Event{Kind: watch.FIB, Route: &r})
	}

	update(server, vips[0], other)                       // 1
	update(tor, vips[1])                                 // 2: not the server's
	update(server, vips[0])                              // 3: again
	update(server, vips[1])                              // 4: all
	update(server, vips...)                              // 5: again
	route(vips[0], server)                               // 6
	route(vips[1], tor)                                  // 7: over another server
	route(vips[1], tor, server)                          // 8: all
	withdraw(vips[0])                                    // 9
	withdraw(vips[1])                                    // 10: none
	route(vips[0])                                       // 11
	route(vips[1], tor)                                  // 12: none
	update(server, vips...)                              // 13: all
	message(tor, watch.Message{Type: watch.FIN})         // 14: the session ends
	message(server, watch.Message{Type: watch.RST})      // 15: it has ended
	update(server, vips...)                              // 16: all, of a new one
	take(watch.Event{Kind: watch.Lost, Lost: "packets"}) // 17

	want := []string{"04 wire all", "08 route all", "10 wire none", "12 route none", "13 wire all", "14 session end", "16 wire all", "17 lost"}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("readings (-want +got):\n%s", diff)
	}
}
