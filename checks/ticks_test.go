package checks

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

func TestTicksTellAFreeze(t *testing.T) {
	base := time.Now()
	at := func(ms int) time.Time { return base.Add(time.Duration(ms) * time.Millisecond) }
	for _, tc := range []struct {
		name      string
		ticks     []int
		from, now int
		frozen    bool
	}{
		{"on time", []int{0, 500, 1000}, 200, 1400, false},
		{"a tick that is late", []int{0, 500, 1500}, 200, 1600, false},
		{"a freeze, and the tick after it has come", []int{0, 500, 4500}, 200, 4501, true},
		{"a freeze, and the tick after it is still to come", []int{0, 500}, 200, 4500, true},
		{"a freeze some ticks ago", []int{0, 500, 4500, 5000, 5500}, 200, 5600, true},
		{"a freeze before it all", []int{0, 4500, 5000, 5500}, 4600, 5600, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var seen ticks
			for _, ms := range tc.ticks {
				seen = seen.next(at(ms))
			}
			if got := seen.frozen(at(tc.from), at(tc.now)); got != tc.frozen {
				t.Errorf("frozen is %t, want %t", got, tc.frozen)
			}
		})
	}
}

// A prober that waits for a probe since 0, with 500 ms for it.
func TestAFreezeMakesNoProbeStuck(t *testing.T) {
	base := time.Now()
	at := func(ms int) time.Time { return base.Add(time.Duration(ms) * time.Millisecond) }
	for _, tc := range []struct {
		name  string
		ticks []int
		want  int
	}{
		{"it is not over its time and the grace", []int{0, 500, 1000, 1499}, 0},
		{"it is over them", []int{0, 500, 1000, 1500}, 1},
		{"they went by in a freeze", []int{0, 4000, 4500, 5000}, 0},
		{"most of them went by in a freeze, the rest after it", []int{0, 1400, 1900, 2400}, 0},
		{"a freeze, and it is stuck indeed", []int{0, 4000, 4500, 5000, 5500}, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			reports := 0
			p := &prober{config: config("disk", nil), report: func(vip.Result) { reports++ }}
			p.setBusy(base)
			var seen ticks
			for _, ms := range tc.ticks {
				seen = seen.next(at(ms))
				p.reportStuck(seen)
			}
			if reports != tc.want {
				t.Errorf("reported as stuck %d times, want %d", reports, tc.want)
			}
		})
	}
}

func TestAProbeIsRepeatedOnceAfterAFreeze(t *testing.T) {
	fails := func(context.Context) vip.Result { return vip.Result{Outcome: vip.Fail, Class: vip.ClassRefused} }
	passes := func(context.Context) vip.Result { return vip.Result{Outcome: vip.Pass} }
	for _, tc := range []struct {
		name   string
		probe  func(context.Context) vip.Result
		age    time.Duration // of the last tick
		probes int
		want   vip.Outcome
	}{
		{"a failure without a freeze counts", fails, 0, 1, vip.Fail},
		{"a pass counts", passes, 4 * time.Second, 1, vip.Pass},
		{"a failure is asked again, and then counts", fails, 4 * time.Second, 2, vip.Fail},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := &script{probe: tc.probe}
			p := &prober{config: config("web", s), log: slog.New(slog.DiscardHandler), ticks: new(atomic.Pointer[ticks])}
			p.ticks.Store(&ticks{last: time.Now().Add(-tc.age)})
			r := p.probe(t.Context())
			if n := len(s.since(time.Time{})); n != tc.probes || r.Outcome != tc.want {
				t.Errorf("%d probes, %s; want %d, %s", n, r.Outcome, tc.probes, tc.want)
			}
		})
	}
}
