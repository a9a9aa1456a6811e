package agent

import (
	"context"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anyvip/anyvip/bgp"
	"github.com/anyvip/anyvip/pkg/config"
)

// watch is a deadman over one part that beats until stopAt.
type watch struct {
	mu    sync.Mutex
	seen  []string
	start time.Time
}

func (w *watch) note(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = append(w.seen, what+" at "+time.Since(w.start).Round(deadTick).String())
}

func (w *watch) deadman(last func() time.Time, panics <-chan string, exited func()) deadman {
	w.start = time.Now()
	ended := make(chan struct{})
	close(ended)
	return deadman{ended: ended,
		alive: alive{pulses: []pulse{{"agent loop", last}}}, panic: panics,
		cease: func(text string) { w.note("cease " + text) },
		exit:  func(code int) { w.note("exit " + []string{"0", "1", "2", "3"}[code]); exited() },
		log:   slog.New(slog.DiscardHandler),
	}
}

func TestDeadmanEndsAnAgentThatStandsStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w watch
		born := time.Now()
		w.deadman(func() time.Time { return born }, nil, func() {}).run(t.Context())
		synctest.Wait()
		want := []string{"cease anyvip: agent stands still at 2s", "exit 3 at 3s"}
		if !slices.Equal(w.seen, want) {
			t.Errorf("seen %q, want %q", w.seen, want)
		}
	})
}

func TestDeadmanLeavesALivingAgentAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		var w watch
		// It beats every 1.9 s, and before the first beat says nothing at all.
		begun := time.Now().Add(10 * time.Second)
		last := func() time.Time {
			if time.Now().Before(begun) {
				return time.Time{}
			}
			return begun.Add(time.Since(begun).Truncate(1900 * time.Millisecond))
		}
		w.deadman(last, nil, func() {}).run(ctx)
		if len(w.seen) != 0 {
			t.Errorf("seen %q in an hour of life", w.seen)
		}
	})
}

// Two SIGTERMs end an agent at once, unless its loop hangs.
func TestTheEndOfAnAgentWhoseLoopHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var w watch
		d := w.deadman(time.Now, nil, func() {})
		d.ended = make(chan struct{})
		cancel()
		d.run(ctx)
		if want := []string{"exit 3 at " + endLimit.String()}; !slices.Equal(w.seen, want) {
			t.Errorf("seen %q, want %q", w.seen, want)
		}
	})
}

func TestAPanicClosesSessionsAndEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		g := newGuard()
		var w watch
		d := w.deadman(time.Now, g.panics, cancel)
		go func() {
			_ = g.run("check web", func() error { panic("checks: invariant broke") })
		}()
		d.run(ctx)
		want := []string{"cease anyvip: internal error at 0s", "exit 3 at 0s"}
		if !slices.Equal(w.seen, want) {
			t.Errorf("seen %q, want %q", w.seen, want)
		}
	})
}

func TestAliveGateSaysWhoStandsStill(t *testing.T) {
	now := time.Now()
	a := alive{pulses: []pulse{
		{"agent loop", func() time.Time { return now }},
		{"check runner", func() time.Time { return now.Add(-aliveLimit) }},
	}}
	if a.ok() || a.health() == nil {
		t.Error("the gate is open although the check runner stands still")
	}
	if name, _ := a.stuck(now, aliveLimit); name != "check runner" {
		t.Errorf("stuck: %q", name)
	}
}

// A step of the wall clock (NTP at boot, a resumed machine) must neither end the
// agent nor blind the deadman, so every pulse carries a monotonic reading.
func TestPulsesAreMonotonic(t *testing.T) {
	l, _, _ := lonelyLoop(&config.Config{})
	l.turn()
	if at := l.lastBeat(); !strings.Contains(at.String(), " m=") {
		t.Errorf("the loop's beat %v has no monotonic reading", at)
	}
	e := bgp.New(bgp.Options{Report: func(bgp.Report) {}, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = e.Run(ctx) }()
	for e.LastPass().IsZero() {
		runtime.Gosched()
	}
	cancel()
	<-done
	if at := e.LastPass(); !strings.Contains(at.String(), " m=") {
		t.Errorf("the engine's beat %v has no monotonic reading", at)
	}
}

// A process that was stopped as a whole (SIGSTOP, a frozen machine) finds every
// beat old when it goes on, and gets the time to show life.
func TestDeadmanForgivesAFreezeOfEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var w watch
		froze, thawed := time.Now().Add(5*time.Second), time.Now().Add(25*time.Second)
		last := func() time.Time {
			now := time.Now()
			if !now.Before(froze) && now.Before(thawed) {
				time.Sleep(time.Until(thawed)) // the deadman stands still with all the others
			}
			if now = time.Now(); !now.Before(froze) && now.Before(thawed.Add(time.Second)) {
				return froze
			}
			return now
		}
		w.deadman(last, nil, func() {}).run(ctx)
		if len(w.seen) != 0 {
			t.Errorf("seen %q after a freeze of everything", w.seen)
		}
	})
}

// Each time that a part stands still between the two limits is a Cease.
func TestDeadmanCeasesEachTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5500*time.Millisecond)
		defer cancel()
		var w watch
		begun := time.Now()
		last := func() time.Time { return begun.Add(time.Since(begun).Truncate(2500 * time.Millisecond)) }
		w.deadman(last, nil, func() {}).run(ctx)
		synctest.Wait()
		want := []string{"cease anyvip: agent stands still at 2s", "cease anyvip: agent stands still at 4.5s"}
		if !slices.Equal(w.seen, want) {
			t.Errorf("seen %q, want %q", w.seen, want)
		}
	})
}
