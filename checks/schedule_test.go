package checks

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/anyvip/anyvip/pkg/vip"
)

func TestProbesStartOnAFixedGrid(t *testing.T) {
	for _, tc := range []struct {
		name     string
		interval time.Duration
		timeout  time.Duration
		probe    func(context.Context) vip.Result
		window   time.Duration // after the first start
		want     []time.Duration
	}{
		{"a probe that takes no time", time.Second, time.Second, nil, 3500 * time.Millisecond, ms(0, 1000, 2000, 3000)},
		{"a probe that takes some time does not shift the next", time.Second, time.Second, takes(400 * time.Millisecond), 3500 * time.Millisecond, ms(0, 1000, 2000, 3000)},
		{"a probe that ends on a slot uses it", 100 * time.Millisecond, time.Second, takes(200 * time.Millisecond), 650 * time.Millisecond, ms(0, 200, 400, 600)},
		{"a probe longer than the interval skips slots", 100 * time.Millisecond, time.Second, takes(250 * time.Millisecond), 950 * time.Millisecond, ms(0, 300, 600, 900)},
		{"a probe is cut at its timeout", 100 * time.Millisecond, 150 * time.Millisecond, takes(time.Hour), 650 * time.Millisecond, ms(0, 200, 400, 600)},
		{"a probe that outlives its timeout a little", 100 * time.Millisecond, 150 * time.Millisecond, hangs(210 * time.Millisecond), 650 * time.Millisecond, ms(0, 300, 600)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				s := &script{probe: tc.probe}
				c := config("web", s)
				c.Interval, c.Timeout = tc.interval, tc.timeout
				applied := time.Now()
				r.Apply([]Probe{{Config: c}})
				pass(maxPhase)
				first := s.first()
				if phase := first.Sub(applied); phase < 0 || phase >= min(maxPhase, tc.interval) {
					t.Errorf("the first probe started after %s", phase)
				}
				pass(tc.window - time.Since(first))
				if diff := cmp.Diff(tc.want, s.since(first)); diff != "" {
					t.Errorf("starts after the first (-want +got):\n%s", diff)
				}
				if s.worst.Load() != 1 {
					t.Errorf("%d probes of one check at a time", s.worst.Load())
				}
			})
		})
	}
}

func TestTheIntervalChangesAtOnce(t *testing.T) {
	// Times are milliseconds after the first start. The interval is 1 s, the fast one 100 ms.
	type turn struct {
		at   time.Duration
		fast bool
	}
	at := func(ms int, fast bool) turn { return turn{time.Duration(ms) * time.Millisecond, fast} }
	for _, tc := range []struct {
		name  string
		probe func(context.Context) vip.Result
		turns []turn
		want  []time.Duration
	}{
		{"fast soon after a probe counts from its start", nil, []turn{at(30, true)}, ms(0, 100, 200, 300, 400)},
		{"fast later than that is now", nil, []turn{at(250, true)}, ms(0, 250, 350, 450)},
		{"slow again counts from the latest start", nil, []turn{at(30, true), at(130, false)}, ms(0, 100, 1100)},
		{"on and off leaves the grid as it was", nil, []turn{at(30, true), at(40, false)}, ms(0, 1000)},
		{"fast while a probe runs counts when it has ended", takes(160 * time.Millisecond), []turn{at(10, true)}, ms(0, 160, 360)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				s := &script{probe: tc.probe}
				c := config("web", s)
				r.Apply([]Probe{{Config: c}})
				pass(maxPhase)
				// From here on relative to the second probe, which no phase blurs.
				pass(time.Until(s.first().Add(time.Second)))
				zero := s.first().Add(time.Second)
				for _, turn := range tc.turns {
					pass(time.Until(zero.Add(turn.at)))
					r.Apply([]Probe{{Config: c, Fast: turn.fast}})
				}
				last := tc.want[len(tc.want)-1]
				pass(time.Until(zero.Add(last + 50*time.Millisecond)))
				if diff := cmp.Diff(tc.want, s.since(zero)[1:]); diff != "" {
					t.Errorf("starts (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestACheckThatStartsFastIsFast(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		s := &script{}
		r.Apply([]Probe{{Config: config("web", s), Fast: true}})
		pass(maxPhase)
		first := s.first()
		pass(time.Until(first.Add(250 * time.Millisecond)))
		if diff := cmp.Diff(ms(0, 100, 200), s.since(first)); diff != "" {
			t.Errorf("starts (-want +got):\n%s", diff)
		}
	})
}
