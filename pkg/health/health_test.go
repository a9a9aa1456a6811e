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

// The letters of results here: p pass, s slow pass, t timeout, f fail, g refused
// after the listener's end, r refused; those of verdicts as above, and o where
// timeouts are absorbed.
func TestWhatAResultIsWorth(t *testing.T) {
	results := map[byte]vip.Result{
		'p': {Outcome: vip.Pass, Latency: 10 * time.Millisecond},
		's': {Outcome: vip.Pass, Latency: 300 * time.Millisecond},
		't': {Outcome: vip.Fail, Class: vip.ClassTimeout},
		'f': {Outcome: vip.Fail, Class: vip.ClassStatus},
		'r': {Outcome: vip.Fail, Class: vip.ClassRefused},
		'g': {Outcome: vip.Fail, Class: vip.ClassRefused, Trigger: vip.TriggerListener},
		'h': {Outcome: vip.Fail, Class: vip.ClassTimeout, Trigger: vip.TriggerListener},
		'e': {Outcome: vip.Error},
	}
	base := health.Params{Rise: 2, Fall: 2}
	with := func(change func(*health.Params)) health.Params {
		p := base
		change(&p)
		return p
	}
	absorb := with(func(p *health.Params) { p.OnTimeout = vip.OnTimeoutAbsorb })
	degrade := with(func(p *health.Params) { p.OnTimeout = vip.OnTimeoutDegrade })
	slow := with(func(p *health.Params) { p.SlowAfter = 200 * time.Millisecond })
	probe := with(func(p *health.Params) { p.OnGone = vip.OnGoneProbe })
	for name, tc := range map[string]struct {
		params        health.Params
		results, want string
	}{
		"a timeout fails":                                      {base, "pptt", "uPpF"},
		"a timeout degrades":                                   {degrade, "ppttff", "uPpDdF"},
		"timeouts are absorbed, and said":                      {absorb, "pptttp", "uPpOoP"},
		"a failure between absorbed timeouts counts":           {absorb, "ppttff", "uPpOPF"},
		"absorbed timeouts keep a failure":                     {absorb, "ffttpp", "uFfffP"},
		"a timeout ends a rise":                                {absorb, "ffptpp", "uFfffP"},
		"absorbed timeouts are no first verdict":               {absorb, "tt", "uF"},
		"an error is said where timeouts are absorbed":         {absorb, "ppttetp", "uPpOOOP"},
		"slow passes degrade":                                  {slow, "ppss", "uPpD"},
		"a slow pass is better than a failure":                 {slow, "ffss", "uFfD"},
		"one refusal after the listener's end is enough":       {base, "ppg", "uPF"},
		"also before the first verdict":                        {base, "pg", "uF"},
		"a refusal without one is not":                         {base, "pprr", "uPpF"},
		"nor where on_gone says probe":                         {probe, "ppgg", "uPpF"},
		"nor a timeout after a listener's end":                 {base, "pphh", "uPpF"},
		"a refusal after the end of a failed one says nothing": {base, "ffgpp", "uFffP"},
	} {
		t.Run(name, func(t *testing.T) {
			c := health.New(tc.params, epoch)
			var got strings.Builder
			for i := range len(tc.results) {
				r := results[tc.results[i]]
				r.At = epoch.Add(time.Duration(i+1) * time.Second)
				changed := c.Observe(r)
				letter := c.Verdict.Outcome.String()[:1]
				if !c.Verdict.Overloaded.IsZero() {
					letter = "o"
				}
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
