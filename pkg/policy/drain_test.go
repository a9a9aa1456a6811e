package policy_test

import (
	"maps"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/anyvip/anyvip/pkg/policy"
	"github.com/anyvip/anyvip/pkg/vip"
)

// drained is a world whose service is announced to one peer, and then drained.
func drained(change func(*policy.Drain)) policy.Input {
	in := world()
	in.Services[0].DrainHold, in.Services[0].DrainTime = 5*time.Second, 30*time.Second
	out := policy.Decide(in)
	in.Prev = out.Memory
	in.Sent = sentOf(out)
	x := policy.Drain{Since: epoch, Reason: "new disks", Actor: "kim"}
	if change != nil {
		change(&x)
	}
	in.Drains = map[string]policy.Drain{"web": x}
	return in
}

// sentOf is what the peer has once all of a decision was sent.
func sentOf(out policy.Desired) map[string]map[netip.Prefix]vip.Announcement {
	sent := map[netip.Prefix]vip.Announcement{}
	for _, a := range out.Announcements {
		sent[a.Prefix] = a
	}
	return map[string]map[netip.Prefix]vip.Announcement{"tor-a": sent}
}

// flows are those of both VIPs, the last data of which came at a time.
func flows(open int, received time.Time) map[netip.Addr]vip.Flows {
	return map[netip.Addr]vip.Flows{vip4.Addr(): {Open: open, Received: received}, vip6.Addr(): {}}
}

// script decides once a second for a while, with what the last decision wants
// sent at once, and writes the disposition's first letter down for each.
func script(in policy.Input, seconds int, change func(second int, in *policy.Input)) (letters string, reasons []policy.Reason, last policy.Desired) {
	start := in.Now
	var b strings.Builder
	for i := range seconds {
		in.Now = start.Add(time.Duration(i) * time.Second)
		if change != nil {
			change(i, &in)
		}
		last = policy.Decide(in)
		in.Prev, in.Sent = last.Memory, sentOf(last)
		letter := last.Decisions[0].Disposition.String()[:1]
		if last.Decisions[0].Disposition == policy.Drained {
			letter = "x"
		}
		b.WriteString(letter)
		reasons = append(reasons, last.Decisions[0].Reasons[0])
	}
	return b.String(), reasons, last
}

// The letters: a announced, l leaving, x drained, w withdrawn, r recovering.
func TestADrainStepByStep(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(second int, in *policy.Input)
		want   string
	}{
		// The shift is sent within the first second, and drain_hold counts from there.
		"nobody is connected": {func(_ int, in *policy.Input) { in.Flows = flows(0, time.Time{}) }, "llllllxxxx"},
		"a connection that sends until second 9": {func(s int, in *policy.Input) {
			in.Flows = flows(1, in.Now)
			if s > 9 {
				in.Flows = flows(1, after(9*time.Second))
			}
		}, "lllllllllllxxx"},
		"a connection that never stops": {func(_ int, in *policy.Input) { in.Flows = flows(1, in.Now) },
			strings.Repeat("l", 30) + "xx"},
		"connections that cannot be seen": {nil, strings.Repeat("l", 30) + "xx"},
		"a peer that never gets the shift": {func(_ int, in *policy.Input) {
			in.Flows = flows(0, time.Time{})
			plain := host4()
			in.Sent = map[string]map[netip.Prefix]vip.Announcement{"tor-a": {vip4: plain}}
		}, strings.Repeat("l", 30) + "xx"},
		"taken back while it leaves": {func(s int, in *policy.Input) {
			in.Flows = flows(0, time.Time{})
			if s >= 3 {
				in.Drains = nil
			}
		}, "lllaaa"},
		"taken back later": {func(s int, in *policy.Input) {
			in.Flows = flows(0, time.Time{})
			if s >= 8 {
				in.Drains = nil
			}
		}, "llllllxxaa"},
		"a failure while it leaves": {func(s int, in *policy.Input) {
			in.Flows = flows(1, in.Now)
			if s >= 3 {
				in.Checks = map[string]policy.Check{"web": verdict(vip.Fail)}
			}
		}, "lllxxx"},
		"a failure while it is drained, healthy in time": {func(s int, in *policy.Input) {
			in.Flows = flows(0, time.Time{})
			in.Checks = map[string]policy.Check{"web": verdict(vip.Pass)}
			if s == 8 {
				in.Checks = map[string]policy.Check{"web": verdict(vip.Fail)}
			}
			if s >= 20 {
				in.Drains = nil
			}
		}, "llllllxxxxxxxxxxxxxxaa"},
		"a failure while it is drained, just over": {func(s int, in *policy.Input) {
			in.Flows = flows(0, time.Time{})
			in.Checks = map[string]policy.Check{"web": verdict(vip.Pass)}
			if s == 8 {
				in.Checks = map[string]policy.Check{"web": verdict(vip.Fail)}
			}
			if s >= 10 {
				in.Drains = nil
			}
		}, "llllllxxxxrrrraa"},
		"no session": {func(_ int, in *policy.Input) { in.Sessions, in.Sent = nil, nil }, "xxx"},
	} {
		t.Run(name, func(t *testing.T) {
			got, reasons, _ := script(drained(nil), len(tc.want), tc.change)
			if got != tc.want {
				t.Errorf("dispositions %s, want %s; reasons %v", got, tc.want, reasons)
			}
		})
	}
}

func host4() vip.Announcement {
	return vip.Announcement{Prefix: vip4, LocalPref: 100, Communities: []vip.Community{65000<<16 | 100}}
}

func TestADrainSaysHowFarItIs(t *testing.T) {
	_, reasons, _ := script(drained(func(x *policy.Drain) { x.Until = after(time.Hour) }), 10, func(s int, in *policy.Input) {
		in.Flows = map[netip.Addr]vip.Flows{vip4.Addr(): {Open: 3, Receiving: 1, Received: in.Now}, vip6.Addr(): {Open: 1, Receiving: 1, Received: in.Now}}
		if s > 6 {
			in.Flows = flows(3, after(6*time.Second))
		}
		if s < 1 {
			in.Flows = nil
		}
	})
	for second, want := range map[int]string{
		0: "draining: waiting until every peer has the less preferred route; new disks (kim)",
		2: "draining: every peer has the less preferred route; held for drain_hold of 5s; new disks (kim)",
		6: "draining: waiting until no connection receives anything for 2s; 2 of 4 connections still receive; new disks (kim)",
		7: "draining: waiting until no connection receives anything for 2s; 0 of 3 connections still receive; new disks (kim)",
		9: "drained: new disks (kim)",
	} {
		if got := reasons[second].String(); got != want {
			t.Errorf("in second %d: %q, want %q", second, got, want)
		}
	}
	if !reasons[2].Until.Equal(after(30*time.Second)) || !reasons[9].Until.Equal(after(time.Hour)) {
		t.Errorf("ends at %v and %v", reasons[2].Until, reasons[9].Until)
	}
}

// What a program reads of a drain, step by step: pre_drain ends in second 3, and what
// one of three connections receives in second 10.
func TestADrainInFields(t *testing.T) {
	in := drained(nil)
	in.Services[0].PreDrain = &policy.PreDrain{Timeout: 5 * time.Second}
	seconds := func(n int) time.Time { return after(time.Duration(n) * time.Second) }
	step := func(s policy.DrainStep, since, withdrawnBy int) policy.DrainProgress {
		return policy.DrainProgress{Step: s, Since: seconds(since), Service: "web", Drain: in.Drains["web"], WithdrawnBy: seconds(withdrawnBy), Routed: true}
	}
	counted := func(p policy.DrainProgress, open, receiving int) policy.DrainProgress {
		p.Counted, p.Open, p.Receiving = true, open, receiving
		return p
	}
	done := policy.DrainProgress{Step: policy.DrainDone, Since: seconds(12), Service: "web", Drain: in.Drains["web"]}
	routed := done
	routed.Routed = true
	want := map[int]policy.DrainProgress{
		0:  step(policy.DrainPrepare, 0, 36),
		2:  step(policy.DrainPrepare, 0, 36),
		3:  step(policy.DrainShift, 3, 33),
		4:  counted(step(policy.DrainHold, 4, 33), 3, 1),
		8:  counted(step(policy.DrainHold, 4, 33), 3, 1),
		9:  counted(step(policy.DrainQuiet, 9, 33), 3, 1),
		11: counted(step(policy.DrainQuiet, 9, 33), 3, 1),
		12: routed, // the withdraw is not sent yet
		13: done,
		20: done,
	}
	for s := range 22 {
		in.Now = seconds(s)
		in.Prepared = map[string]bool{"web": s >= 3}
		in.Flows = map[netip.Addr]vip.Flows{vip4.Addr(): {Open: 2, Receiving: 1, Received: seconds(min(s, 10))}, vip6.Addr(): {Open: 1}}
		if s < 4 { // nobody has looked
			in.Flows = nil
		}
		if s == 21 {
			in.Drains = nil
		}
		out := policy.Decide(in)
		got := out.Decisions[0].Drain
		if w, ok := want[s]; ok {
			if diff := cmp.Diff(&w, got); diff != "" {
				t.Errorf("in second %d (-want +got):\n%s", s, diff)
			}
		}
		if s == 21 && got != nil {
			t.Errorf("without a drain: %+v", got)
		}
		in.Prev, in.Sent = out.Memory, sentOf(out)
	}
}

func TestConnectionsThatCannotBeSeenAreNotCounted(t *testing.T) {
	_, _, out := script(drained(nil), 8, func(_ int, in *policy.Input) {
		in.Flows = flows(3, in.Now)
		in.Flows[vip6.Addr()] = vip.Flows{Detail: "no memory"}
	})
	if p := out.Decisions[0].Drain; p.Step != policy.DrainQuiet || p.Counted || p.Open != 0 {
		t.Errorf("%+v", p)
	}
	if got := out.Decisions[0].Reasons[0].Detail; !strings.HasPrefix(got, "connections cannot be seen, so drain_time runs out: no memory") {
		t.Errorf("reason %q", got)
	}
}

func TestADrainEndsByItself(t *testing.T) {
	got, _, last := script(drained(func(x *policy.Drain) { x.Until = after(12 * time.Second) }), 14,
		func(_ int, in *policy.Input) { in.Flows = flows(0, time.Time{}) })
	if want := "llllllxxxxxxaa"; got != want || len(last.Announcements) != 2 {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestTheShiftIsTheWorstRouteAndItsConnectionsAreWatched(t *testing.T) {
	in := drained(nil)
	out := policy.Decide(in)
	if len(out.Announcements) != 2 || len(out.Watch) != 2 {
		t.Fatalf("announcements %v, watched %v", out.Announcements, out.Watch)
	}
	for _, a := range out.Announcements {
		if a.MED != 1<<32-1 || a.Prepend != 3 || a.Communities[len(a.Communities)-1] != vip.GracefulShutdown {
			t.Errorf("%+v", a)
		}
	}
	_, _, out = script(in, 8, func(_ int, in *policy.Input) { in.Flows = flows(0, time.Time{}) })
	if len(out.Announcements)+len(out.Watch) > 0 || len(out.Addresses) != 2 {
		t.Errorf("drained: announcements %v, watched %v, addresses %v", out.Announcements, out.Watch, out.Addresses)
	}
}

func TestANodeDrainIsOneOfEachService(t *testing.T) {
	in := drained(nil)
	in.Drains = map[string]policy.Drain{"": {Since: epoch, Reason: "reboot"}}
	in.Flows = flows(0, time.Time{})
	other := in.Services[0]
	other.Name, other.Addresses = "other", []policy.HostPrefix{{Prefix: netip.MustParsePrefix("192.0.2.99/32")}}
	in.Services = append(in.Services, other)
	in.Addresses = maps.Clone(in.Addresses)
	in.Addresses[other.Addresses[0].Addr()] = vip.Address{State: vip.AddressPresent}
	_, _, out := script(in, 10, func(_ int, in *policy.Input) {
		in.Flows = map[netip.Addr]vip.Flows{vip4.Addr(): {}, vip6.Addr(): {}, other.Addresses[0].Addr(): {}}
	})
	for _, d := range out.Decisions {
		if p := d.Drain; p.Step != policy.DrainDone || p.Service != "" || p.Drain.Reason != "reboot" {
			t.Errorf("%s: %+v", d.Service, p)
		}
		if d.Disposition != policy.Drained || d.Reasons[0].Code != policy.CodeDrained {
			t.Errorf("%s: %s because of %v", d.Service, d.Disposition, d.Reasons)
		}
	}
}

// An agent that starts while its node is drained never announces in between.
func TestADrainIsThereFromTheStart(t *testing.T) {
	in := drained(nil)
	in.Prev, in.Sent, in.Phase = policy.Memory{}, nil, policy.Starting
	got, _, out := script(in, 5, nil)
	if got != "xxxxx" || out.Phase != policy.Running {
		t.Errorf("%s, phase %s", got, out.Phase)
	}
}

// Nothing that is drained is announced once its time is over, whatever happens.
func TestADrainAlwaysEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drained(nil)
		start := in.Now
		for i := range 40 {
			in.Now = start.Add(time.Duration(i) * time.Second)
			in.Checks = drawChecks(t, vip.Pass, vip.Degraded, vip.Fail, vip.Unknown)
			in.Checks["web"] = verdict(rapid.SampledFrom([]vip.Outcome{vip.Pass, vip.Degraded, vip.Fail}).Draw(t, "web"))
			in.Flows = flows(rapid.IntRange(0, 2).Draw(t, "open"), in.Now)
			out := policy.Decide(in)
			checkSound(t, in, out)
			if i >= 30 && len(out.Announcements) > 0 {
				t.Fatalf("announced %d s after the drain: %v", i, out.Decisions[0])
			}
			in.Prev = throughJSON(t, out.Memory)
			if rapid.Bool().Draw(t, "sent") {
				in.Sent = sentOf(out)
			}
		}
	})
}

// A drain waits for pre_drain, announced as before, and not for longer than that may take.
func TestADrainWaitsForPreDrain(t *testing.T) {
	for name, tc := range map[string]struct {
		ends int // the second in which pre_drain is known to have ended
		want string
	}{
		"it ends":       {3, "aaallllllxx"},
		"it never ends": {99, "aaaaaallllllxx"},
		"it is over":    {0, "llllllxx"},
	} {
		t.Run(name, func(t *testing.T) {
			in := drained(nil)
			in.Services[0].PreDrain = &policy.PreDrain{Timeout: 5 * time.Second}
			prepares := 0
			got, reasons, _ := script(in, len(tc.want), func(s int, in *policy.Input) {
				in.Flows = flows(0, time.Time{})
				in.Prepared = map[string]bool{"web": s >= tc.ends}
				if len(policy.Decide(*in).Prepare) > 0 {
					prepares++
				}
			})
			if got != tc.want || prepares != strings.Count(tc.want, "a") {
				t.Errorf("%s with %d prepares, want %s; %v", got, prepares, tc.want, reasons)
			}
			if tc.ends > 0 && reasons[0].String() != "draining: waiting for pre_drain; new disks (kim)" {
				t.Errorf("reason %s", reasons[0])
			}
		})
	}
}
