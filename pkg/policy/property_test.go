package policy_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/anyvip/anyvip/pkg/policy"
	"github.com/anyvip/anyvip/pkg/vip"
)

var checkNames = []string{"a", "b", "c", "d"}

func drawRequire(t *rapid.T, depth int) policy.Require {
	rules := []policy.Rule{policy.RuleCheck}
	if depth > 0 {
		rules = append(rules, policy.RuleAll, policy.RuleAny, policy.RuleAtLeast)
	}
	r := policy.Require{Rule: rapid.SampledFrom(rules).Draw(t, "rule")}
	if r.Rule == policy.RuleCheck {
		r.Check = rapid.SampledFrom(checkNames).Draw(t, "check")
		return r
	}
	n := rapid.IntRange(1, 3).Draw(t, "parts")
	for range n {
		r.Of = append(r.Of, drawRequire(t, depth-1))
	}
	r.AtLeast = rapid.IntRange(1, n).Draw(t, "at_least")
	return r
}

func drawChecks(t *rapid.T, outcomes ...vip.Outcome) map[string]policy.Check {
	m := map[string]policy.Check{}
	for _, n := range checkNames {
		c := verdict(rapid.SampledFrom(outcomes).Draw(t, n))
		if c.Verdict.Outcome == vip.Unknown && rapid.Bool().Draw(t, n+" pending") {
			c.PendingUntil = after(time.Hour)
		}
		c.Scope = rapid.SampledFrom([]vip.Scope{vip.ScopeLocal, vip.ScopeDependency, vip.ScopeAdvisory}).Draw(t, n+" scope")
		m[n] = c
	}
	return m
}

// preferred compares what routers hear of web's first VIP, as they do: positive where a
// is more preferred than b.
func preferred(a, b policy.Desired) int {
	of := func(d policy.Desired) (list []int) {
		i := slices.IndexFunc(d.Announcements, func(x vip.Announcement) bool { return x.Prefix == vip4 })
		if i < 0 {
			return nil
		}
		x := d.Announcements[i]
		return []int{int(x.LocalPref), -int(x.Prepend), -int(x.MED), int(x.Weight)}
	}
	return slices.Compare(of(a), of(b))
}

// More health never means less preference: making one check better never makes
// a service's routes less preferred, whatever else is known and was before.
func TestMonotone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := world()
		drawServices(t, &in)
		in.Services[0].ECMP.Weight, in.Services[0].ECMP.Degraded.Weight = 10, new(uint16(5))
		for i := range rapid.IntRange(0, 2).Draw(t, "decisions before") {
			in.Checks = drawChecks(t, vip.Pass, vip.Degraded, vip.Fail, vip.Unknown)
			in.Prev = policy.Decide(in).Memory
			in.Now = in.Now.Add(time.Duration(rapid.IntRange(0, 20).Draw(t, fmt.Sprint("seconds ", i))) * time.Second)
		}
		in.Checks = drawChecks(t, vip.Pass, vip.Degraded, vip.Fail, vip.Unknown)
		name := rapid.SampledFrom(checkNames).Draw(t, "better")
		c := in.Checks[name]
		switch rapid.IntRange(0, 3).Draw(t, "beside its verdict") {
		case 0:
			c.Verdict.ErrorSince = in.Now.Add(-time.Hour)
		case 1:
			c.Verdict.Overloaded = in.Now
		}
		in.Checks[name] = c
		before := policy.Decide(in)
		if o := c.Verdict.Outcome; o == vip.Degraded || o == vip.Fail {
			c.Verdict.Outcome = vip.Pass + vip.Outcome(rapid.IntRange(0, int(o-vip.Pass)).Draw(t, "to"))
		}
		if rapid.Bool().Draw(t, "asks again") {
			c.Verdict.ErrorSince, c.Verdict.Overloaded = time.Time{}, time.Time{}
			c.PendingUntil = after(time.Hour) // a check that has no verdict yet has its time for one anew
		}
		in.Checks = maps.Clone(in.Checks)
		in.Checks[name] = c
		after := policy.Decide(in)
		if preferred(after, before) < 0 {
			t.Fatalf("%s got better and the service went from %v to %v", name, before.Decisions[0], after.Decisions[0])
		}
	})
}

// Unknown starts nothing that its turning out to be a failure would not leave
// announced too, and ends nothing that its turning out to be a pass would keep.
func TestUnknownNeitherStartsNorEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := world()
		in.Services[0].Require = drawRequire(t, 3)
		in.Checks = drawChecks(t, vip.Pass, vip.Degraded, vip.Fail, vip.Unknown)
		if rapid.Bool().Draw(t, "announced before") {
			in.Prev.Services = map[string]*policy.ServiceMemory{"web": {Disposition: policy.Announced, Level: vip.LevelPass, Since: epoch}}
		}
		as := func(o vip.Outcome) bool {
			other := in
			other.Checks = map[string]policy.Check{}
			for n, c := range in.Checks {
				if c.Verdict.Outcome == vip.Unknown {
					c.Verdict.Outcome = o
				}
				other.Checks[n] = c
			}
			return policy.Decide(other).Decisions[0].Disposition.Announces()
		}
		got := policy.Decide(in).Decisions[0].Disposition.Announces()
		was := in.Prev.Services["web"] != nil && in.Prev.Services["web"].Disposition.Announces()
		if got && !was && !as(vip.Fail) {
			t.Fatalf("started although a failure of what is unknown would withdraw")
		}
		if !got && was && as(vip.Pass) {
			t.Fatalf("ended although a pass of what is unknown would keep it")
		}
	})
}

// A dependency's failure alone never withdraws, whatever the tree.
func TestDependencyNeverWithdraws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := world()
		in.Services[0].Require = drawRequire(t, 3)
		in.Checks = drawChecks(t, vip.Pass, vip.Degraded, vip.Fail)
		for n, c := range in.Checks {
			c.Scope = vip.ScopeDependency
			in.Checks[n] = c
		}
		if d := policy.Decide(in).Decisions[0]; !d.Disposition.Announces() {
			t.Fatalf("%v: %v", d.Disposition, d.Reasons)
		}
	})
}

// Every decision has a reason, nothing is announced twice, a decision from its
// own Memory at the same moment is the same, and Memory survives JSON.
func TestEveryDecisionIsSound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := world()
		drawServices(t, &in)
		in.Phase = rapid.SampledFrom([]policy.Phase{policy.Starting, policy.Running, policy.Stopping}).Draw(t, "phase")
		for i := range rapid.IntRange(1, 8).Draw(t, "decisions") {
			in.Now = in.Now.Add(time.Duration(rapid.IntRange(0, 4000).Draw(t, fmt.Sprint("ms ", i))) * time.Millisecond)
			in.Checks = drawChecks(t, vip.Pass, vip.Degraded, vip.Fail, vip.Unknown)
			in.Addresses = map[netip.Addr]vip.Address{
				vip4.Addr(): {State: rapid.SampledFrom([]vip.AddressState{vip.AddressUnknown, vip.AddressAbsent, vip.AddressPresent, vip.AddressRefused}).Draw(t, "v4"), Since: in.Now},
				vip6.Addr(): {State: vip.AddressPresent},
			}
			out := policy.Decide(in)
			checkSound(t, in, out)
			in.Prev, in.Phase = throughJSON(t, out.Memory), out.Phase
		}
	})
}

func checkSound(t *rapid.T, in policy.Input, out policy.Desired) {
	seen := map[netip.Prefix]bool{}
	for _, a := range out.Announcements {
		if seen[a.Prefix] {
			t.Fatalf("%v announced twice", a.Prefix)
		}
		seen[a.Prefix] = true
	}
	for _, d := range out.Decisions {
		if len(d.Reasons) == 0 || d.Reasons[0].Code == policy.CodeNone {
			t.Fatalf("%v without a reason: %v", d.Disposition, d.Reasons)
		}
		for _, a := range d.Addresses {
			if a.Wanted != seen[a.Prefix] {
				t.Fatalf("%v: wanted %v, announced %v", a.Prefix, a.Wanted, seen[a.Prefix])
			}
			if d.Disposition.Announces() && !a.Wanted && len(a.Reasons) == 0 {
				t.Fatalf("%v is not announced, without a reason", a.Prefix)
			}
		}
	}
	if !out.DecideAt.IsZero() && !out.DecideAt.After(in.Now) {
		t.Fatalf("decides again at %v, which is not after now", out.DecideAt)
	}
	if out.Phase == policy.Stopped || out.Phase != in.Phase {
		return
	}
	again := in
	again.Prev = out.Memory
	if diff := cmp.Diff(out.Announcements, policy.Decide(again).Announcements, prefixes); diff != "" {
		t.Fatalf("the same input and its own memory decide otherwise (-first +second):\n%s", diff)
	}
}

func throughJSON(t *rapid.T, m policy.Memory) policy.Memory {
	data, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var out policy.Memory
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func BenchmarkDecide(b *testing.B) {
	for name, in := range map[string]policy.Input{
		"1000-services-2000-checks": manyServices(1000, 1),
		"1-service-10000-addresses": manyServices(1, 10_000),
	} {
		b.Run(name, func(b *testing.B) {
			in.Prev = policy.Decide(in).Memory
			b.ReportAllocs()
			for b.Loop() {
				policy.Decide(in)
			}
		})
	}
}

// manyServices is a healthy world of n services with two checks and k VIPs each,
// all of them sent.
func manyServices(n, k int) policy.Input {
	in := world()
	in.Services, in.Checks, in.Addresses = nil, map[string]policy.Check{}, map[netip.Addr]vip.Address{}
	for i := range n {
		s := world().Services[0]
		s.Name = fmt.Sprint("service-", i)
		s.Addresses = nil
		for j := range k {
			a := netip.AddrFrom4([4]byte{192, byte(i >> 8), byte(i), byte(j)})
			if k > 1 {
				a = netip.AddrFrom4([4]byte{192, 0, byte(j >> 8), byte(j)})
			}
			s.Addresses = append(s.Addresses, policy.HostPrefix{Prefix: netip.PrefixFrom(a, 32)})
			in.Addresses[a] = vip.Address{State: vip.AddressPresent, Ours: true}
		}
		x, y := fmt.Sprint("x", i), fmt.Sprint("y", i)
		s.Require.Of = []policy.Require{check(x), check(y)}
		in.Checks[x], in.Checks[y] = verdict(vip.Pass), verdict(vip.Pass)
		in.Services = append(in.Services, s)
	}
	sent := map[netip.Prefix]vip.Announcement{}
	for _, a := range policy.Decide(in).Announcements {
		sent[a.Prefix] = a
	}
	in.Sent = map[string]map[netip.Prefix]vip.Announcement{"tor-a": sent}
	return in
}
