package kernel

import (
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestAFightDoesNotFloodTheLog(t *testing.T) {
	h, table := newFakeHost(), newFakeTable()
	bubbleOver(t, h, table, func(t *testing.T, a *agent) {
		d := byWayOf("10.0.0.1")
		d.Addresses = []netip.Addr{v4, v6}
		a.engine.Apply(d)
		a.fact(v4)
		for range 600 { // a minute
			h.takeAway(v4)
			table.set(func() { table.on = nil })
			time.Sleep(50 * time.Millisecond)
			h.hints <- hintRoutes
			time.Sleep(50 * time.Millisecond)
		}
		synctest.Wait()
		for _, line := range []string{"address was taken away", "address added", "default route was changed", "default route changed"} {
			if n := strings.Count(a.log.String(), line); n < 7 || n > 10 {
				t.Errorf("%d lines of %q in a minute", n, line)
			}
		}
		if !a.log.has("not_logged=9") {
			t.Errorf("nobody says how often: %s", a.log)
		}
	})
}

func TestQuietSaysThreeTimesAndThenHowOften(t *testing.T) {
	q, now, k := newQuiet(slog.New(slog.DiscardHandler)), time.Now(), kind{"m", "a"}
	steps := []struct {
		after time.Duration
		more  int
		said  bool
	}{
		{0, 0, true}, {time.Second, 0, true}, {time.Second, 0, true}, {time.Second, 0, false}, {6 * time.Second, 0, false},
		{time.Second, 2, true}, {time.Second, 0, false}, {9 * time.Second, 1, true}, // it goes on
		{quietSpan, 0, true}, {0, 0, true}, {0, 0, true}, {0, 0, false}, // it was over
		{time.Hour, 1, true}, {0, 0, true}, // over as well
	}
	for i, s := range steps {
		now = now.Add(s.after)
		if more, said := q.admit(k, now); more != s.more || said != s.said {
			t.Errorf("step %d: %d %t, want %d %t", i, more, said, s.more, s.said)
		}
	}
	if _, said := q.admit(kind{"m", "b"}, now); !said {
		t.Error("another subject is kept quiet")
	}
	q.admit(kind{"m", "c"}, now.Add(quietSpan))
	if len(q.kinds) != 1 {
		t.Errorf("%d kinds are remembered, of which one is not over", len(q.kinds))
	}
}
