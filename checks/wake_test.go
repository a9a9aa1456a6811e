package checks

import (
	"context"
	"runtime"
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

// A grace is not cut short by what else happens.
func TestALateWakeUpKeepsItsTime(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		s := &script{}
		c := config("web", s)
		c.Interval, c.GoneGrace = time.Minute, 700*time.Millisecond
		r.Apply([]Probe{{Config: c}})
		pass(400 * time.Millisecond)
		first := s.first()
		asked := time.Since(first)
		r.Wake("web", vip.TriggerListener, true)
		pass(100 * time.Millisecond)
		r.Wake("web", vip.TriggerLink, false)
		pass(2 * time.Second)
		want := []time.Duration{0, asked + 100*time.Millisecond, asked + 700*time.Millisecond}
		if diff := cmp.Diff(want, s.since(first)); diff != "" {
			t.Errorf("starts (-want +got):\n%s", diff)
		}
		if got := r.of("web")[2].Trigger; got != vip.TriggerListener {
			t.Errorf("trigger %s", got)
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
