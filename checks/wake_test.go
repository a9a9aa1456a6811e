package checks

import (
	"context"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/anyvip/anyvip/pkg/vip"
)

func TestAWokenProbeComesAtOnceAndLeavesTheGridAlone(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		s := &script{}
		r.Apply([]Probe{{Config: config("web", s)}})
		pass(400 * time.Millisecond)
		start := s.first()
		time.Sleep(time.Until(start.Add(500 * time.Millisecond)))
		r.Wake("web", vip.TriggerListener, false)
		r.Wake("nobody", vip.TriggerListener, false)
		pass(2 * time.Second)
		if diff := cmp.Diff(ms(0, 500, 1000, 2000), s.since(start)); diff != "" {
			t.Errorf("starts (-want +got):\n%s", diff)
		}
		var triggers []vip.Trigger
		for _, v := range r.of("web") {
			triggers = append(triggers, v.Trigger)
		}
		want := []vip.Trigger{vip.TriggerStart, vip.TriggerListener, vip.TriggerInterval, vip.TriggerInterval}
		if diff := cmp.Diff(want, triggers); diff != "" {
			t.Errorf("triggers (-want +got):\n%s", diff)
		}
	})
}

func TestAtMostTenWokenProbesASecond(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		s := &script{}
		r.Apply([]Probe{{Config: config("web", s)}})
		pass(400 * time.Millisecond)
		before := len(r.of("web"))
		for range 1000 {
			r.Wake("web", vip.TriggerFile, false)
			pass(time.Millisecond)
		}
		if n := len(r.of("web")) - before; n < 10 || n > 12 { // and one of the interval
			t.Errorf("%d probes in a second", n)
		}
	})
}

func TestAWakeUpWaitsForTheProbeUnderWay(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		s := &script{probe: takes(400 * time.Millisecond)}
		c := config("web", s)
		c.Interval = time.Minute
		r.Apply([]Probe{{Config: c}})
		pass(200 * time.Millisecond)          // a phase, and half of the probe
		r.Wake("web", vip.TriggerFile, false) // what it changed may have come too late for the probe
		r.Wake("web", vip.TriggerListener, false)
		pass(time.Second)
		if diff := cmp.Diff(ms(0, 400), s.since(s.first())); diff != "" {
			t.Errorf("starts (-want +got):\n%s", diff)
		}
		if got := r.of("web")[1].Trigger; got != vip.TriggerListener {
			t.Errorf("trigger %s, want the one that decides something", got)
		}
	})
}

// The interval is 1 s, the fast one 100 ms and the grace 2 s; times are milliseconds
// after the first probe. Without a grace the fast probes come from 600 on.
func TestWhatStartsInAGrace(t *testing.T) {
	type event struct {
		at   int
		t    vip.Trigger
		gone bool
	}
	ended := event{500, vip.TriggerListener, true}
	for name, tc := range map[string]struct {
		events []event
		want   []time.Duration // up to 3.55 s
		first  vip.Trigger     // of the first probe that was woken
		fast   bool
	}{
		"nothing until its end": {[]event{ended}, ms(0, 2500, 3500), vip.TriggerListener, false},
		"nothing at the fast pace either": {[]event{ended}, ms(0, 2500, 2600, 2700, 2800, 2900, 3000, 3100, 3200, 3300, 3400, 3500),
			vip.TriggerListener, true},
		"nothing for what else happens": {[]event{ended, {700, vip.TriggerLink, false}, {800, vip.TriggerFile, false}, {900, vip.TriggerUnit, true}},
			ms(0, 2500, 3500), vip.TriggerListener, false},
		"one at once for a listener that is back": {[]event{ended, {1500, vip.TriggerListener, false}},
			ms(0, 1500, 2500, 3500), vip.TriggerListener, false},
		"also where its process seems to be gone": {[]event{{500, vip.TriggerProcess, true}, ended, {1500, vip.TriggerListener, false}},
			ms(0, 1500, 2500, 3500), vip.TriggerListener, false},
		"none for a process that does not listen yet": {[]event{{500, vip.TriggerProcess, true}, ended, {1500, vip.TriggerProcess, false}},
			ms(0, 2500, 3500), vip.TriggerListener, false},
		"one at once for a process that is back": {[]event{{500, vip.TriggerProcess, true}, {1500, vip.TriggerProcess, false}},
			ms(0, 1500, 2500, 3500), vip.TriggerProcess, false},
		"none for a unit that starts again": {[]event{{500, vip.TriggerUnit, true}, {600, vip.TriggerUnit, false}, {1500, vip.TriggerUnit, false}},
			ms(0, 2500, 3500), vip.TriggerUnit, false},
		"one at once for who asks, and the grace goes on": {[]event{ended, {700, vip.TriggerRequest, false}},
			ms(0, 700, 2500, 3500), vip.TriggerRequest, false},
		"an end again and again postpones nothing": {[]event{ended, {1400, vip.TriggerListener, true}, {2300, vip.TriggerListener, true}},
			ms(0, 2500, 3500), vip.TriggerListener, false},
		"nor does one that is back in between": {[]event{ended, {1500, vip.TriggerListener, false}, {1550, vip.TriggerListener, true},
			{1560, vip.TriggerListener, false}, {1570, vip.TriggerListener, true}}, ms(0, 1500, 2500, 3500), vip.TriggerListener, false},
		"an end after the grace has one of its own": {[]event{{-500, vip.TriggerProcess, true}, {100, vip.TriggerProcess, false},
			{1600, vip.TriggerListener, true}}, ms(100, 1100), vip.TriggerProcess, false},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				s := &script{}
				c := config("web", s)
				c.GoneGrace = 2 * time.Second
				r.Apply([]Probe{{Config: c}})
				pass(maxPhase)
				zero := s.first().Add(time.Second) // the second probe, which no phase blurs
				for _, e := range tc.events {
					pass(time.Until(zero.Add(time.Duration(e.at) * time.Millisecond)))
					r.Wake("web", e.t, e.gone)
					if tc.fast {
						r.Apply([]Probe{{Config: c, Fast: true}})
					}
				}
				pass(time.Until(zero.Add(3550 * time.Millisecond)))
				starts := s.since(zero)[1:]
				if diff := cmp.Diff(tc.want, starts); diff != "" {
					t.Fatalf("starts (-want +got):\n%s", diff)
				}
				woken := slices.DeleteFunc(r.of("web"), func(v vip.Result) bool { return v.Trigger <= vip.TriggerStart })
				if got := woken[0].Trigger; got != tc.first {
					t.Errorf("trigger %s, want %s", got, tc.first)
				}
			})
		})
	}
}

// A grace that is over while a probe is under way is over, whatever else ends.
func TestAGraceIsNotBegunAnewByWhatEndsLater(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		s := &script{probe: takes(3 * time.Second)}
		c := config("web", s)
		c.Interval, c.Timeout, c.GoneGrace = time.Minute, 10*time.Second, 2*time.Second
		r.Apply([]Probe{{Config: c}})
		pass(200 * time.Millisecond)
		r.Wake("web", vip.TriggerListener, true)
		pass(2500 * time.Millisecond)
		r.Wake("web", vip.TriggerProcess, true)
		pass(5 * time.Second)
		if diff := cmp.Diff(ms(0, 3000), s.since(s.first())); diff != "" {
			t.Errorf("starts (-want +got):\n%s", diff)
		}
	})
}

// After a woken probe that begins a change, the next comes a fast interval later.
func TestTheFastPaceCountsFromAWokenProbe(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		s := &script{}
		c := config("web", s)
		r.Apply([]Probe{{Config: c}})
		pass(400 * time.Millisecond)
		first := s.first()
		time.Sleep(time.Until(first.Add(500 * time.Millisecond)))
		r.Wake("web", vip.TriggerFile, false)
		synctest.Wait()
		r.Apply([]Probe{{Config: c, Fast: true}})
		pass(450 * time.Millisecond)
		if diff := cmp.Diff(ms(0, 500, 600, 700, 800, 900), s.since(first)); diff != "" {
			t.Errorf("starts (-want +got):\n%s", diff)
		}
	})
}

func TestAWokenProbeOfARemovedCheckDoesNotCome(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		s := &script{probe: func(context.Context) vip.Result { return vip.Result{Outcome: vip.Pass} }}
		c := config("web", s)
		c.GoneGrace = 100 * time.Millisecond
		r.Apply([]Probe{{Config: c}})
		pass(400 * time.Millisecond)
		r.Wake("web", vip.TriggerFile, true)
		r.Apply(nil)
		pass(time.Second)
		if n := len(r.of("web")); n != 1 {
			t.Errorf("%d results", n)
		}
	})
}

// A reload each time that changes every check: nothing piles up. Not in a bubble: there
// the race detector of Go 1.26.8 has crashed in one of a dozen runs of so many timers
// (tsan's SlotLock, below runtime.(*timer).maybeRunChan).
func TestTenThousandReloadsLeaveNothingBehind(t *testing.T) {
	before := runtime.NumGoroutine()
	r := NewRunner(Options{Report: func(vip.Result) {}})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	s := &script{}
	for i := range 10_000 {
		c := config("web", s)
		c.Kind = &fake{Version: i, Script: s}
		r.Apply([]Probe{{Config: c}, {Config: config("other-"+string(rune('a'+i%5)), s)}})
		r.Wake("web", vip.TriggerFile, false)
		r.Wake("nobody", vip.TriggerFile, false)
		for len(r.sets) > 0 { // until Run has taken it
			runtime.Gosched()
		}
	}
	eventually(t, "all but the last two probers have ended", func() bool { return runtime.NumGoroutine() <= before+1+2 })
	eventually(t, "no wake is left", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.wakes) == 0
	})
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
