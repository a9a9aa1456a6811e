package integration

import (
	"testing"
	"time"

	"github.com/anyvip/anyvip/lab/watch"
)

// TestLinkThatIsCut cuts the link between s1 and one ToR for shorter and for longer
// than the hold time of 9 s, with and without the ends seeing it. The routes at the
// other ToR may not move, and those at this one must come back.
func TestLinkThatIsCut(t *testing.T) {
	t.Parallel()
	panel := map[string][2]string{"tor-a": {"patch:eth1", "patch:eth2"}, "tor-b": {"patch:eth3", "patch:eth4"}}
	other := map[string]string{"tor-a": "tor-b", "tor-b": "tor-a"}
	cuts := []struct {
		name    string
		cable   bool // both ends lose their carrier
		lasting time.Duration
	}{
		{"pulled out for 3 s", true, 3 * time.Second},
		{"silent for 3 s", false, 3 * time.Second},
		{"pulled out for 12 s", true, 12 * time.Second},
		{"silent for 12 s", false, 12 * time.Second},
	}
	for _, name := range tors {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := up(t, "faults.clab.yml", options{})
			at := r.watchTors()
			monitor := r.monitor("s1")
			set := func(cable, up bool) {
				if !cable {
					r.sh("patch", "ip link set "+name+" "+map[bool]string{true: "up", false: "down"}[up])
					return
				}
				for _, end := range panel[name] {
					if err := r.SetLink(end, up); err != nil {
						t.Fatal(err)
					}
				}
			}
			begin := r.statusShows("s1", "two sessions", agentStatus.established)
			first := time.Now()
			flaps := begin.session(t, name).Flaps
			for _, c := range cuts {
				cut := time.Now()
				set(c.cable, false)
				<-time.After(time.Until(cut.Add(c.lasting)))
				healed := time.Now()
				set(c.cable, true)
				r.returned(at[name], c.name, cut, healed)
				s := r.statusShows("s1", "two sessions", agentStatus.established)
				now := s.session(t, name).Flaps
				t.Logf("%s: %d flaps", c.name, now-flaps)
				if now > flaps+1 {
					t.Errorf("%s: %d flaps", c.name, now-flaps)
				}
				if short := c.lasting < 9*time.Second; short && !c.cable {
					at[name].untouched(cut, c.name)
				} else if !short && now != flaps+1 {
					t.Errorf("%s, longer than the hold time: %d flaps, want 1", c.name, now-flaps)
				}
				flaps = now
			}
			at[other[name]].untouched(first, "while the link to "+name+" was cut")
			if x := r.mustStatus("s1").session(t, other[name]); x.Flaps != 0 {
				t.Errorf("%d flaps with %s", x.Flaps, other[name])
			}
			if changes := vipChanges(monitor, first); len(changes) > 0 {
				t.Errorf("the addresses were touched: %s", asJSON(changes))
			}
		})
	}
}

// returned waits until a ToR has both routes by s1 after its link was healed, and
// says when they went and came.
func (r *rig) returned(w tor, what string, cut, healed time.Time) {
	r.t.Helper()
	// Keepalives go every 3 s: whoever still believes in an old session finds out.
	w.message(healed.Add(4*time.Second), "eth1", "a KEEPALIVE", isKeepalive)
	for _, p := range vips {
		moves := w.all(func(e watch.Event) bool { return e.Kind == watch.FIB && e.Time.After(cut) && e.Route.Prefix == p })
		if len(moves) == 0 {
			r.t.Logf("%s: the route to %s did not move", what, p)
			continue
		}
		gone := moves[0].Time
		back := w.route(gone, p, 2)
		moves = w.all(func(e watch.Event) bool { return e.Kind == watch.FIB && e.Time.After(cut) && e.Route.Prefix == p })
		r.t.Logf("%s: the route to %s went %s after the link, was back %s after it", what, p, ms(gone.Sub(cut)), ms(back.Sub(healed)))
		if last := moves[len(moves)-1].Route; len(last.Addrs()) != 2 {
			r.t.Errorf("%s: in the end the route to %s is %s", what, p, asJSON(last))
		}
	}
}

func isKeepalive(m *watch.Message) bool { return m.Type == watch.Keepalive }
