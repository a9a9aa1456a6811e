package integration

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/anyvip/anyvip/lab/watch"
)

func TestHealthDecidesTheRoute(t *testing.T) {
	r := up(t, "tors.clab.yml", options{})
	at := r.watchTors()
	for _, p := range vips {
		if n := len(r.frr("tor-a", p)); n != 2 {
			t.Errorf("FRR has %d paths to %s", n, p)
		}
		if n := len(r.bird("tor-b", p)); n != 2 {
			t.Errorf("BIRD has %d paths to %s", n, p)
		}
	}

	load := r.startLoad()
	load.answered(20, time.Time{}, "s1")
	killed := time.Now()
	r.sh("s1", "kill -9 $(cat /run/web.pid)")
	var gone time.Time // from the last ToR's kernel
	for _, name := range tors {
		for _, p := range vips {
			wire := at[name].message(killed, "eth1", "the withdraw of "+p.String(), withdraws(p)).Time
			fib := at[name].route(killed, p, 1)
			t.Logf("%s %s: kill to wire %s, wire to kernel %s", name, p, ms(wire.Sub(killed)), ms(fib.Sub(wire)))
			if d := wire.Sub(killed); d > 3*time.Second { // interval 1 s, fast_interval, fall 2: refused at once
				t.Errorf("%s: withdrawn at %s %s after the kill", p, name, ms(d))
			}
			if fib.After(gone) {
				gone = fib
			}
		}
	}

	var moves []move // back
	returned := time.Now()
	r.sh("s1", "anyvip-lab web -d --pidfile /run/web.pid --name s1")
	for _, name := range tors {
		for _, p := range vips {
			wire := at[name].message(returned, "eth1", "the announcement of "+p.String(), announces(p)).Time
			fib := at[name].route(returned, p, 2)
			t.Logf("%s %s: return to wire %s (recovery_delay 1 s), wire to kernel %s", name, p, ms(wire.Sub(returned)), ms(fib.Sub(wire)))
			if p == vip4 {
				moves = append(moves, move{wire, fib})
			}
			if d := wire.Sub(returned); d < time.Second {
				t.Errorf("%s was announced to %s %s after the return, before recovery_delay was over", p, name, ms(d))
			}
		}
	}
	load.answered(20, returned, "s1")
	sum := load.stop()
	t.Logf("client: %d of %d requests failed %v, the last one due %s after the kill; answers from %v",
		sum.Failed, sum.Requests, sum.Failures, ms(sum.LastFailure.Sub(killed)), sum.Servers)
	for _, e := range load.lost(moves) {
		if e.Request.Due.After(gone.Add(100 * time.Millisecond)) {
			t.Errorf("lost %s after the route was gone from the last kernel: %s", ms(e.Request.Due.Sub(gone)), asJSON(e))
		}
	}
	for _, name := range tors {
		if others := at[name].updates(killed, "eth2"); len(others) > 0 {
			t.Errorf("s2 sent UPDATEs to %s: %s", name, asJSON(others))
		}
	}
}

func TestDegradedIsOneUpdateWithoutWithdraw(t *testing.T) {
	r := up(t, "tors.clab.yml", options{})
	at := r.watchTors()
	steps := []struct {
		name, line  string
		med         uint32
		path        []uint32
		communities []string
	}{
		{"the dependency fails", "touch /run/dependency-down", 200, []uint32{65101, 65101, 65101}, []string{"65000:666"}},
		{"the dependency returns", "rm /run/dependency-down", 10, []uint32{65101}, []string{"65000:100"}},
	}
	for _, step := range steps {
		begin := time.Now()
		r.sh("s1", step.line)
		for _, name := range tors {
			for _, p := range vips {
				e := at[name].message(begin, "eth1", "the changed attributes of "+p.String(), announces(p))
				t.Logf("%s: %s %s on the wire after %s", step.name, name, p, ms(e.Time.Sub(begin)))
				a := e.Message.Attributes
				if a.MED == nil || *a.MED != step.med || !slices.Equal(a.ASPath, step.path) || !slices.Equal(a.Communities, step.communities) || a.Origin != "igp" {
					t.Errorf("%s: %s has for %s %s", step.name, name, p, asJSON(a))
				}
			}
		}
		r.statusShows("s1", "both VIPs sent to both ToRs", func(s agentStatus) bool {
			return len(s.Services[0].Addresses[0].SentTo) == 2 && len(s.Services[0].Addresses[1].SentTo) == 2
		})
		for _, name := range tors {
			sent := at[name].updates(begin, "eth1")
			for _, p := range vips {
				if n := countUpdates(sent, p); n != 1 {
					t.Errorf("%s: %d UPDATEs for %s to %s, want 1: %s", step.name, n, p, name, asJSON(sent))
				}
			}
			for _, e := range sent {
				if len(e.Message.Withdrawn) > 0 {
					t.Errorf("%s: a withdraw to %s: %s", step.name, name, asJSON(e))
				}
			}
		}
	}
	if s := r.mustStatus("s1"); s.Services[0].Disposition != "ANNOUNCED" {
		t.Errorf("in the end the service is %s", s.Services[0].Disposition)
	}
}

// countUpdates counts the UPDATEs that announce or withdraw p.
func countUpdates(events []watch.Event, p netip.Prefix) (n int) {
	for _, e := range events {
		if e.Message.Announces(p) || e.Message.Withdraws(p) {
			n++
		}
	}
	return n
}
