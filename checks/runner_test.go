package checks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/anyvip/anyvip/pkg/vip"
)

func TestAnApplyThatChangesNothingChangesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		s, slow := &script{}, &script{probe: takes(1200 * time.Millisecond)}
		set := func() []Probe { // each with a Kind of its own that is Equal
			c := config("slow", slow)
			c.Timeout = time.Minute
			return []Probe{{Config: config("web", s)}, {Config: c}}
		}
		for range 120 {
			r.Apply(set())
			pass(37 * time.Millisecond)
		}
		if diff := cmp.Diff(ms(0, 1000, 2000, 3000, 4000), s.since(s.first())); diff != "" {
			t.Errorf("starts (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(ms(0, 2000, 4000), slow.since(slow.first())); diff != "" {
			t.Errorf("starts of the slow one (-want +got):\n%s", diff)
		}
		for i, v := range r.of("web") {
			if want := map[bool]vip.Trigger{true: vip.TriggerStart, false: vip.TriggerInterval}[i == 0]; v.Trigger != want {
				t.Errorf("result %d has trigger %s, want %s", i, v.Trigger, want)
			}
		}
	})
}

func TestAChangedCheckStartsAnew(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		s := &script{probe: func(ctx context.Context) vip.Result {
			<-ctx.Done()
			time.Sleep(70 * time.Millisecond) // it takes a while to give up
			return vip.Result{Outcome: vip.Fail, Detail: "cut short"}
		}}
		c := config("web", s)
		c.Timeout = time.Minute
		bystander := &script{}
		r.Apply([]Probe{{Config: c}, {Config: config("bystander", bystander)}})
		pass(400 * time.Millisecond)

		healthy := &script{}
		c.Kind = &fake{Version: 2, Script: healthy}
		changed := time.Now()
		r.Apply([]Probe{{Config: c}, {Config: config("bystander", bystander)}})
		pass(2 * time.Second)

		if got := healthy.first().Sub(changed); got < 70*time.Millisecond || got >= 170*time.Millisecond {
			t.Errorf("the new prober started after %s, want 70 to 170 ms: when the old one's probe has ended, plus a phase", got)
		}
		results := r.of("web")
		if len(results) != 2 || results[0].Trigger != vip.TriggerStart || results[1].Trigger != vip.TriggerInterval {
			t.Errorf("results %+v, want one start and one interval, none of the probe that was cut short", results)
		}
		if diff := cmp.Diff(ms(0, 1000, 2000), bystander.since(bystander.first())); diff != "" {
			t.Errorf("another check's starts (-want +got):\n%s", diff)
		}
	})
}

func TestAHangingCheckMakesNoOtherLate(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		hung := &script{probe: hangs(time.Minute)}
		var set []Probe
		var others []*script
		for i := range 20 {
			others = append(others, &script{})
			set = append(set, Probe{Config: config(fmt.Sprint("good", i), others[i])},
				Probe{Config: config(fmt.Sprint("bad", i), hung)})
		}
		r.Apply(set)
		pass(maxPhase)
		pass(10 * time.Second)
		for i, s := range others {
			starts := s.since(s.first())
			for n, at := range starts {
				if at != time.Duration(n)*time.Second {
					t.Errorf("check %d: probe %d started after %s", i, n, at)
				}
			}
			if len(starts) < 10 {
				t.Errorf("check %d: %d probes", i, len(starts))
			}
		}
		pass(time.Minute)
	})
}

func TestAProbeThatDoesNotEndIsReportedInItsPlace(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		s := &script{probe: hangs(10 * time.Second)}
		c := config("disk", s)
		c.Interval = 2 * time.Second
		r.Apply([]Probe{{Config: c}})
		pass(1500 * time.Millisecond)
		if got := r.of("disk"); len(got) != 0 {
			t.Errorf("reported while the grace was not over: %+v", got)
		}
		pass(4500 * time.Millisecond) // now 6 s
		got := r.of("disk")
		if len(got) != 3 { // at 2, 4 and 6 s, since the interval is 2 s
			t.Fatalf("%d results, want 3: %+v", len(got), got)
		}
		for _, v := range got {
			if v.Outcome != vip.Fail || v.Class != vip.ClassTimeout || !strings.HasPrefix(v.Detail, "stuck for ") {
				t.Errorf("result %+v", v)
			}
		}

		// A new configuration cannot start before the old probe has ended, and that is said too.
		c.Kind = &fake{Version: 2, Script: &script{}}
		r.Apply([]Probe{{Config: c}})
		pass(3 * time.Second)
		if got := r.of("disk"); got[len(got)-1].Outcome != vip.Fail || len(got) < 4 {
			t.Errorf("silent while waiting for the old probe: %+v", got)
		}
		pass(3 * time.Second)
		if got := r.of("disk"); got[len(got)-1].Outcome != vip.Pass {
			t.Errorf("not recovered: %+v", got)
		}
	})
}

func TestARemovedCheckEnds(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		cut := make(chan struct{}, 2)
		s := &script{probe: func(ctx context.Context) vip.Result {
			<-ctx.Done()
			cut <- struct{}{}
			time.Sleep(50 * time.Millisecond)
			return vip.Result{Outcome: vip.Fail}
		}}
		c := config("web", s)
		c.Timeout = time.Minute
		r.Apply([]Probe{{Config: c}})
		pass(time.Second)
		r.Apply(nil)
		synctest.Wait()
		select {
		case <-cut:
		default:
			t.Error("the probe under way was not cut short")
		}

		// It comes back while its last probe is still ending.
		r.Apply([]Probe{{Config: c}})
		pass(time.Second)
		if n := len(s.since(time.Time{})); n != 2 || s.worst.Load() != 1 {
			t.Errorf("%d probes, %d at a time; want 2, one at a time", n, s.worst.Load())
		}
		r.Apply(nil)
		pass(10 * time.Second)
		if n := len(s.since(time.Time{})); n != 2 {
			t.Errorf("%d probes after the check was removed", n-2)
		}
		if got := r.of("web"); len(got) != 0 {
			t.Errorf("a probe that was cut short was reported: %+v", got)
		}
		if n := len(r.probers); n != 0 {
			t.Errorf("%d probers are kept", n)
		}
	})
}

func TestACheckThatCannotBePreparedTriesAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var mended atomic.Bool
		var tries atomic.Int32
		s := &script{prepare: func() error {
			tries.Add(1)
			if !mended.Load() {
				return errors.New("ca.pem: permission\ndenied")
			}
			return nil
		}}
		r.Apply([]Probe{{Config: config("web", s)}})
		pass(2500 * time.Millisecond)
		got := r.of("web")
		if len(got) != 3 {
			t.Fatalf("%d results, want one per interval", len(got))
		}
		for _, v := range got {
			if v.Outcome != vip.Error || v.Class != vip.ClassLocal || v.Detail != "ca.pem: permission denied" {
				t.Errorf("result %+v", v)
			}
		}
		mended.Store(true)
		pass(2 * time.Second)
		if got := r.of("web"); got[len(got)-1].Outcome != vip.Pass {
			t.Errorf("not recovered: %+v", got[len(got)-1])
		}
		if n := tries.Load(); n != 4 {
			t.Errorf("prepared %d times, want 3 in vain and 1 for good", n)
		}
	})
}

func TestAResultIsComplete(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var deadline time.Duration
		s := &script{probe: func(ctx context.Context) vip.Result {
			d, _ := ctx.Deadline()
			deadline = time.Until(d)
			time.Sleep(30 * time.Millisecond)
			return vip.Result{Outcome: vip.Degraded, Class: vip.ClassStatus, Detail: " slow\tdisk\n" + strings.Repeat("x", 1000)}
		}}
		r.Apply([]Probe{{Config: config("web", s)}})
		pass(500 * time.Millisecond)
		want := []vip.Result{{Check: "web", At: s.first().Add(30 * time.Millisecond), Outcome: vip.Degraded, Class: vip.ClassStatus,
			Detail: "slow disk " + strings.Repeat("x", 243) + "…", Latency: 30 * time.Millisecond, Trigger: vip.TriggerStart}}
		if diff := cmp.Diff(want, r.of("web")); diff != "" {
			t.Errorf("result (-want +got):\n%s", diff)
		}
		if deadline != 500*time.Millisecond {
			t.Errorf("the probe had %s, want its timeout", deadline)
		}
	})
}

func TestAThousandChecksKeepTheirGrids(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		const n = 1000
		scripts := make([]*script, n)
		set := make([]Probe, n)
		for i := range n {
			scripts[i] = &script{probe: takes(time.Duration(i) * time.Millisecond / 4)}
			set[i] = Probe{Config: config(fmt.Sprint("check", i), scripts[i])}
		}
		applied := time.Now()
		r.Apply(set)
		const interval = time.Second // 1,000 times phaseShare would be longer
		pass(interval)
		pass(10 * time.Second)
		var phases []time.Duration
		for i, s := range scripts {
			phases = append(phases, s.first().Sub(applied))
			for k, at := range s.since(s.first()) {
				if at != time.Duration(k)*interval {
					t.Fatalf("check %d: probe %d started after %s", i, k, at)
				}
			}
		}
		slices.Sort(phases)
		for i, phase := range phases {
			even := time.Duration(i) * interval / n
			if (phase-even).Abs() > interval/10 || phase >= interval || phase%phaseSlot != 0 {
				t.Fatalf("first probe number %d after %s: they are not spread over the slots of %s", i, phase, interval)
			}
		}
	})
}

func TestLastTickFollowsRun(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		if idle := NewRunner(Options{}); !idle.LastTick().IsZero() {
			t.Error("a Runner that does not run has ticked")
		}
		r.Apply([]Probe{{Config: config("hung", &script{probe: hangs(10 * time.Second)})}})
		for range 50 {
			pass(100 * time.Millisecond)
			if age := time.Since(r.LastTick()); age > 500*time.Millisecond {
				t.Errorf("the last tick is %s old", age)
			}
		}
		r.stop()
		pass(20 * time.Second)
		if age := time.Since(r.LastTick()); age < 20*time.Second {
			t.Errorf("still ticking after the end: %s", age)
		}
	})
}

func TestRunWaitsForItsGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		started := 0
		r := NewRunner(Options{Report: func(vip.Result) {}, Go: func(f func()) { started++; go f() }})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		r.Apply([]Probe{{Config: config("a", &script{probe: hangs(3 * time.Second)})}, {Config: config("b", &script{})}})
		go func() { ended <- r.Run(ctx) }()
		pass(time.Second)
		cancel()
		synctest.Wait()
		select {
		case <-ended:
			t.Error("Run returned while a probe was under way")
		default:
		}
		pass(3 * time.Second)
		if err := <-ended; err != nil || started != 2 {
			t.Errorf("Run returned %v, %d goroutines were started through Go; want nil and 2", err, started)
		}
	})
}

func TestApplyNeverBlocksAndTheLatestSetCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		var mu sync.Mutex
		r := NewRunner(Options{Report: func(v vip.Result) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, v.Check)
		}})
		var group sync.WaitGroup
		for i := range 10 {
			group.Go(func() {
				for k := range 100 {
					r.Apply([]Probe{{Config: config(fmt.Sprint(i, k), &script{})}})
				}
			})
		}
		group.Wait() // Run has not begun: nobody takes anything
		set := []Probe{{Config: config("latest", &script{})}}
		r.Apply(set)
		set[0].Name = "changed by the caller afterwards"
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		pass(500 * time.Millisecond)
		cancel()
		<-ended
		if diff := cmp.Diff([]string{"latest"}, got); diff != "" {
			t.Errorf("probed (-want +got):\n%s", diff)
		}
	})
}
