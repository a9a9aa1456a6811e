package integration

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// TestDeadServiceIsOnTheWireAtOnce has checks that look every 10 s. The kernel tells
// of the listener's end, and of its return.
func TestDeadServiceIsOnTheWireAtOnce(t *testing.T) {
	t.Parallel()
	const (
		rounds  = 10
		allowed = time.Second // of an interval of 10 s, on a busy machine
	)
	r := up(t, "tors.clab.yml", options{product: true, edits: map[string]func(string) string{"s1": func(text string) string {
		return strings.ReplaceAll(text, "interval: 500ms", "interval: 10s")
	}}})
	at := r.watchTors()
	r.statusShows("s1", "two sessions", agentStatus.established)
	for _, name := range tors {
		at[name].route(time.Time{}, vip4, 2)
	}
	var wires []time.Duration
	for range rounds {
		killed := time.Now()
		r.sh("s1", "kill -9 $(cat /run/web.pid)")
		for _, name := range tors {
			wire := at[name].message(killed, "eth1", "the withdraw", withdraws(vip4)).Time
			wires = append(wires, wire.Sub(killed))
			at[name].route(killed, vip4, 1)
		}
		returned := time.Now()
		r.sh("s1", "anyvip-lab web -d --pidfile /run/web.pid --name s1")
		for _, name := range tors {
			back := at[name].message(returned, "eth1", "the announcement", announces(vip4)).Time
			if d := back.Sub(returned); d > 5*time.Second { // recovery_delay 1 s, and looks while it is not there
				t.Errorf("announced %s after the return", ms(d))
			}
			at[name].route(returned, vip4, 2)
		}
	}
	slices.Sort(wires)
	t.Logf("kill -9 of the service to the wire, a fork and exec of the killer included: %s (median), %s (most) of %d", ms(wires[len(wires)/2]), ms(wires[len(wires)-1]), len(wires))
	if most := wires[len(wires)-1]; most > allowed {
		t.Errorf("a withdraw came %s after the death, want %s", ms(most), allowed)
	}
	ends := 0
	events := r.mustStatus("s1").Events
	for _, e := range events {
		if e.Kind == "CHECK" && e.Name == "web" && e.To == "woken" && strings.HasPrefix(e.Reason, "listener: nobody listens at 127.0.0.1:80") {
			ends++
		}
	}
	if ends < rounds/2 { // a probe of the interval may be first
		t.Errorf("%d events say that the listener's end woke the probe, of %d deaths: %s", ends, rounds, asJSON(events))
	}
	if n := r.metric(r.http("s1", "/metrics"), `anyvip_check_woken_probes_total{check="web",trigger="listener"}`); n < rounds/2 {
		t.Errorf("the metric says that listeners woke %v probes, of %d deaths", n, rounds)
	}
}
