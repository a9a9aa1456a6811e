package policy_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/anyvip/anyvip/pkg/policy"
	"github.com/anyvip/anyvip/pkg/vip"
)

func checkAs(name string, s vip.Scope) policy.Require {
	return policy.Require{Rule: policy.RuleCheck, Check: name, Scope: &s}
}

func requires(service string) policy.Require {
	return policy.Require{Rule: policy.RuleService, Service: service}
}

func requiresAs(service string, s vip.Scope) policy.Require {
	return policy.Require{Rule: policy.RuleService, Service: service, Scope: &s}
}

func all(of ...policy.Require) policy.Require { return policy.Require{Rule: policy.RuleAll, Of: of} }

// The services of TestReferences: web requires what the case says, db the check
// db, and cache the checks cache (a dependency of its own) and db.
func TestReferences(t *testing.T) {
	p, d, f, u := verdict(vip.Pass), verdict(vip.Degraded), verdict(vip.Fail), verdict(vip.Unknown)
	shared := func(c policy.Check) policy.Check { c.Scope = vip.ScopeDependency; return c }
	for name, tc := range map[string]struct {
		require        policy.Require
		web, db, cache policy.Check
		want           policy.Disposition
		reason         string // the first
	}{
		"a check as dependency here":                {all(check("web"), checkAs("db", vip.ScopeDependency)), p, f, p, policy.Degraded, "check_degraded db"},
		"a check as advisory here":                  {all(check("web"), checkAs("db", vip.ScopeAdvisory)), p, f, p, policy.Announced, "healthy"},
		"a dependency as local here":                {all(checkAs("cache", vip.ScopeLocal)), p, p, shared(f), policy.Withdrawn, "check_failed cache"},
		"of two references the stricter counts":     {all(checkAs("db", vip.ScopeAdvisory), check("db")), p, f, p, policy.Withdrawn, "check_failed db"},
		"a service passes":                          {all(check("web"), requires("db")), p, p, p, policy.Announced, "healthy"},
		"a service fails":                           {all(check("web"), requires("db")), p, f, p, policy.Withdrawn, "check_failed db: required by service db"},
		"a service is degraded":                     {all(check("web"), requires("db")), p, d, p, policy.Degraded, "check_degraded db: required by service db"},
		"a service as dependency":                   {all(check("web"), requiresAs("db", vip.ScopeDependency)), p, f, p, policy.Degraded, "check_degraded db: required by service db"},
		"a service of a service":                    {all(check("web"), requires("cache")), p, f, shared(p), policy.Withdrawn, "check_failed db: required by service cache"},
		"a dependency of a service":                 {all(check("web"), requires("cache")), p, p, shared(f), policy.Degraded, "check_degraded cache: required by service cache"},
		"a service without a verdict":               {all(check("web"), requires("db")), p, u, p, policy.Pending, "check_pending db: required by service db"},
		"a service that does not exist":             {all(check("web"), requires("nope")), p, p, p, policy.Withdrawn, "none"},
		"a circle, which the configuration forbids": {requires("web"), p, p, p, policy.Withdrawn, "none"},
	} {
		t.Run(name, func(t *testing.T) {
			in := world()
			in.Services[0].Require = tc.require
			in.Services = append(in.Services, policy.Service{Name: "db", Require: all(check("db"))},
				policy.Service{Name: "cache", Require: all(check("cache"), requires("db"))})
			in.Checks = map[string]policy.Check{"web": tc.web, "db": tc.db, "cache": tc.cache}
			got := policy.Decide(in).Decisions[0]
			if got.Disposition != tc.want || !strings.HasPrefix(got.Reasons[0].String(), tc.reason) {
				t.Errorf("%s because of %v, want %s because of %s", got.Disposition, got.Reasons, tc.want, tc.reason)
			}
		})
	}
}

func TestALocalCheckIsOneThatAServiceRefersToAsLocal(t *testing.T) {
	scopes := map[string]vip.Scope{"web": vip.ScopeLocal, "db": vip.ScopeDependency, "spare": vip.ScopeLocal}
	for name, tc := range map[string]struct {
		services []policy.Require // of services s0, s1 and so on
		want     []string
	}{
		"by its own scope":                {[]policy.Require{all(check("web"), check("db"))}, []string{"web"}},
		"by the reference":                {[]policy.Require{all(checkAs("web", vip.ScopeDependency), checkAs("db", vip.ScopeLocal))}, []string{"db"}},
		"advisory is not":                 {[]policy.Require{all(checkAs("web", vip.ScopeAdvisory))}, nil},
		"one service as local is enough":  {[]policy.Require{all(checkAs("web", vip.ScopeDependency)), all(check("web"))}, []string{"web"}},
		"one place as local is enough":    {[]policy.Require{all(checkAs("web", vip.ScopeDependency), check("web"))}, []string{"web"}},
		"nobody refers to it":             {[]policy.Require{{Rule: policy.RuleNone}}, nil},
		"through a service":               {[]policy.Require{requires("s1"), checkAs("web", vip.ScopeLocal)}, []string{"web"}},
		"a service as dependency":         {[]policy.Require{requiresAs("s1", vip.ScopeDependency), checkAs("db", vip.ScopeLocal)}, []string{"db"}}, // s1's own
		"a dependency of a local service": {[]policy.Require{requiresAs("s1", vip.ScopeLocal), all(checkAs("web", vip.ScopeDependency))}, nil},
		"any of several":                  {[]policy.Require{{Rule: policy.RuleAny, Of: []policy.Require{check("web"), check("spare")}}}, []string{"spare", "web"}},
	} {
		t.Run(name, func(t *testing.T) {
			var services []policy.Service
			for i, r := range tc.services {
				services = append(services, policy.Service{Name: fmt.Sprintf("s%d", i), Require: r})
			}
			if got := slices.Sorted(maps.Keys(policy.Local(services, scopes, policy.ModeECMP))); !slices.Equal(got, tc.want) {
				t.Errorf("local %v, want %v", got, tc.want)
			}
		})
	}
}

func TestTogetherAllOrNone(t *testing.T) {
	in := world()
	other := in.Services[0]
	other.Name, other.Addresses, other.Require = "api", nil, all(check("api"))
	third := other
	third.Name, third.Require = "alone", all(check("api"))
	in.Services[0].Together, other.Together = "front", "front"
	in.Services = append(in.Services, other, third)
	for _, tc := range []struct {
		web, api vip.Outcome
		want     [3]policy.Disposition
	}{
		{vip.Pass, vip.Pass, [3]policy.Disposition{policy.Announced, policy.Announced, policy.Announced}},
		{vip.Pass, vip.Fail, [3]policy.Disposition{policy.Withdrawn, policy.Withdrawn, policy.Withdrawn}},
		{vip.Fail, vip.Pass, [3]policy.Disposition{policy.Withdrawn, policy.Withdrawn, policy.Announced}},
		{vip.Degraded, vip.Pass, [3]policy.Disposition{policy.Degraded, policy.Degraded, policy.Announced}},
		{vip.Unknown, vip.Pass, [3]policy.Disposition{policy.Pending, policy.Pending, policy.Announced}},
	} {
		in.Checks = map[string]policy.Check{"web": verdict(tc.web), "api": verdict(tc.api)}
		out := policy.Decide(in)
		for i, want := range tc.want {
			if got := out.Decisions[i]; got.Disposition != want {
				t.Errorf("web %s, api %s: %s is %s because of %v, want %s", tc.web, tc.api, got.Service, got.Disposition, got.Reasons, want)
			}
		}
	}
	in.Checks = map[string]policy.Check{"web": verdict(vip.Pass), "api": verdict(vip.Fail)}
	if r := policy.Decide(in).Decisions[0].Reasons[0]; r.String() != "check_failed api: together with service api" {
		t.Errorf("reason %s", r)
	}
}

func TestTogetherInDelays(t *testing.T) {
	in := world()
	in.Services[0].RecoveryDelay, in.Services[0].Together = 2*time.Second, "front"
	other := in.Services[0]
	other.Name, other.Addresses, other.RecoveryDelay = "api", nil, 8*time.Second
	other.StartDelay = 4 * time.Second
	in.Services = append(in.Services, other)
	in.Booted = epoch
	var letters [2]string
	for i := range 24 {
		in.Now = after(time.Duration(i) * time.Second)
		in.Checks = map[string]policy.Check{"web": verdict(vip.Pass)}
		if 8 <= i && i < 10 {
			in.Checks = map[string]policy.Check{"web": verdict(vip.Fail)}
		}
		out := policy.Decide(in)
		in.Prev = out.Memory
		for k, d := range out.Decisions {
			letters[k] += in.Prev.Services[d.Service].Disposition.String()[:1]
		}
	}
	want := "rrrraaaa" + "ww" + "rrrrrrrr" + "aaaaaa"
	if letters[0] != want || letters[1] != want {
		t.Errorf("got\n%s\n%s, want\n%s", letters[0], letters[1], want)
	}
}

func TestTogetherInADrain(t *testing.T) {
	in := world()
	other := in.Services[0]
	other.Name, other.Addresses = "api", nil
	third := other
	third.Name = "alone"
	in.Services[0].Together, other.Together = "front", "front"
	in.Services = append(in.Services, other, third)
	in.Checks = map[string]policy.Check{"web": verdict(vip.Pass)}
	in.Drains = map[string]policy.Drain{"api": {Since: epoch, Until: after(time.Minute), Actor: "root"}}
	out := policy.Decide(in)
	for i, want := range []policy.Disposition{policy.Drained, policy.Drained, policy.Announced} {
		if got := out.Decisions[i]; got.Disposition != want {
			t.Errorf("%s is %s because of %v, want %s", got.Service, got.Disposition, got.Reasons, want)
		}
	}
	if r := out.Decisions[0].Reasons[0]; r.String() != "drained: together with service api: no reason given (root)" || r.Until != after(time.Minute) {
		t.Errorf("reason %s until %s", r, r.Until)
	}
	if d := out.Decisions[0].Drain; d == nil || d.Service != "api" || d.Step != policy.DrainDone {
		t.Errorf("drain %+v", d)
	}
	in.Prev, in.Now = out.Memory, after(time.Minute)
	if got := policy.Decide(in).Decisions[0]; got.Disposition != policy.Announced {
		t.Errorf("after the drain: %s because of %v", got.Disposition, got.Reasons)
	}
}

// flapping decides each second; fails lists the seconds in which the check fails.
func flapping(in policy.Input, seconds int, fails func(second int) bool) (announced []bool, reasons []policy.Reason) {
	for i := range seconds {
		in.Now = after(time.Duration(i) * time.Second)
		in.Checks = map[string]policy.Check{"web": verdict(vip.Pass)}
		if fails(i) {
			in.Checks = map[string]policy.Check{"web": verdict(vip.Fail)}
		}
		out := policy.Decide(in)
		in.Prev = out.Memory
		announced = append(announced, len(out.Announcements) > 0)
		reasons = append(reasons, out.Decisions[0].Reasons[0])
	}
	return announced, reasons
}

func TestRecoveryDelayDoublesWithEachFlap(t *testing.T) {
	in := world()
	in.Services[0].MaxRecovery, in.Services[0].FlapWindow = 35*time.Second, 10*time.Minute
	// It fails for one second each time after it was announced for one.
	var since int
	var delays []int
	up, was := true, true
	for i := range 400 {
		in.Now = after(time.Duration(i) * time.Second)
		in.Checks = map[string]policy.Check{"web": verdict(vip.Pass)}
		if up && i > 0 {
			in.Checks = map[string]policy.Check{"web": verdict(vip.Fail)}
		}
		out := policy.Decide(in)
		in.Prev = out.Memory
		up = len(out.Announcements) > 0
		if was && !up {
			since = i
		}
		if !was && up {
			delays = append(delays, i-since-1) // a second of failure
		}
		was = up
	}
	want := []int{5, 10, 20, 35, 35, 35}
	for i, w := range want {
		if i >= len(delays) || delays[i] != w {
			t.Fatalf("recovery delays of %v s, want %v", delays, want)
		}
	}
}

func TestAFlapIsForgottenAfterItsWindow(t *testing.T) {
	in := world()
	in.Services[0].MaxRecovery, in.Services[0].FlapWindow = time.Minute, 100*time.Second
	announced, reasons := flapping(in, 400, func(s int) bool { return s == 10 || s == 50 || s == 300 })
	back := func(from int) int {
		for i := from + 1; ; i++ {
			if announced[i] {
				return i - from - 1
			}
		}
	}
	if a, b, c := back(10), back(50), back(300); a != 5 || b != 10 || c != 5 {
		t.Errorf("back after %d, %d and %d s, want 5, 10, and 5 again", a, b, c)
	}
	if got := reasons[52].String(); got != "recovery_delay: healthy again; announced after recovery_delay of 5s, grown to 10s by 2 failures in 1m40s" {
		t.Error(got)
	}
}

// 50 restarts of a service, one each 20 to 30 s, are few changes for the ToRs: after
// the fourth the delay has grown beyond the time in between, and later one more comes
// through for each that flap_window forgets. With the recovery_delay of 5 s alone each
// would be two changes.
func TestRestartsInALoopAreFewUpdates(t *testing.T) {
	in := world()
	in.Services[0].MaxRecovery, in.Services[0].FlapWindow = 5*time.Minute, 10*time.Minute
	restarts, last := map[int]bool{}, 0
	for i := range 50 {
		last += 20 + 7*i%11
		restarts[last] = true
	}
	end := last + 5*60 + 1
	announced, _ := flapping(in, end, func(s int) bool { return restarts[s] })
	changes := 0
	for i := 1; i < len(announced); i++ {
		if announced[i] != announced[i-1] {
			changes++
		}
	}
	t.Logf("%d changes in %d s", changes, end)
	if changes > 16 || !announced[end-1] {
		t.Errorf("%d changes, want at most 16; announced in the end: %t", changes, announced[end-1])
	}
}

func TestStartDelayCountsFromTheBoot(t *testing.T) {
	in := world()
	in.Services[0].StartDelay = 30 * time.Second
	in.Booted = after(-20 * time.Second)
	out := policy.Decide(in)
	if d := out.Decisions[0]; d.Disposition != policy.Recovering || d.Reasons[0].Code != policy.CodeStartDelay || !d.Reasons[0].Until.Equal(after(10*time.Second)) {
		t.Fatalf("20 s after the boot: %v", d)
	}
	if !out.DecideAt.Equal(after(10 * time.Second)) {
		t.Errorf("decides again at %v", out.DecideAt)
	}
	in.Prev, in.Now = out.Memory, out.DecideAt
	out = policy.Decide(in)
	if !out.Decisions[0].Disposition.Announces() {
		t.Fatalf("30 s after the boot: %v", out.Decisions[0])
	}
	// It ends no announcement: a reload may set it, or make it longer.
	in.Prev, in.Services[0].StartDelay = out.Memory, time.Hour
	if out = policy.Decide(in); !out.Decisions[0].Disposition.Announces() {
		t.Errorf("after a reload: %v", out.Decisions[0])
	}
	in.Prev, in.Booted = policy.Memory{}, time.Time{}
	if out = policy.Decide(in); !out.Decisions[0].Disposition.Announces() {
		t.Errorf("where the boot is not known: %v", out.Decisions[0])
	}
}

// drawServices gives web a tree with scopes and services, and up to two others
// that share its fate or not. Services refer to later ones only.
func drawServices(t *rapid.T, in *policy.Input) {
	names := []string{"web", "x", "y"}
	web := in.Services[0]
	in.Services = nil
	for i, name := range names {
		s := web
		s.Name, s.Require = name, drawReferences(t, 2, names[i+1:])
		if name != "web" {
			s.Addresses = nil
		}
		s.Together = rapid.SampledFrom([]string{"", "group"}).Draw(t, name+" together")
		in.Services = append(in.Services, s)
	}
}

func drawReferences(t *rapid.T, depth int, services []string) policy.Require {
	r := drawRequire(t, depth)
	var vary func(r *policy.Require)
	vary = func(r *policy.Require) {
		if r.Rule == policy.RuleCheck {
			if len(services) > 0 && rapid.IntRange(0, 3).Draw(t, "a service") == 0 {
				*r = requires(rapid.SampledFrom(services).Draw(t, "service"))
			}
			if rapid.Bool().Draw(t, "scoped") {
				s := rapid.SampledFrom([]vip.Scope{vip.ScopeLocal, vip.ScopeDependency, vip.ScopeAdvisory}).Draw(t, "scope")
				r.Scope = &s
			}
		}
		for i := range r.Of {
			vary(&r.Of[i])
		}
	}
	vary(&r)
	return r
}

func TestDependenciesByReferenceNeverWithdraw(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := world()
		in.Services[0].Require = all(requiresAs("x", vip.ScopeDependency), check("good"))
		in.Services = append(in.Services, policy.Service{Name: "x", Require: drawReferences(t, 3, nil)})
		in.Checks = drawChecks(t, vip.Pass, vip.Degraded, vip.Fail)
		in.Checks["good"] = verdict(vip.Pass)
		if d := policy.Decide(in).Decisions[0]; !d.Disposition.Announces() {
			t.Fatalf("%v: %v", d.Disposition, d.Reasons)
		}
	})
}
