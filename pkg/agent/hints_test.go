package agent

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anyvip/anyvip/checks"
	"github.com/anyvip/anyvip/pkg/config"
	"github.com/anyvip/anyvip/pkg/event"
	"github.com/anyvip/anyvip/pkg/hint"
	"github.com/anyvip/anyvip/pkg/policy"
	"github.com/anyvip/anyvip/pkg/status"
	"github.com/anyvip/anyvip/pkg/vip"
)

// aFileChanges has 2,000 hints in 20 s, of which each tenth has woken a probe.
func aFileChanges(t *testing.T, mail *mailbox) {
	t.Helper()
	for i := range 2000 {
		mail.hint(hint.Hint{Check: "web", Source: hint.File, Detail: fmt.Sprint("/run/x: write ", i)})
		if i%10 == 0 {
			mail.result(vip.Result{Check: "web", At: time.Now(), Outcome: vip.Pass, Trigger: vip.TriggerFile})
		}
		time.Sleep(10 * time.Millisecond)
	}
	synctest.Wait()
}

func wokenRecords(s *status.Snapshot) (out []event.Record) {
	for _, r := range s.Events {
		if r.To == "woken" {
			out = append(out, r)
		}
	}
	return out
}

func TestKernelEventsDoNotFloodTheRing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l, mail, snapshots := lonelyLoop(&config.Config{Checks: []checks.Config{{Name: "web", Rise: 1, Fall: 2, Kind: fakeKind{name: "web"}}}})
		go func() { _ = l.run(ctx) }()
		mail.result(vip.Result{Check: "web", At: time.Now(), Outcome: vip.Pass})
		aFileChanges(t, mail)
		time.Sleep(publishEvery)
		s := snapshots.Load()
		got := wokenRecords(s)
		if len(got) != 2 {
			t.Fatalf("%d records: %v", len(got), got)
		}
		if !strings.HasPrefix(got[1].Reason, "file: /run/x: write ") || !strings.HasSuffix(got[1].Reason, " (99 more were not recorded)") {
			t.Errorf("%q", got[1].Reason)
		}
		if n := s.Checks[0].Woken[vip.TriggerFile]; n != 200 {
			t.Errorf("%d probes were woken", n)
		}
		cancel()
		synctest.Wait()
	})
}

func TestAnEndThatTurnsAVerdictIsAlwaysRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l, mail, snapshots := lonelyLoop(&config.Config{Checks: []checks.Config{{Name: "web", Rise: 1, Fall: 2, Kind: fakeKind{name: "web"}}},
			Services: []policy.Service{{Name: "web", Require: policy.Require{Rule: policy.RuleCheck, Check: "web"}}}})
		go func() { _ = l.run(ctx) }()
		heard := func(gone bool, detail string) {
			mail.hint(hint.Hint{Check: "web", Source: hint.Listener, Gone: gone, Detail: detail, At: time.Now()})
		}
		result := func(r vip.Result) {
			r.Check, r.At = "web", time.Now()
			mail.result(r)
			time.Sleep(100 * time.Millisecond)
		}
		refused := vip.Result{Outcome: vip.Fail, Class: vip.ClassRefused, Trigger: vip.TriggerListener}
		result(vip.Result{Outcome: vip.Pass})
		for i := range 3 { // within ten seconds
			heard(true, fmt.Sprint(":80 ended ", i))
			heard(false, ":80 is bound")
			result(refused)
			heard(false, ":80 listens")
			result(vip.Result{Outcome: vip.Pass, Trigger: vip.TriggerListener})
		}
		heard(true, "of another check")
		mail.hint(hint.Hint{Check: "gone", Source: hint.Listener, Detail: "a reload removed it"})
		heard(true, ":80 ended while a probe was under way")
		result(vip.Result{Outcome: vip.Pass, Trigger: vip.TriggerListener, Latency: time.Second})
		result(refused)
		time.Sleep(publishEvery)
		var reasons []string
		for _, r := range wokenRecords(snapshots.Load()) {
			reasons = append(reasons, r.Reason)
		}
		want := "listener: :80 ended 0, then :80 is bound|listener: :80 listens|listener: :80 ended 1, then :80 is bound|listener: :80 listens|" +
			"listener: :80 ended 2, then :80 is bound|listener: :80 listens|listener: :80 ended while a probe was under way"
		if got := strings.Join(reasons, "|"); got != want {
			t.Errorf("%s", got)
		}
		cancel()
		synctest.Wait()
	})
}
