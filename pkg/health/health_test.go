package health_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/anyvip/anyvip/pkg/health"
	"github.com/anyvip/anyvip/pkg/vip"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

var letters = map[byte]vip.Outcome{'p': vip.Pass, 'd': vip.Degraded, 'f': vip.Fail, 'e': vip.Error}

func result(letter byte, n int) vip.Result {
	return vip.Result{Check: "web", At: epoch.Add(time.Duration(n) * time.Second), Outcome: letters[letter], Detail: string(letter)}
}

// Each script feeds one letter per second and lists the verdict after each:
// u unknown, p pass, d degraded, f fail; a capital means that Observe said
// "changed".
func TestRiseAndFall(t *testing.T) {
	for name, tc := range map[string]struct {
		rise, fall    int
		results, want string
	}{
		"one good result is not enough to start":           {2, 2, "p", "u"},
		"rise good results in a row start":                 {2, 2, "ppp", "uPp"},
		"fall bad results in a row from unknown fail":      {2, 2, "fff", "uFf"},
		"a good result between bad ones starts over":       {2, 2, "pp" + "fpfpf", "uP" + "ppppp"},
		"down needs fall in a row":                         {2, 3, "pp" + "fff", "uP" + "ppF"},
		"up needs rise in a row":                           {3, 1, "f" + "ppp", "F" + "ffP"},
		"degraded is worse than pass":                      {1, 2, "p" + "dd", "P" + "pD"},
		"a fall settles at the best of its results":        {1, 2, "p" + "fd", "P" + "pD"},
		"a rise settles at the worst of its results":       {2, 1, "f" + "pd", "F" + "fD"},
		"from degraded both ways":                          {1, 1, "d" + "fdp", "D" + "FDP"},
		"an error keeps the verdict and is said once":      {1, 1, "p" + "ee", "P" + "Pp"},
		"the end of an error is said":                      {1, 1, "p" + "ep", "P" + "PP"},
		"an error ends a run":                              {1, 2, "p" + "fef" + "f", "P" + "pPP" + "F"},
		"errors alone leave it unknown":                    {1, 1, "eee", "Uuu"},
		"unknown settles at degraded when that is all":     {2, 2, "dp", "uD"},
		"fail then pass from unknown does not mix its run": {2, 2, "fpfp", "uuuu"},
	} {
		t.Run(name, func(t *testing.T) {
			c := health.New(health.Params{Rise: tc.rise, Fall: tc.fall}, epoch)
			var got strings.Builder
			for i := range len(tc.results) {
				changed := c.Observe(result(tc.results[i], i+1))
				letter := c.Verdict.Outcome.String()[:1]
				if changed {
					letter = strings.ToUpper(letter)
				}
				got.WriteString(letter)
			}
			if got.String() != tc.want {
				t.Errorf("verdicts after %q: got %q, want %q", tc.results, got.String(), tc.want)
			}
		})
	}
}

func TestVerdictSaysWhenAndWhy(t *testing.T) {
	c := health.New(health.Params{Rise: 1, Fall: 2}, epoch)
	c.Observe(vip.Result{At: epoch.Add(1 * time.Second), Outcome: vip.Pass})
	c.Observe(vip.Result{At: epoch.Add(2 * time.Second), Outcome: vip.Fail, Class: vip.ClassTimeout, Detail: "slow"})
	c.Observe(vip.Result{At: epoch.Add(3 * time.Second), Outcome: vip.Fail, Class: vip.ClassRefused, Detail: "refused"})
	want := health.Verdict{Outcome: vip.Fail, Since: epoch.Add(3 * time.Second), Class: vip.ClassRefused, Detail: "refused"}
	if c.Verdict != want {
		t.Errorf("verdict %+v, want %+v", c.Verdict, want)
	}
}

func TestErrorHoldThenRule(t *testing.T) {
	for name, tc := range map[string]struct {
		rule vip.OnError
		last vip.Outcome
		want vip.Level
		next bool // a change by time is announced before the hold is over
	}{
		"degrade lowers a pass":              {vip.OnErrorDegrade, vip.Pass, vip.LevelDegraded, true},
		"degrade does not lift a failure":    {vip.OnErrorDegrade, vip.Fail, vip.LevelFail, true},
		"hold keeps it for ever":             {vip.OnErrorHold, vip.Pass, vip.LevelPass, false},
		"fail fails":                         {vip.OnErrorFail, vip.Pass, vip.LevelFail, true},
		"degrade leaves a degraded degraded": {vip.OnErrorDegrade, vip.Degraded, vip.LevelDegraded, true},
	} {
		t.Run(name, func(t *testing.T) {
			p := health.Params{Rise: 1, Fall: 1, ErrorHold: time.Minute, OnError: tc.rule}
			v := health.Verdict{Outcome: tc.last, ErrorSince: epoch}
			before, ok, next := v.Level(p, epoch.Add(time.Minute-1))
			if held, _, _ := (health.Verdict{Outcome: tc.last}).Level(p, epoch); !ok || before != held {
				t.Errorf("while held: level %v, known %v; want %v", before, ok, held)
			}
			if tc.next != next.Equal(epoch.Add(time.Minute)) {
				t.Errorf("next change at %v", next)
			}
			after, ok, next := v.Level(p, epoch.Add(time.Minute))
			if !ok || after != tc.want || !next.IsZero() {
				t.Errorf("after the hold: level %v, known %v, next %v; want %v", after, ok, next, tc.want)
			}
		})
	}
}

func TestUnknownHasNoLevel(t *testing.T) {
	p := health.Params{Rise: 1, Fall: 1, OnError: vip.OnErrorFail}
	if _, ok, _ := (health.Verdict{ErrorSince: epoch}).Level(p, epoch.Add(time.Hour)); ok {
		t.Error("a check that never gave a verdict has a level")
	}
}

func TestAResultThatChangesNothingDoesNotAllocate(t *testing.T) {
	c := health.New(health.Params{Rise: 1, Fall: 1}, epoch)
	c.Observe(result('p', 1))
	r := result('p', 2)
	if n := testing.AllocsPerRun(100, func() { c.Observe(r) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Whatever the results, a verdict is never better than the best nor worse than
// the worst of the results since the last change, and pending ends with a
// settled run.
func TestVerdictNeverClaimsMoreThanResults(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := health.Params{Rise: rapid.IntRange(1, 4).Draw(t, "rise"), Fall: rapid.IntRange(1, 4).Draw(t, "fall")}
		c := health.New(p, epoch)
		seen := map[vip.Outcome]bool{}
		for i, l := range rapid.SliceOfN(rapid.SampledFrom([]byte("pdfe")), 1, 40).Draw(t, "results") {
			before := c.Verdict.Outcome
			seen[letters[l]] = true
			c.Observe(result(l, i))
			after := c.Verdict.Outcome
			if after == vip.Error || after != vip.Unknown && !seen[after] {
				t.Fatalf("verdict %v, which no result was", after)
			}
			if before != after && c.Pending() {
				t.Fatalf("still pending after settling at %v", after)
			}
			if letters[l] == vip.Error && before != after {
				t.Fatalf("an error changed %v to %v", before, after)
			}
		}
	})
}
