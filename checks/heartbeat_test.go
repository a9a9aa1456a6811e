package checks

import (
	"strings"
	"testing"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

func heartbeat() Config {
	return Config{Name: "app", Kind: &Heartbeat{TTL: 2 * time.Second}, Interval: time.Second, Timeout: time.Second}
}

func TestAHeartbeatIsWhatWasReported(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.Apply([]Probe{{Config: heartbeat()}})
		pass(1500 * time.Millisecond)
		if got := r.of("app"); len(got) > 0 {
			t.Errorf("before the first report: %+v", got)
		}
		for _, o := range []vip.Outcome{vip.Pass, vip.Degraded, vip.Fail} {
			before := len(r.of("app"))
			r.Report("app", Report{At: time.Now(), Outcome: o, Detail: "says " + o.String()})
			pass(10 * time.Millisecond)
			got := r.of("app")
			if len(got) != before+1 {
				t.Fatalf("%d results at the report, want one", len(got)-before)
			}
			if last := got[before]; last.Outcome != o || last.Detail != "says "+o.String() || last.Trigger != vip.TriggerReport {
				t.Errorf("%+v", last)
			}
			pass(1200 * time.Millisecond)
			if last := r.of("app")[len(r.of("app"))-1]; last.Outcome != o || last.Trigger != vip.TriggerInterval {
				t.Errorf("an interval later: %+v", last)
			}
		}
		pass(3 * time.Second)
		if last := r.of("app")[len(r.of("app"))-1]; last.Outcome != vip.Fail || last.Class != vip.ClassTimeout || !strings.Contains(last.Detail, "more than ttl of 2s") {
			t.Errorf("after a silence: %+v", last)
		}
		r.Report("nobody", Report{At: time.Now()}) // is ignored
		pass(time.Second)
	})
}

func TestAHeartbeatThatNeverCameFailsAfterItsTTL(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.Apply([]Probe{{Config: heartbeat()}})
		pass(5 * time.Second)
		got := r.of("app")
		if len(got) == 0 || got[0].Outcome != vip.Fail || !strings.Contains(got[0].Detail, "no report yet") {
			t.Errorf("%+v", got)
		}
	})
}

func TestARemovedHeartbeatForgetsItsReport(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.Apply([]Probe{{Config: heartbeat()}})
		pass(time.Second)
		r.Report("app", Report{At: time.Now(), Outcome: vip.Pass})
		pass(time.Second)
		r.Apply(nil)
		pass(time.Second)
		before := len(r.of("app"))
		r.Apply([]Probe{{Config: heartbeat()}})
		pass(1500 * time.Millisecond)
		if got := r.of("app"); len(got) != before {
			t.Errorf("%+v", got[before:])
		}
	})
}

func TestHeartbeatsAreValidated(t *testing.T) {
	for _, ttl := range []time.Duration{0, time.Millisecond, 2 * time.Hour} {
		if ps := (&Heartbeat{TTL: ttl}).Validate(); len(ps) != 1 || ps[0].Path != "ttl" {
			t.Errorf("%s: %v", ttl, ps)
		}
	}
}
