package integration

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/anyvip/anyvip/lab/load"
)

// TestDrain drains a server under load: no new connection is lost but one that was
// open when a ToR spread anew. Then the agent is killed: its successor announces
// nothing until the drain is taken back.
func TestDrain(t *testing.T) {
	t.Parallel()
	r := up(t, "tors.clab.yml", options{edits: map[string]func(string) string{"s1": func(text string) string {
		return strings.Replace(text, "    require:", "    drain_hold: 1s\n    drain_time: 20s\n    require:", 1)
	}}})
	at := r.watchTors()
	r.statusShows("s1", "two sessions", agentStatus.established)
	for _, name := range tors {
		at[name].route(time.Time{}, vip4, 2)
	}
	clients := r.startLoad()
	clients.answered(50, time.Time{}, "s1")

	states := r.watchStatus("s1")
	asked := time.Now()
	said := r.sh("s1", "anyvip drain web --reason 'new disks' --for 1h --wait")
	waited := time.Now()
	if !regexp.MustCompile(`^draining service web for 1h0m0s\n(web: shift; .*\n)?web: hold; withdrawn in [0-9]+s at the latest\n(web: quiet; .*\n)?web: done\n$`).MatchString(said) {
		t.Errorf("drain says %q", said)
	}
	inFields(t, states, asked)
	moves := map[string][2]time.Time{}
	for _, name := range tors {
		shift := at[name].message(asked, "eth1", "GRACEFUL_SHUTDOWN", isLeaving).Time
		moved := at[name].route(asked, vip4, 1)
		gone := at[name].message(asked, "eth1", "the withdraw", withdraws(vip4)).Time
		t.Logf("%s: GRACEFUL_SHUTDOWN after %s, out of the kernel after %s, withdraw after %s", name, ms(shift.Sub(asked)), ms(moved.Sub(asked)), ms(gone.Sub(asked)))
		if d := gone.Sub(shift); d < 990*time.Millisecond {
			t.Errorf("%s: the withdraw came %s after the shift, want drain_hold of 1 s", name, ms(d))
		}
		if gone.After(waited) {
			t.Errorf("%s: the withdraw came %s after --wait called it done", name, ms(gone.Sub(waited)))
		}
		moves[name] = [2]time.Time{shift, moved}
	}
	r.statusShows("s1", "a drained service", func(s agentStatus) bool {
		return s.Services[0].Disposition == "DRAINED" && len(s.Drains) == 1 && s.Services[0].Reasons[0].Code == "DRAINED" && strings.Contains(s.Services[0].Reasons[0].Detail, "new disks (root)")
	})
	clients.answered(50, time.Now(), "s2")
	sum := clients.stop()
	t.Logf("%d of %d requests failed", sum.Failed, sum.Requests)
	for _, e := range clients.all(func(e load.Event) bool { return e.Kind == load.Result && e.Request.Failure != "" }) {
		cut := false
		for _, m := range moves {
			cut = cut || fineOrCut(e.Request, m[0], m[1])
		}
		if !cut {
			t.Errorf("lost %s after the drain began: %s", ms(e.Request.Started.Sub(asked)), asJSON(e))
		}
	}

	killed := time.Now()
	r.kill("s1")
	r.start("s1")
	r.statusShows("s1", "a drained service after kill -9", func(s agentStatus) bool {
		return s.established() && s.Services[0].Disposition == "DRAINED"
	})
	for _, name := range tors {
		at[name].message(time.Now(), "eth1", "a KEEPALIVE", isKeepalive)
		if sent := at[name].updates(killed, "eth1"); countUpdates(sent, vip4) > 0 {
			t.Errorf("%s heard of a drained service: %s", name, asJSON(sent))
		}
	}
	back := time.Now()
	r.sh("s1", "anyvip undrain web")
	for _, name := range tors {
		t.Logf("%s: announced %s after undrain", name, ms(at[name].message(back, "eth1", "the announcement", announces(vip4)).Time.Sub(back)))
		at[name].route(back, vip4, 2)
	}
	r.statusShows("s1", "no drain", func(s agentStatus) bool { return len(s.Drains) == 0 && s.Services[0].Drain == nil })
}

// inFields looks at what a program reads of the drain: in the hold, and at its end.
func inFields(t *testing.T, states *instrument[agentStatus], asked time.Time) {
	t.Helper()
	at := func(step string, ok func(*drainStatus) bool) *drainStatus {
		return states.wait(patience, "step "+step, func(s agentStatus) bool {
			d := s.Services[0].Drain
			return d != nil && d.Step == step && ok(d)
		}).Services[0].Drain
	}
	hold := at("HOLD", func(d *drainStatus) bool { return d.Open != nil })
	if want := asked.Add(20 * time.Second); !hold.Routed || hold.WithdrawnBy == nil || hold.WithdrawnBy.Sub(want).Abs() > 2*time.Second ||
		hold.Receiving == nil || *hold.Receiving > *hold.Open {
		t.Errorf("in the hold: %s", asJSON(hold))
	}
	if x := hold.Intent; x.Service != "web" || x.Node || x.Reason != "new disks" || x.Actor != "root" || x.Until.Sub(x.Since) != time.Hour {
		t.Errorf("asked for: %s", asJSON(x))
	}
	if done := at("DONE", func(d *drainStatus) bool { return !d.Routed }); done.WithdrawnBy != nil || done.Open != nil || done.Receiving != nil {
		t.Errorf("at the end: %s", asJSON(done))
	}
}
