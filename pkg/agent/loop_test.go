package agent

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anyvip/anyvip/bgp"
	"github.com/anyvip/anyvip/bgp/neighbor"
	"github.com/anyvip/anyvip/checks"
	"github.com/anyvip/anyvip/pkg/config"
	"github.com/anyvip/anyvip/pkg/hint"
	"github.com/anyvip/anyvip/pkg/hook"
	"github.com/anyvip/anyvip/pkg/intent"
	"github.com/anyvip/anyvip/pkg/kernel"
	"github.com/anyvip/anyvip/pkg/policy"
	"github.com/anyvip/anyvip/pkg/status"
	"github.com/anyvip/anyvip/pkg/vip"
	"github.com/anyvip/anyvip/vrrp"
)

// lonelyLoop is a loop over receivers that do nothing.
func lonelyLoop(c *config.Config) (*loop, *mailbox, *status.Publisher) {
	mail, snapshots := newMailbox(), status.NewPublisher()
	nobody := receivers{bgp: func(bgp.Desired) {}, neighbors: func(neighbor.Desired) {}, kernel: func(kernel.Desired) {}, routers: func([]vrrp.Candidacy) {}, checks: func([]checks.Probe) {},
		hints: func([]hint.Watch) {}, flows: func([]netip.Addr) {}, wake: func(string, vip.Trigger, bool) {}, report: func(string, checks.Report) {},
		drain: func(intent.Drain, func(error)) error { return nil }, undrain: func(string, func(error)) error { return nil },
		hooks: func([]hook.Config) {}, fire: func(hook.Event) {}, prepare: func([]string, time.Duration, hook.Event, func(error)) {}, keep: func(map[string]*policy.ServiceMemory) {}}
	return newLoop(c, "test", nobody, mail, snapshots, slog.New(slog.DiscardHandler)), mail, snapshots
}

func TestTheLoopTurnsWithoutMail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		l, _, _ := lonelyLoop(&config.Config{})
		go func() { _ = l.run(ctx) }()
		time.Sleep(aliveLimit)
		for range 1000 {
			time.Sleep(777 * time.Millisecond)
			if age := time.Since(l.lastBeat()); age > heartbeat {
				t.Fatalf("last turn %v ago", age)
			}
		}
		cancel()
		synctest.Wait()
	})
}

func TestRecordsArePublishedOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l, mail, snapshots := lonelyLoop(&config.Config{Checks: []checks.Config{{Name: "web", Rise: 1, Fall: 1, Kind: fakeKind{name: "web"}}}})
		go func() { _ = l.run(ctx) }()
		pass := func() { mail.result(vip.Result{Check: "web", At: time.Now(), Outcome: vip.Pass}); synctest.Wait() }
		pass() // the verdict
		before := snapshots.Load()
		for range 100 {
			time.Sleep(100 * time.Millisecond)
			pass()
		}
		after := snapshots.Load()
		if n := after.Serial - before.Serial; n < 9 || n > 10 {
			t.Errorf("%d snapshots in 10 s of results that change nothing, want one a second", n)
		}
		if after.Counters.Decisions != before.Counters.Decisions {
			t.Error("a result that changes nothing led to a decision")
		}
		if before.Checks[0].Probes != 1 || after.Checks[0].Probes < 90 {
			t.Errorf("%d, then %d probes: a snapshot changed, or records were not published", before.Checks[0].Probes, after.Checks[0].Probes)
		}
		cancel()
		synctest.Wait()
	})
}

// A result that changes no verdict is a few lines of bookkeeping.
func BenchmarkAResultThatChangesNothing(b *testing.B) {
	const checksHere = 2000
	c := &config.Config{}
	for i := range checksHere {
		c.Checks = append(c.Checks, checks.Config{Name: fmt.Sprint("check-", i), Rise: 1, Fall: 1, Kind: fakeKind{name: "web"}})
	}
	l, _, _ := lonelyLoop(c)
	l.take(c)
	results := make([]vip.Result, checksHere)
	for i := range results {
		results[i] = vip.Result{Check: c.Checks[i].Name, At: time.Now(), Outcome: vip.Pass}
	}
	l.takeResults(results)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if l.takeResults(results[i%checksHere : i%checksHere+1]) {
			b.Fatal("it changed something")
		}
	}
}
