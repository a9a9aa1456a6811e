package policy_test

import (
	"math"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/anyvip/anyvip/pkg/health"
	"github.com/anyvip/anyvip/pkg/policy"
	"github.com/anyvip/anyvip/pkg/vip"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

var (
	vip4 = netip.MustParsePrefix("192.0.2.10/32")
	vip6 = netip.MustParsePrefix("2001:db8:10::10/128")
)

func after(d time.Duration) time.Time { return epoch.Add(d) }

// world is an Input that tests change bit by bit: one service web with both
// families, one check, one Established peer, everything healthy.
func world() policy.Input {
	med, prepend := uint32(100), uint8(3)
	return policy.Input{
		Now: epoch, Phase: policy.Running, Linger: time.Second,
		Services: []policy.Service{{
			Name: "web", Addresses: []policy.HostPrefix{{Prefix: vip4}, {Prefix: vip6}},
			Require:       policy.Require{Rule: policy.RuleAll, Of: []policy.Require{check("web")}},
			RecoveryDelay: 5 * time.Second,
			ECMP: policy.ECMPAttributes{LocalPref: 100, Communities: []vip.Community{65000<<16 | 100},
				Degraded: policy.DegradedAttributes{MED: &med, Prepend: &prepend}},
		}},
		Peers:  []policy.Peer{{Name: "tor-a"}},
		Checks: map[string]policy.Check{"web": verdict(vip.Pass)},
		Addresses: map[netip.Addr]vip.Address{
			vip4.Addr(): {Addr: vip4.Addr(), State: vip.AddressPresent, Ours: true},
			vip6.Addr(): {Addr: vip6.Addr(), State: vip.AddressPresent, Ours: true},
		},
		Links: []vip.Link{{Name: "eth0", Up: true, Prefixes: []netip.Prefix{
			netip.MustParsePrefix("10.0.1.2/24"), netip.MustParsePrefix("fe80::1/64"), netip.MustParsePrefix("2001:db8:1::2/64")}}},
		Sessions: map[string]vip.Session{"tor-a": established("10.0.1.2", "10.0.1.1")},
	}
}

func established(local, remote string) vip.Session {
	return vip.Session{Peer: "tor-a", State: vip.Established, Local: netip.MustParseAddr(local), Remote: netip.MustParseAddr(remote),
		Families: []vip.Family{vip.IPv4, vip.IPv6}}
}

func check(name string) policy.Require { return policy.Require{Rule: policy.RuleCheck, Check: name} }

func verdict(o vip.Outcome) policy.Check {
	return policy.Check{Params: health.Params{Rise: 2, Fall: 2, ErrorHold: time.Minute},
		Verdict: health.Verdict{Outcome: o, Since: epoch}, PendingUntil: after(3 * time.Second)}
}

// run decides for in at the given times, carrying Memory and Phase, and
// returns the last decision. change sees the input before each decision.
func run(in policy.Input, times []time.Duration, change func(t time.Duration, in *policy.Input)) policy.Desired {
	var out policy.Desired
	for _, t := range times {
		in.Now = after(t)
		if change != nil {
			change(t, &in)
		}
		out = policy.Decide(in)
		in.Prev, in.Phase = out.Memory, out.Phase
	}
	return out
}

func announced(d policy.Desired) []netip.Prefix {
	var out []netip.Prefix
	for _, a := range d.Announcements {
		out = append(out, a.Prefix)
	}
	return out
}

func codes(rs []policy.Reason) (out []string) {
	for _, r := range rs {
		out = append(out, r.Code.String())
	}
	return out
}

func TestHealthyServiceIsAnnouncedWithItsAttributes(t *testing.T) {
	got := policy.Decide(world()).Announcements
	want := []vip.Announcement{
		{Prefix: vip4, LocalPref: 100, Communities: []vip.Community{65000<<16 | 100}},
		{Prefix: vip6, LocalPref: 100, Communities: []vip.Community{65000<<16 | 100}},
	}
	if diff := cmp.Diff(want, got, prefixes); diff != "" {
		t.Errorf("announcements (-want +got):\n%s", diff)
	}
}

func TestDegradedServiceHasItsOwnAttributes(t *testing.T) {
	in := world()
	in.Checks = map[string]policy.Check{"web": verdict(vip.Degraded)}
	out := policy.Decide(in)
	if d := out.Decisions[0]; d.Disposition != policy.Degraded {
		t.Fatalf("disposition %v", d.Disposition)
	}
	a := out.Announcements[0]
	if a.MED != 100 || a.Prepend != 3 || a.LocalPref != 100 || len(a.Communities) != 1 {
		t.Errorf("degraded announcement %+v: want MED 100, prepend 3, the rest as healthy", a)
	}
}

func TestLevels(t *testing.T) {
	p, d, f, u := verdict(vip.Pass), verdict(vip.Degraded), verdict(vip.Fail), verdict(vip.Unknown)
	scoped := func(c policy.Check, s vip.Scope) policy.Check { c.Scope = s; return c }
	rule := func(r policy.Rule, k int, of ...policy.Require) policy.Require {
		return policy.Require{Rule: r, AtLeast: k, Of: of}
	}
	a, b, c := check("a"), check("b"), check("c")
	for name, tc := range map[string]struct {
		require policy.Require
		a, b, c policy.Check
		want    policy.Disposition
	}{
		"none needs nothing":                         {policy.Require{Rule: policy.RuleNone}, f, f, f, policy.Announced},
		"a missing rule announces nothing":           {policy.Require{}, p, p, p, policy.Withdrawn},
		"all takes the worst":                        {rule(policy.RuleAll, 0, a, b, c), p, d, p, policy.Degraded},
		"all fails with one":                         {rule(policy.RuleAll, 0, a, b, c), p, d, f, policy.Withdrawn},
		"any takes the best":                         {rule(policy.RuleAny, 0, a, b, c), f, p, d, policy.Announced},
		"at_least 2 takes the second best":           {rule(policy.RuleAtLeast, 2, a, b, c), p, f, d, policy.Degraded},
		"at_least 2 of 1 good fails":                 {rule(policy.RuleAtLeast, 2, a, b, c), p, f, f, policy.Withdrawn},
		"nested":                                     {rule(policy.RuleAll, 0, a, rule(policy.RuleAny, 0, b, c)), p, f, p, policy.Announced},
		"a dependency only degrades":                 {rule(policy.RuleAll, 0, a, b), p, scoped(f, vip.ScopeDependency), p, policy.Degraded},
		"an advisory changes nothing":                {rule(policy.RuleAll, 0, a, b), p, scoped(f, vip.ScopeAdvisory), p, policy.Announced},
		"unknown does not start":                     {rule(policy.RuleAll, 0, a, b), p, u, p, policy.Pending},
		"an unknown dependency keeps nothing back":   {rule(policy.RuleAll, 0, a, b), p, scoped(u, vip.ScopeDependency), p, policy.Degraded},
		"an unknown advisory is not waited for":      {rule(policy.RuleAll, 0, a, b), p, scoped(u, vip.ScopeAdvisory), p, policy.Announced},
		"any with one good does not wait":            {rule(policy.RuleAny, 0, a, b), p, u, p, policy.Announced},
		"a failure beside an unknown is enough":      {rule(policy.RuleAll, 0, a, b), f, u, p, policy.Withdrawn},
		"a check that does not exist counts as fail": {rule(policy.RuleAll, 0, check("nope")), p, p, p, policy.Withdrawn},
	} {
		t.Run(name, func(t *testing.T) {
			in := world()
			in.Services[0].Require = tc.require
			in.Checks = map[string]policy.Check{"a": tc.a, "b": tc.b, "c": tc.c}
			out := policy.Decide(in)
			if got := out.Decisions[0]; got.Disposition != tc.want {
				t.Errorf("disposition %v, want %v; reasons %v", got.Disposition, tc.want, got.Reasons)
			}
			if announces := len(out.Announcements) > 0; announces != tc.want.Announces() {
				t.Errorf("%d announcements in disposition %v", len(out.Announcements), tc.want)
			}
			if len(out.Decisions[0].Reasons) == 0 {
				t.Error("a decision without a reason")
			}
		})
	}
}

func TestUnknownEndsNothing(t *testing.T) {
	in := world()
	in.Prev = policy.Decide(in).Memory
	// A reload added a check that has no verdict yet.
	in.Services[0].Require.Of = append(in.Services[0].Require.Of, check("new"))
	in.Checks["new"] = verdict(vip.Unknown)
	in.Now = after(time.Second)
	out := policy.Decide(in)
	if len(out.Announcements) != 2 || out.Decisions[0].Disposition != policy.Announced {
		t.Fatalf("a new check without a verdict ended the announcement: %v", out.Decisions[0])
	}
	if !out.DecideAt.Equal(after(3 * time.Second)) {
		t.Errorf("decides again at %v, want when the new check's time is over", out.DecideAt)
	}
	in.Prev, in.Now = out.Memory, out.DecideAt
	if out := policy.Decide(in); out.Decisions[0].Disposition != policy.Withdrawn {
		t.Errorf("a check without a verdict in time: %v, want withdrawn", out.Decisions[0].Disposition)
	}
}

func TestRecoveryDelayCountsAfterAFailureOnly(t *testing.T) {
	in := world()
	if out := policy.Decide(in); !out.Decisions[0].Disposition.Announces() {
		t.Fatal("the first announcement waited although nothing had failed")
	}
	seconds := []time.Duration{0, 1 * time.Second, 2 * time.Second, 6900 * time.Millisecond}
	out := run(in, seconds, func(at time.Duration, in *policy.Input) {
		in.Checks = map[string]policy.Check{"web": verdict(vip.Pass)}
		if at == 1*time.Second {
			in.Checks = map[string]policy.Check{"web": verdict(vip.Fail)}
		}
	})
	d := out.Decisions[0]
	if d.Disposition != policy.Recovering || len(out.Announcements) != 0 {
		t.Fatalf("4.9 s after the recovery: %v", d)
	}
	if r := d.Reasons[0]; r.Code != policy.CodeRecoveryDelay || !r.Until.Equal(after(7*time.Second)) || !out.DecideAt.Equal(r.Until) {
		t.Errorf("reason %+v, decides at %v; want the delay's end at 7 s", r, out.DecideAt)
	}
	in.Prev, in.Now = out.Memory, after(7*time.Second)
	if out := policy.Decide(in); len(out.Announcements) != 2 {
		t.Errorf("not announced at the end of recovery_delay: %v", out.Decisions[0])
	}
}

func TestAFailureDuringRecoveryStartsOver(t *testing.T) {
	script := map[time.Duration]vip.Outcome{0: vip.Fail, 1: vip.Pass, 3: vip.Fail, 4: vip.Pass, 8: vip.Pass, 9: vip.Pass}
	in := world()
	for _, s := range []time.Duration{0, 1, 3, 4, 8} {
		in.Now = after(s * time.Second)
		in.Checks = map[string]policy.Check{"web": verdict(script[s])}
		out := policy.Decide(in)
		if len(out.Announcements) != 0 {
			t.Fatalf("announced at %d s", s)
		}
		in.Prev = out.Memory
	}
	in.Now = after(9 * time.Second)
	if out := policy.Decide(in); len(out.Announcements) == 0 {
		t.Error("not announced 5 s after the second recovery")
	}
}

// A recovery delay that an earlier agent left goes on while nothing is known, and does not
// end in an announcement before something is.
func TestARecoveryDelayGoesOnInTheNextAgent(t *testing.T) {
	for name, tc := range map[string]struct {
		end, known time.Duration // of the delay; when the check has a verdict
		outcome    vip.Outcome
		want       policy.Disposition
		until      time.Duration
	}{
		"what is left of it":         {4 * time.Second, time.Second, vip.Pass, policy.Recovering, 4 * time.Second},
		"nothing is left":            {4 * time.Second, 6 * time.Second, vip.Pass, policy.Announced, 0},
		"a failure":                  {4 * time.Second, time.Second, vip.Fail, policy.Withdrawn, 0},
		"longer than any can be":     {time.Hour, time.Second, vip.Pass, policy.Recovering, 6 * time.Second},
		"it failed when it was left": {0, time.Second, vip.Pass, policy.Recovering, 6 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			in := world()
			left := &policy.ServiceMemory{Failed: true}
			if tc.end > 0 {
				left.RecoverAt = after(tc.end)
			}
			in.Prev.Services = map[string]*policy.ServiceMemory{"web": left}
			out := run(in, []time.Duration{0, tc.known / 2, tc.known}, func(at time.Duration, in *policy.Input) {
				c := verdict(vip.Unknown)
				if c.PendingUntil = after(time.Minute); at == tc.known {
					c = verdict(tc.outcome)
				}
				in.Checks = map[string]policy.Check{"web": c}
			})
			d := out.Decisions[0]
			if d.Disposition != tc.want {
				t.Fatalf("%+v", d)
			}
			if tc.until > 0 && !d.Reasons[0].Until.Equal(after(tc.until)) {
				t.Errorf("until %v", d.Reasons[0].Until)
			}
		})
	}
}

func TestStartingKeepsSessionsDownUntilAllChecksAreKnown(t *testing.T) {
	in := world()
	in.Phase = policy.Starting
	in.Checks = map[string]policy.Check{"web": verdict(vip.Unknown)}
	out := policy.Decide(in)
	if out.Phase != policy.Starting || out.Sessions[0].Up {
		t.Fatalf("phase %v, session up %v with a check unknown", out.Phase, out.Sessions[0].Up)
	}
	in.Checks = map[string]policy.Check{"web": verdict(vip.Fail)}
	if out := policy.Decide(in); out.Phase != policy.Running || !out.Sessions[0].Up {
		t.Errorf("phase %v, session up %v with every check known", out.Phase, out.Sessions[0].Up)
	}
	in.Checks = map[string]policy.Check{"web": verdict(vip.Unknown)}
	in.Now = after(3 * time.Second)
	if out := policy.Decide(in); out.Phase != policy.Running {
		t.Errorf("phase %v after the check's time was over", out.Phase)
	}
}

func TestACheckThatTakesItsTimeKeepsBackItsOwnServiceAlone(t *testing.T) {
	in := world()
	in.Phase = policy.Starting
	in.Checks["slow"] = policy.Check{PendingUntil: after(time.Hour), TakesTime: true}
	slow := in.Services[0]
	slow.Name, slow.Addresses, slow.Require = "slow", []policy.HostPrefix{{Prefix: netip.MustParsePrefix("192.0.2.11/32")}}, all(check("slow"))
	in.Services = append(in.Services, slow)
	out := policy.Decide(in)
	if out.Phase != policy.Running || !out.Sessions[0].Up {
		t.Errorf("phase %v, sessions %v", out.Phase, out.Sessions)
	}
	if web, slow := out.Decisions[0], out.Decisions[1]; web.Disposition != policy.Announced || slow.Disposition != policy.Pending {
		t.Errorf("web is %v, slow is %v because of %v", web.Disposition, slow.Disposition, slow.Reasons)
	}
}

func TestAddresses(t *testing.T) {
	lost := func(ats ...time.Duration) (out []time.Time) {
		for _, d := range ats {
			out = append(out, after(d))
		}
		return out
	}
	const ms = time.Millisecond
	for name, tc := range map[string]struct {
		fact      vip.Address
		announced bool // before
		at        time.Duration
		want      bool
		code      policy.Code
		again     time.Duration // when to decide again; 0: never
	}{
		"present":                               {vip.Address{State: vip.AddressPresent}, false, 0, true, 0, 0},
		"never announced while unknown":         {vip.Address{}, false, 0, false, policy.CodeAddressUnknown, 0},
		"never first announced while absent":    {vip.Address{State: vip.AddressAbsent, Since: epoch}, false, 0, false, policy.CodeAddressAbsent, 0},
		"never first announced while tentative": {vip.Address{State: vip.AddressTentative, Since: epoch}, false, 0, false, policy.CodeAddressTentative, 0},
		"refused":                               {vip.Address{State: vip.AddressRefused, Since: epoch}, true, 0, false, policy.CodeAddressRefused, 0},
		"away for a moment keeps the route":     {vip.Address{State: vip.AddressAbsent, Since: epoch}, true, 99 * ms, true, 0, 100 * ms},
		"away for 100 ms withdraws":             {vip.Address{State: vip.AddressAbsent, Since: epoch}, true, 100 * ms, false, policy.CodeAddressAbsent, 0},
		"lost four times in 10 s stays":         {vip.Address{State: vip.AddressPresent, Lost: lost(0, 1, 2, 3)}, true, 4 * ms, true, 0, 0},
		"lost five times in 10 s withdraws":     {vip.Address{State: vip.AddressPresent, Lost: lost(0, 1, 2, 3, 4)}, true, 4 * ms, false, policy.CodeAddressUnstable, 10 * time.Second},
		"five losses spread wider stay":         {vip.Address{State: vip.AddressPresent, Lost: lost(-9*time.Second, 0, 1, 2, 3)}, true, time.Second, true, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			in := world()
			in.Services[0].Addresses = in.Services[0].Addresses[:1]
			in.Addresses[vip4.Addr()] = tc.fact
			var announced []netip.Addr
			if tc.announced {
				announced = append(announced, vip4.Addr())
			}
			in.Prev.Services = map[string]*policy.ServiceMemory{"web": {Disposition: policy.Announced, Level: vip.LevelPass, Since: epoch,
				Announced: announced}}
			in.Now = after(tc.at)
			out := policy.Decide(in)
			a := out.Decisions[0].Addresses[0]
			if a.Wanted != tc.want || (len(out.Announcements) == 1) != tc.want {
				t.Fatalf("wanted %v, want %v; %v", a.Wanted, tc.want, a.Reasons)
			}
			if !tc.want && a.Reasons[0].Code != tc.code {
				t.Errorf("reason %v, want %v", a.Reasons[0], tc.code)
			}
			if want := after(tc.again); tc.again != 0 && !out.DecideAt.Equal(want) || tc.again == 0 && !out.DecideAt.IsZero() {
				t.Errorf("decides again at %v, want %v after the start", out.DecideAt, tc.again)
			}
		})
	}
}

// What a dashboard alerts on must not say announced when nothing is.
func TestAServiceWithoutAnyUsableAddressIsNotCalledAnnounced(t *testing.T) {
	in := world()
	for _, p := range []netip.Prefix{vip4, vip6} {
		in.Addresses[p.Addr()] = vip.Address{State: vip.AddressRefused, Since: epoch, Detail: "state dir is not writable"}
	}
	d := policy.Decide(in).Decisions[0]
	if d.Disposition != policy.Withdrawn || d.Reasons[0].Code != policy.CodeAddressRefused || !d.Since.Equal(epoch) {
		t.Errorf("%v since %v: %v", d.Disposition, d.Since, d.Reasons)
	}
	in.Addresses = nil
	if d := policy.Decide(in).Decisions[0]; d.Disposition != policy.Pending {
		t.Errorf("before the host was looked at: %v", d.Disposition)
	}
}

func TestReasonsBeginWithWhatTheDispositionRestsOn(t *testing.T) {
	failedThenError := verdict(vip.Fail)
	failedThenError.Verdict.Detail, failedThenError.Verdict.ErrorSince, failedThenError.Verdict.ErrorDetail = "refused", epoch, "script is missing"
	dependency := verdict(vip.Fail)
	dependency.Scope = vip.ScopeDependency
	for name, tc := range map[string]struct {
		a, b      policy.Check
		announced bool
		want      []string
	}{
		"degraded beside a new check":     {dependency, verdict(vip.Unknown), true, []string{"check_degraded", "check_pending"}},
		"pending beside a failed one":     {dependency, verdict(vip.Unknown), false, []string{"check_pending", "check_degraded"}},
		"withdrawn by a failure":          {dependency, verdict(vip.Fail), true, []string{"check_failed", "check_degraded"}},
		"failed, and now it cannot ask":   {failedThenError, verdict(vip.Pass), true, []string{"check_failed"}},
		"a starting agent says it starts": {verdict(vip.Pass), verdict(vip.Pass), false, []string{"healthy"}},
	} {
		t.Run(name, func(t *testing.T) {
			in := world()
			in.Services[0].Require.Of = []policy.Require{check("a"), check("b")}
			in.Checks = map[string]policy.Check{"a": verdict(vip.Pass), "b": verdict(vip.Pass)}
			if tc.announced {
				in.Prev = policy.Decide(in).Memory
			}
			in.Checks = map[string]policy.Check{"a": tc.a, "b": tc.b}
			if d := policy.Decide(in).Decisions[0]; !slices.Equal(codes(d.Reasons), tc.want) {
				t.Errorf("%v because of %v, want %v", d.Disposition, d.Reasons, tc.want)
			}
		})
	}
	in := world()
	in.Phase = policy.Starting
	in.Checks["other"] = verdict(vip.Unknown)
	in.Services = append(in.Services, policy.Service{Name: "other", Addresses: []policy.HostPrefix{{Prefix: netip.MustParsePrefix("192.0.2.11/32")}},
		Require: policy.Require{Rule: policy.RuleAll, Of: []policy.Require{check("other")}}})
	if rs := policy.Decide(in).Decisions[0].Addresses[0].Reasons; !slices.Equal(codes(rs), []string{"starting"}) {
		t.Errorf("while another service's check is unknown: %v", rs)
	}
}

// A recovery that an unknown check interrupts begins again.
func TestRecoveryDelayBeginsAgainBehindAnUnknown(t *testing.T) {
	in := world()
	in.Services[0].Require = policy.Require{Rule: policy.RuleAny, Of: []policy.Require{check("a"), check("b")}}
	step := func(at time.Duration, a, b vip.Outcome) policy.Decision {
		cb := verdict(b)
		cb.PendingUntil = after(time.Hour)
		in.Now, in.Checks = after(at), map[string]policy.Check{"a": verdict(a), "b": cb}
		out := policy.Decide(in)
		in.Prev = out.Memory
		return out.Decisions[0]
	}
	step(0, vip.Fail, vip.Fail)
	step(1*time.Second, vip.Pass, vip.Unknown) // recovers until 6 s
	step(2*time.Second, vip.Fail, vip.Unknown)
	if d := step(7*time.Second, vip.Pass, vip.Unknown); d.Disposition != policy.Recovering {
		t.Errorf("a service that failed in between is %v at once: %v", d.Disposition, d.Reasons)
	}
}

func TestOneFamilysAddressLeavesTheOtherAlone(t *testing.T) {
	in := world()
	in.Addresses[vip6.Addr()] = vip.Address{State: vip.AddressRefused}
	if got := announced(policy.Decide(in)); !slices.Equal(got, []netip.Prefix{vip4}) {
		t.Errorf("announced %v, want the IPv4 address alone", got)
	}
}

func TestWhenWithdrawn(t *testing.T) {
	in := world()
	in.Prev = policy.Decide(in).Memory
	in.Checks = map[string]policy.Check{"web": verdict(vip.Fail)}
	if out := policy.Decide(in); len(out.Addresses) != 2 {
		t.Errorf("keep: %v wanted on lo after the withdraw", out.Addresses)
	}
	in.Services[0].WhenWithdrawn = policy.Remove
	in.Sent = map[string]map[netip.Prefix]vip.Announcement{"tor-a": {vip4: {Prefix: vip4}}}
	if out := policy.Decide(in); !slices.Equal(out.Addresses, []netip.Addr{vip4.Addr()}) {
		t.Errorf("remove: %v wanted on lo, want the one that a peer still routes to us", out.Addresses)
	}
	checkLinger(t, in)
}

func TestAReloadThatRemovesAServiceKeepsItsAddressUntilNobodyRoutesToIt(t *testing.T) {
	in := world()
	in.Prev = policy.Decide(in).Memory
	in.Services = nil
	in.Sent = map[string]map[netip.Prefix]vip.Announcement{"tor-a": {vip4: {Prefix: vip4}}}
	out := policy.Decide(in)
	if len(out.Announcements) != 0 || !slices.Equal(out.Addresses, []netip.Addr{vip4.Addr()}) {
		t.Errorf("announced %v, wanted on lo %v; want the address without a route", out.Announcements, out.Addresses)
	}
	checkLinger(t, in)
}

// checkLinger decides while a peer has the route, then without it, and wants
// the address kept until Linger is over; an administrator's address is no
// business of ours.
func checkLinger(t *testing.T, in policy.Input) {
	t.Helper()
	out := policy.Decide(in)
	in.Prev, in.Sent = out.Memory, nil
	in.Now = after(in.Linger - time.Millisecond)
	out = policy.Decide(in)
	if !slices.Equal(out.Addresses, []netip.Addr{vip4.Addr()}) || !out.DecideAt.Equal(after(in.Linger)) {
		t.Errorf("just after the withdraw was sent: %v wanted on lo, decides at %v", out.Addresses, out.DecideAt)
	}
	in.Prev, in.Now = out.Memory, after(in.Linger)
	if out := policy.Decide(in); len(out.Addresses) != 0 {
		t.Errorf("%v wanted on lo when linger was over", out.Addresses)
	}
}

func TestAStopRemovesAddressesInItsLastStepAlone(t *testing.T) {
	in := world()
	in.Services[0].WhenWithdrawn = policy.Remove
	out := policy.Decide(in)
	in.Phase = policy.Stopping
	for out.Memory.Stop.Step < policy.StopRemove {
		in.Prev, in.Sent = out.Memory, map[string]map[netip.Prefix]vip.Announcement{"tor-a": {}}
		for _, a := range out.Announcements {
			in.Sent["tor-a"][a.Prefix] = a
		}
		if !out.DecideAt.IsZero() {
			in.Now = out.DecideAt
		}
		out = policy.Decide(in)
		if s := out.Memory.Stop.Step; s < policy.StopRemove && len(out.Addresses) != 2 {
			t.Fatalf("%v: %v wanted on lo", s, out.Addresses)
		}
	}
}

func TestWhatEachPeerHas(t *testing.T) {
	in := world()
	in.Peers = []policy.Peer{{Name: "tor-a"}, {Name: "tor-b"}, {Name: "tor-c"}, {Name: "tor-d"}}
	v4only := established("10.0.2.2", "10.0.2.1")
	v4only.Families = []vip.Family{vip.IPv4}
	in.Sessions = map[string]vip.Session{
		"tor-a": established("10.0.1.2", "10.0.1.1"),
		"tor-b": v4only,
		"tor-c": established("10.0.3.2", "10.0.3.1"), // no link has this address
		"tor-d": {Peer: "tor-d", State: vip.Active, Cause: vip.CauseRefused, Detail: "connection refused"},
	}
	anns := policy.Decide(in).Announcements
	in.Sent = map[string]map[netip.Prefix]vip.Announcement{"tor-a": {vip4: anns[0], vip6: anns[1]}, "tor-b": {vip4: {Prefix: vip4, MED: 7}}}
	a := policy.Decide(in).Decisions[0].Addresses
	if want := []string{"not_sent", "not_sent", "session_down"}; !slices.Equal(a[0].SentTo, []string{"tor-a"}) || !slices.Equal(codes(a[0].Reasons), want) {
		t.Errorf("IPv4: sent to %v, reasons %v", a[0].SentTo, a[0].Reasons)
	}
	if want := []string{"family_missing", "no_next_hop6", "session_down"}; !slices.Equal(a[1].SentTo, []string{"tor-a"}) || !slices.Equal(codes(a[1].Reasons), want) {
		t.Errorf("IPv6: sent to %v, reasons %v", a[1].SentTo, a[1].Reasons)
	}
}

func TestNextHop6(t *testing.T) {
	in := world()
	if got := policy.Decide(in).Sessions[0].NextHop6; got != netip.MustParseAddr("2001:db8:1::2") {
		t.Errorf("next hop %v, want the global address of the session's link", got)
	}
	in.Peers[0].NextHop6 = netip.MustParseAddr("2001:db8:ffff::1")
	if got := policy.Decide(in).Sessions[0].NextHop6; got != in.Peers[0].NextHop6 {
		t.Errorf("next hop %v, want the configured one", got)
	}
}

func TestPoliteStop(t *testing.T) {
	in := world()
	in.Prev = policy.Decide(in).Memory
	sent := func(as []vip.Announcement) map[string]map[netip.Prefix]vip.Announcement {
		m := map[netip.Prefix]vip.Announcement{}
		for _, a := range as {
			m[a.Prefix] = a
		}
		return map[string]map[netip.Prefix]vip.Announcement{"tor-a": m}
	}
	in.Sent = sent(policy.Decide(in).Announcements)
	in.Phase = policy.Stopping
	next := func(at time.Duration) policy.Desired {
		in.Now = after(at)
		out := policy.Decide(in)
		in.Prev, in.Phase = out.Memory, out.Phase
		return out
	}
	step := func(out policy.Desired, want policy.StopStep) {
		t.Helper()
		if got := out.Memory.Stop.Step; got != want {
			t.Fatalf("step %v, want %v", got, want)
		}
	}

	out := next(0)
	step(out, policy.StopShift)
	if a := out.Announcements[0]; a.Communities[len(a.Communities)-1] != vip.GracefulShutdown || a.MED != math.MaxUint32 || a.Prepend != 3 || a.LocalPref != 0 {
		t.Errorf("shift announces %+v", a)
	}
	if d := out.Decisions[0]; d.Disposition != policy.Leaving || d.Reasons[0].Code != policy.CodeStopping {
		t.Errorf("decision %v", d)
	}

	in.Sent = sent(out.Announcements) // the peer has it
	step(next(100*time.Millisecond), policy.StopShift)
	step(next(1099*time.Millisecond), policy.StopShift)
	out = next(1100 * time.Millisecond)
	step(out, policy.StopWithdraw)
	if len(out.Announcements) != 0 || len(out.Addresses) != 2 || !out.Sessions[0].Up {
		t.Errorf("at the withdraw: %d announcements, %d addresses, session up %v", len(out.Announcements), len(out.Addresses), out.Sessions[0].Up)
	}

	in.Sent = sent(nil)
	step(next(1200*time.Millisecond), policy.StopLinger)
	step(next(2199*time.Millisecond), policy.StopLinger)
	out = next(2200 * time.Millisecond)
	step(out, policy.StopCease)
	if out.Sessions[0].Up || out.Sessions[0].Text == "" || len(out.Addresses) != 2 {
		t.Errorf("at the cease: %+v, %d addresses", out.Sessions[0], len(out.Addresses))
	}

	in.Sessions = map[string]vip.Session{"tor-a": {State: vip.Idle}}
	out = next(2300 * time.Millisecond)
	step(out, policy.StopRemove)
	if len(out.Addresses) != 0 {
		t.Errorf("addresses still wanted: %v", out.Addresses)
	}
	in.Addresses = nil
	out = next(2400 * time.Millisecond)
	step(out, policy.StopDone)
	if out.Phase != policy.Stopped {
		t.Errorf("phase %v", out.Phase)
	}
}

func TestStopIsBoundedWhenNobodyAnswers(t *testing.T) {
	in := world()
	out := policy.Decide(in)
	m := map[netip.Prefix]vip.Announcement{}
	for _, a := range out.Announcements {
		m[a.Prefix] = a
	}
	in.Sent = map[string]map[netip.Prefix]vip.Announcement{"tor-a": m} // and stays so for ever
	in.Phase = policy.Stopping
	for decisions := 0; out.Phase != policy.Stopped; decisions++ {
		if decisions > 20 {
			t.Fatalf("more than 20 decisions, at %v after the stop: %v", in.Now.Sub(epoch), out.Memory.Stop)
		}
		in.Prev = out.Memory
		out = policy.Decide(in)
		if out.Phase != policy.Stopped {
			if out.DecideAt.IsZero() {
				t.Fatalf("step %v waits without a deadline", out.Memory.Stop.Step)
			}
			in.Now = out.DecideAt
		}
	}
	if took := in.Now.Sub(epoch); took > 12*time.Second {
		t.Errorf("took %v", took)
	}
}

// A ToR may have our routes a moment before we know that its session is up.
func TestAStopJustAsASessionComesUpIsPoliteToo(t *testing.T) {
	for _, state := range []vip.SessionState{vip.OpenConfirm, vip.Established, vip.OpenSent} {
		in := world()
		in.Prev = run(in, []time.Duration{0}, nil).Memory // announced
		s := in.Sessions["tor-a"]
		s.State = state
		in.Sessions, in.Sent = map[string]vip.Session{"tor-a": s}, nil
		in.Phase = policy.Stopping
		out := policy.Decide(in)
		polite := out.Memory.Stop.Step == policy.StopShift && len(out.Announcements) == 2
		if polite != (state >= vip.OpenConfirm) {
			t.Errorf("in %s: step %v, %d announcements", state, out.Memory.Stop.Step, len(out.Announcements))
		}
	}
}

func TestAStopWithNothingAnnouncedOnlyCloses(t *testing.T) {
	in := world()
	in.Checks = map[string]policy.Check{"web": verdict(vip.Fail)}
	in.Prev = policy.Decide(in).Memory
	in.Phase = policy.Stopping
	if out := policy.Decide(in); out.Memory.Stop.Step != policy.StopCease {
		t.Errorf("step %v, want the cease at once", out.Memory.Stop.Step)
	}
}

func TestAStopStartsNothing(t *testing.T) {
	in := world()
	in.Services = append(in.Services, policy.Service{Name: "late", Addresses: []policy.HostPrefix{{Prefix: netip.MustParsePrefix("192.0.2.11/32")}},
		Require: policy.Require{Rule: policy.RuleAll, Of: []policy.Require{check("late")}}})
	in.Checks["late"] = verdict(vip.Unknown)
	in.Addresses[netip.MustParseAddr("192.0.2.11")] = vip.Address{State: vip.AddressPresent}
	out := policy.Decide(in)
	in.Prev, in.Phase = out.Memory, policy.Stopping
	in.Sent = map[string]map[netip.Prefix]vip.Announcement{"tor-a": {vip4: out.Announcements[0]}}
	in.Checks = map[string]policy.Check{"web": verdict(vip.Pass), "late": verdict(vip.Pass)}
	if got := announced(policy.Decide(in)); !slices.Equal(got, []netip.Prefix{vip4, vip6}) {
		t.Errorf("announced while stopping: %v", got)
	}
}

// A new check that cannot ask (its script is missing on every node after a
// reload) is a broken check, not a broken service.
func TestANewCheckThatCannotAsk(t *testing.T) {
	for rule, want := range map[vip.OnError]policy.Disposition{
		vip.OnErrorDegrade: policy.Degraded, vip.OnErrorHold: policy.Announced, vip.OnErrorFail: policy.Withdrawn,
	} {
		t.Run(rule.String(), func(t *testing.T) {
			in := world()
			first := in
			in.Prev = policy.Decide(in).Memory
			in.Services[0].Require.Of = append(in.Services[0].Require.Of, check("new"))
			c := verdict(vip.Unknown)
			c.Params.OnError, c.Verdict.ErrorSince, c.Verdict.ErrorDetail = rule, after(time.Second), "script is missing"
			in.Checks["new"] = c
			in.Now = after(10 * time.Second)
			d := policy.Decide(in).Decisions[0]
			if d.Disposition != want {
				t.Errorf("announced before: %v, want %v: %v", d.Disposition, want, d.Reasons)
			}
			first.Now, first.Phase = in.Now, policy.Starting
			out := policy.Decide(first)
			if d := out.Decisions[0]; d.Disposition.Announces() || out.Phase != policy.Running {
				t.Errorf("at the start: %v in phase %v: it starts nothing, and keeps no other service back", d.Disposition, out.Phase)
			}
		})
	}
}

func TestAShorterRecoveryDelayHoldsAtOnce(t *testing.T) {
	in := world()
	in.Services[0].RecoveryDelay = time.Hour
	in.Checks = map[string]policy.Check{"web": verdict(vip.Fail)}
	in.Prev = policy.Decide(in).Memory
	in.Checks = map[string]policy.Check{"web": verdict(vip.Pass)}
	in.Prev = policy.Decide(in).Memory
	in.Services[0].RecoveryDelay = 0
	if d := policy.Decide(in).Decisions[0]; d.Disposition != policy.Announced {
		t.Errorf("%v: %v", d.Disposition, d.Reasons)
	}
}

var prefixes = cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
