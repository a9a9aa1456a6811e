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

// A reload each time that changes every check: nothing piles up.
func TestTenThousandReloadsLeaveNothingBehind(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		s := &script{}
		for i := range 10_000 {
			c := config("web", s)
			c.Kind = &fake{Version: i, Script: s}
			other := config("other-"+string(rune('a'+i%5)), s)
			r.Apply([]Probe{{Config: c}, {Config: other}})
			r.Wake("web", vip.TriggerFile, false)
			r.Wake("nobody", vip.TriggerFile, false)
			pass(time.Millisecond)
		}
		pass(2 * time.Second)
		r.mu.Lock()
		defer r.mu.Unlock()
		if n := len(r.probers); n != 2 || len(r.wakes) > 0 {
			t.Errorf("%d probers, %d wakes", n, len(r.wakes))
		}
		if n := runtime.NumGoroutine(); n > 20 {
			t.Errorf("%d goroutines", n)
		}
	})
}
