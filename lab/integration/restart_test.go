package integration

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anyvip/anyvip/lab/watch"
)

// TestTorsThatDieArePeeredAgain kills each ToR's routing daemon three times. The
// time that counts begins when the daemon listens again.
func TestTorsThatDieArePeeredAgain(t *testing.T) {
	t.Parallel()
	// Where a busy machine has FRR listen only after a second, our first attempt comes too
	// early, and the next one two seconds later. GoBGP by itself would take 6.7 s.
	const usual, limit = 3 * time.Second, 4 * time.Second
	var took []time.Duration
	r := up(t, "tors.clab.yml", options{})
	at := r.watchTors()
	others := map[string]string{"tor-a": "tor-b", "tor-b": "tor-a"}
	for round := 1; round <= 3; round++ {
		for _, name := range tors {
			killed := time.Now()
			r.kill(name)
			for _, server := range []string{"s1", "s2"} {
				r.statusShows(server, "the loss of "+name, func(s agentStatus) bool { return s.session(t, name).State != "ESTABLISHED" })
			}
			listens := r.startRouter(name)
			slowest := time.Duration(0)
			for _, link := range []string{"eth1", "eth2"} {
				for _, p := range vips {
					wire := at[name].message(listens, link, "the announcement of "+p.String(), announces(p)).Time
					slowest = max(slowest, wire.Sub(listens))
				}
			}
			eventually(t, patience, func() error {
				for _, p := range vips {
					if n := r.paths(name, p); n != 2 {
						return fmt.Errorf("%s has %d paths to %s", name, n, p)
					}
					if route := r.sh(name, "ip route show "+p.String()); p == vip4 && strings.Count(route, "nexthop") != 2 {
						return fmt.Errorf("the kernel of %s has %q", name, route)
					}
				}
				return nil
			})
			t.Logf("round %d: %s listens again %s after the kill; routes of both servers on the wire %s after that", round, name,
				ms(listens.Sub(killed)), ms(slowest))
			took = append(took, slowest)
			if slowest > limit {
				t.Errorf("round %d: routes were back at %s after %s, want %s", round, name, ms(slowest), limit)
			}
			if moved := at[others[name]].moved(killed); len(moved) > 0 {
				t.Errorf("round %d: routes at %s moved while %s was away: %s", round, others[name], name, asJSON(moved))
			}
		}
	}
	if slices.Sort(took); took[len(took)/2] > usual {
		t.Errorf("routes were back after %s, want %s in the median", took, usual)
	}
	for _, server := range []string{"s1", "s2"} {
		for _, x := range r.mustStatus(server).Sessions {
			if x.Flaps != 3 || x.State != "ESTABLISHED" {
				t.Errorf("%s counts %d flaps with %s, want 3; it is %s; how connections began and ended: %s", server, x.Flaps, x.Peer, x.State,
					asJSON(at[x.Peer].all(func(e watch.Event) bool {
						return e.Kind == watch.Wire && e.Message.Type != watch.Update && e.Message.Type != watch.Keepalive
					})))
			}
		}
	}
}

// startRouter starts a ToR's daemon and returns when it was seen to listen for BGP.
func (r *rig) startRouter(name string) time.Time {
	r.t.Helper()
	started := make(chan error, 1)
	go func() { started <- r.Daemon(name).Start(r.t.Context()) }()
	// 00B3 is port 179, 0A is LISTEN.
	out := r.sh(name, `until grep -q ':00B3 0*:0000 0A' /proc/net/tcp; do sleep 0.005; done; date +%s.%N`)
	if err := <-started; err != nil {
		r.t.Fatal(err)
	}
	at, err := time.ParseDuration(strings.TrimSpace(out) + "s")
	if err != nil {
		r.t.Fatal(err)
	}
	return time.Unix(0, int64(at))
}

// paths counts the paths that a ToR has to p.
func (r *rig) paths(name string, p netip.Prefix) int {
	if name == "tor-a" {
		return len(r.frr(name, p))
	}
	return len(r.bird(name, p))
}
