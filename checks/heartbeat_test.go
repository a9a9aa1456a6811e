package checks

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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
		if last := r.of("app")[len(r.of("app"))-1]; last.Outcome != vip.Fail || last.Class != vip.ClassTimeout || !strings.Contains(last.Detail, "and ttl is 2s") {
			t.Errorf("after a silence: %+v", last)
		}
		r.Report("nobody", Report{At: time.Now()}) // is ignored
		pass(time.Second)
	})
}

// A report counts when it comes and each interval later, until the next one; silence
// each interval from ttl on. That a change is pending makes nothing count sooner.
func TestWhenAReportCounts(t *testing.T) {
	for name, tc := range map[string]struct {
		reports []int // milliseconds after the first one
		want    []time.Duration
		silent  int // the first look of these that found silence
	}{
		"one":                          {[]int{0}, ms(0, 1000, 2000, 3000, 4000), 3},
		"one more often than interval": {[]int{0, 600, 1200, 1800, 2400}, ms(0, 600, 1200, 1800, 2400, 3400, 4400), 7},
		"one less often":               {[]int{0, 1500, 3000}, ms(0, 1000, 1500, 2500, 3000, 4000), 6},
		"two at once are one":          {[]int{0, 20, 40}, ms(0, 100, 1100, 2100, 3100, 4100), 4},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				c := heartbeat()
				c.Kind = &Heartbeat{TTL: 3 * time.Second}
				r.Apply([]Probe{{Config: c, Fast: true}})
				pass(1333 * time.Millisecond)
				zero := time.Now()
				for _, at := range tc.reports {
					pass(time.Until(zero.Add(time.Duration(at) * time.Millisecond)))
					r.Report("app", Report{At: time.Now(), Outcome: vip.Fail})
				}
				pass(time.Until(zero.Add(4450 * time.Millisecond)))
				var got []time.Duration
				silent := 0
				for _, v := range r.of("app") {
					got = append(got, v.At.Sub(zero))
					if v.Class != vip.ClassTimeout {
						silent++
					}
				}
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Errorf("looks (-want +got):\n%s", diff)
				}
				if silent != tc.silent {
					t.Errorf("silence from look %d on, want %d", silent, tc.silent)
				}
			})
		})
	}
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
