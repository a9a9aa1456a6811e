package policy_test

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anyvip/anyvip/pkg/policy"
	"github.com/anyvip/anyvip/pkg/vip"
)

// segment is world with its service in mode vrrp, on eth0.
func segment() policy.Input {
	in := world()
	s := &in.Services[0]
	s.Mode = policy.ModeVRRP
	s.Addresses = []policy.HostPrefix{{Prefix: netip.MustParsePrefix("10.0.1.100/32")}, {Prefix: netip.MustParsePrefix("10.0.1.101/32")}}
	s.VRRP = policy.VRRP{Interface: "eth0", VRID: 51, Version: 3, Priority: 150, Interval: time.Second, Preempt: true, Degraded: policy.DegradedVRRP{LowerBy: 100}}
	in.Peers, in.Sessions, in.Addresses = nil, nil, nil
	return in
}

// routerIs is what is known about the service's one router.
func routerIs(state vip.RouterState, others ...vip.OtherRouter) map[string]vip.VirtualRouter {
	return map[string]vip.VirtualRouter{"web": {Name: "web", VRID: 51, State: state, Since: epoch, Others: others,
		Answers: state == vip.RouterActive || state == vip.RouterLeaving}}
}

// cannot is a router that cannot do its work.
func cannot() map[string]vip.VirtualRouter {
	m := routerIs(vip.RouterInitialize)
	r := m["web"]
	r.Detail = "give the agent the capability CAP_NET_RAW"
	m["web"] = r
	return m
}

// here puts the addresses on this host.
func here(in *policy.Input) {
	in.Leases = map[netip.Addr]vip.Address{}
	for _, h := range in.Services[0].Addresses {
		in.Leases[h.Addr()] = vip.Address{Addr: h.Addr(), State: vip.AddressPresent, Ours: true}
	}
}

// stayed is a router that was drained and found no successor.
func stayed() map[string]vip.VirtualRouter {
	m := routerIs(vip.RouterActive)
	r := m["web"]
	r.Cause = vip.RouterNoSuccessor
	m["web"] = r
	return m
}

func TestAHealthyServiceTakesPartInItsElection(t *testing.T) {
	out := policy.Decide(segment())
	if len(out.Routers) != 1 || len(out.Announcements) != 0 || len(out.Addresses) != 0 {
		t.Fatalf("%+v, %v, %v", out.Routers, out.Announcements, out.Addresses)
	}
	r := out.Routers[0]
	if r.Name != "web" || r.Stance != policy.RouterIn || r.Priority != 150 || r.Link.Name != "eth0" || r.Source != netip.MustParseAddr("10.0.1.2") || len(r.Listed) != 2 {
		t.Errorf("%+v", r)
	}
}

func TestStances(t *testing.T) {
	for name, test := range map[string]struct {
		change func(in *policy.Input)
		want   policy.RouterStance
	}{
		"healthy":                {func(*policy.Input) {}, policy.RouterIn},
		"failed":                 {func(in *policy.Input) { in.Checks["web"] = verdict(vip.Fail) }, policy.RouterOut},
		"unknown":                {func(in *policy.Input) { in.Checks["web"] = verdict(vip.Unknown) }, policy.RouterOut},
		"degraded":               {func(in *policy.Input) { in.Checks["web"] = verdict(vip.Degraded) }, policy.RouterIn},
		"drained":                {func(in *policy.Input) { in.Drains = map[string]policy.Drain{"web": {Since: epoch}} }, policy.RouterLast},
		"drained by force":       {func(in *policy.Input) { in.Drains = map[string]policy.Drain{"web": {Since: epoch, Force: true}} }, policy.RouterOut},
		"the agent stops":        {func(in *policy.Input) { in.Phase = policy.Stopping }, policy.RouterOut},
		"the link is down":       {func(in *policy.Input) { in.Links[0].Up = false }, policy.RouterOut},
		"after the host's boot":  {func(in *policy.Input) { in.Booted, in.Services[0].StartDelay = epoch, time.Minute }, policy.RouterOut},
		"outside of the segment": {func(in *policy.Input) { in.Services[0].Addresses[1].Prefix = netip.MustParsePrefix("10.9.9.9/32") }, policy.RouterOut},
		"outside, and said so":   {func(in *policy.Input) { in.Services[0].Addresses[1] = host("10.9.9.9/24") }, policy.RouterIn},
		"the owner":              {func(in *policy.Input) { owns(in) }, policy.RouterIn},
		"an owner of nothing":    {func(in *policy.Input) { in.Services[0].VRRP.Priority = 255 }, policy.RouterOut},
	} {
		t.Run(name, func(t *testing.T) {
			in := segment()
			test.change(&in)
			out := policy.Decide(in)
			if len(out.Routers) != 1 || out.Routers[0].Stance != test.want {
				t.Errorf("%+v, want %s", out.Routers, test.want)
			}
			if len(out.Decisions[0].Reasons) == 0 {
				t.Error("no reason")
			}
		})
	}
}

func host(s string) policy.HostPrefix {
	var h policy.HostPrefix
	if err := h.UnmarshalText([]byte(s)); err != nil {
		panic(err)
	}
	return h
}

func owns(in *policy.Input) {
	in.Services[0].VRRP.Priority = 255
	in.Links[0].Prefixes = append(in.Links[0].Prefixes, netip.MustParsePrefix("10.0.1.100/24"), netip.MustParsePrefix("10.0.1.101/24"))
}

func TestNothingTakesPartWhileTheAgentStarts(t *testing.T) {
	in := segment()
	in.Phase = policy.Starting
	in.Checks["other"] = verdict(vip.Unknown)
	in.Services = append(in.Services, policy.Service{Name: "other", Require: policy.Require{Rule: policy.RuleAll, Of: []policy.Require{check("other")}}})
	out := policy.Decide(in)
	if out.Phase != policy.Starting || out.Routers[0].Stance != policy.RouterOut {
		t.Errorf("%s: %+v", out.Phase, out.Routers)
	}
}

func TestALinkThatIsMissingHasNoRouter(t *testing.T) {
	in := segment()
	in.Links = nil
	if dec := policy.Decide(in).Decisions[0]; dec.Disposition != policy.Pending || dec.Reasons[0].Code != policy.CodeAddressUnknown {
		t.Errorf("before the first look: %+v", dec)
	}
	in.Links = []vip.Link{{Name: "lo", Index: 1, Up: true}}
	out := policy.Decide(in)
	dec := out.Decisions[0]
	if len(out.Routers) != 0 || dec.Disposition != policy.Withdrawn || dec.Reasons[0].Code != policy.CodeLink || !strings.Contains(dec.Reasons[0].Detail, "eth0") {
		t.Errorf("%+v, %+v", out.Routers, dec)
	}
}

func TestBothFamiliesAreTwoRouters(t *testing.T) {
	in := segment()
	in.Services[0].Addresses = []policy.HostPrefix{host("10.0.1.100"), host("2001:db8:1::100"), host("fe80::100")}
	out := policy.Decide(in)
	if len(out.Routers) != 2 || out.Routers[0].Name != "web/ipv4" || out.Routers[1].Name != "web/ipv6" {
		t.Fatalf("%+v", out.Routers)
	}
	six := out.Routers[1]
	if six.Source != netip.MustParseAddr("fe80::1") || !slices.Equal(six.Listed, []netip.Addr{netip.MustParseAddr("fe80::100"), netip.MustParseAddr("2001:db8:1::100")}) {
		t.Errorf("the link-local address leads the list, and the source: %+v", six)
	}
	in.Services[0].VRRP.UnicastPeers = []netip.Addr{netip.MustParseAddr("2001:db8:1::3")}
	if six := policy.Decide(in).Routers[1]; six.Source != netip.MustParseAddr("2001:db8:1::2") {
		t.Errorf("unicast goes from a global address: %+v", six)
	}
}

func TestUnadvertisedAddressesRide(t *testing.T) {
	in := segment()
	in.Services[0].VRRP.Unadvertised = []netip.Addr{netip.MustParseAddr("10.0.1.101")}
	r := policy.Decide(in).Routers[0]
	if len(r.Listed) != 1 || len(r.Rides) != 1 || r.Rides[0].Addr != netip.MustParseAddr("10.0.1.101") {
		t.Errorf("%+v", r)
	}
}

func TestWhatTheRouterDoesIsShown(t *testing.T) {
	other := vip.OtherRouter{Addr: netip.MustParseAddr("10.0.1.3"), MAC: "02:00:00:00:00:03", VRID: 51, Priority: 200}
	rival := other
	rival.Trouble = vip.TroubleRival
	for name, test := range map[string]struct {
		routers map[string]vip.VirtualRouter
		change  func(in *policy.Input)
		want    policy.Disposition
		first   policy.Code
		detail  string
	}{
		"nothing is known yet": {nil, nil, policy.Standby, policy.CodeBackup, "listening"},
		"Active":               {routerIs(vip.RouterActive), nil, policy.Announced, policy.CodeHealthy, ""},
		"Backup":               {routerIs(vip.RouterBackup, other), nil, policy.Standby, policy.CodeBackup, "is Active, with priority 200"},
		"Backup of nobody":     {routerIs(vip.RouterBackup), nil, policy.Standby, policy.CodeBackup, "listening"},
		"degraded and Active": {routerIs(vip.RouterActive), func(in *policy.Input) { in.Checks["web"] = verdict(vip.Degraded) },
			policy.Degraded, policy.CodeCheckDegraded, ""},
		"drained, and it goes": {routerIs(vip.RouterLeaving), func(in *policy.Input) { in.Drains = map[string]policy.Drain{"web": {Since: epoch}} },
			policy.Leaving, policy.CodeDraining, "waiting for another router"},
		"drained, and no other took over": {stayed(), func(in *policy.Input) { in.Drains = map[string]policy.Drain{"web": {Since: epoch}} },
			policy.Leaving, policy.CodeNoSuccessor, "priority 1"},
		"drained, and another took over": {routerIs(vip.RouterInitialize), func(in *policy.Input) { in.Drains = map[string]policy.Drain{"web": {Since: epoch}} },
			policy.Drained, policy.CodeDrained, ""},
		"it cannot listen": {cannot(), nil, policy.Withdrawn, policy.CodeRouter, "CAP_NET_RAW"},
		"Active, and the address does not come": {routerIs(vip.RouterActive), func(in *policy.Input) { in.Now = after(time.Second) },
			policy.Withdrawn, policy.CodeAddressAbsent, ""},
		"Active, and the address is here": {routerIs(vip.RouterActive), func(in *policy.Input) { in.Now = after(time.Second); here(in) },
			policy.Announced, policy.CodeHealthy, ""},
	} {
		t.Run(name, func(t *testing.T) {
			in := segment()
			in.Routers = test.routers
			if test.change != nil {
				test.change(&in)
			}
			dec := policy.Decide(in).Decisions[0]
			if dec.Disposition != test.want || dec.Reasons[0].Code != test.first || !strings.Contains(dec.Reasons[0].Detail, test.detail) {
				t.Errorf("%+v", dec)
			}
		})
	}
	in := segment()
	in.Routers = routerIs(vip.RouterActive, rival)
	if a := policy.Decide(in).Decisions[0].Addresses[0]; len(a.Reasons) != 1 || a.Reasons[0].Code != policy.CodeRival || !strings.Contains(a.Reasons[0].Detail, "rival (MAC 02:00:00:00:00:03)") {
		t.Errorf("%+v", a)
	}
}

// priorities are the priorities at the given times, with the check's outcome there.
func priorities(state vip.RouterState, times []time.Duration, outcome func(t time.Duration) vip.Outcome) (list []uint8) {
	in := segment()
	in.Routers = routerIs(state)
	for _, at := range times {
		run(in, []time.Duration{at}, func(t time.Duration, in *policy.Input) {
			c := verdict(outcome(t))
			c.Detection = 4 * time.Second
			in.Checks = map[string]policy.Check{"web": c}
		})
		out := policy.Decide(func() policy.Input {
			in.Now = after(at)
			c := verdict(outcome(at))
			c.Detection = 4 * time.Second
			in.Checks = map[string]policy.Check{"web": c}
			return in
		}())
		in.Prev, in.Phase = out.Memory, out.Phase
		list = append(list, out.Routers[0].Priority)
	}
	return list
}

// A shared dependency that dies and returns must not move anything: the Active router
// waits until the others have seen it too, a Backup does not.
func TestASoftFailureLowersABackupAtOnceAndTheActiveRouterLate(t *testing.T) {
	seconds := []time.Duration{0, time.Second, 2 * time.Second, 5*time.Second - 1, 5 * time.Second, 10 * time.Second}
	bad := func(t time.Duration) vip.Outcome {
		if t >= time.Second {
			return vip.Degraded
		}
		return vip.Pass
	}
	if got := priorities(vip.RouterBackup, seconds, bad); !slices.Equal(got, []uint8{150, 50, 50, 50, 50, 50}) {
		t.Errorf("Backup %v", got)
	}
	if got := priorities(vip.RouterActive, seconds, bad); !slices.Equal(got, []uint8{150, 150, 150, 150, 50, 50}) {
		t.Errorf("Active %v", got)
	}
	brief := func(t time.Duration) vip.Outcome {
		if t >= time.Second && t < 3*time.Second {
			return vip.Degraded
		}
		return vip.Pass
	}
	if got := priorities(vip.RouterActive, seconds, brief); !slices.Equal(got, []uint8{150, 150, 150, 150, 150, 150}) {
		t.Errorf("Active, a brief one %v", got)
	}
}

func TestRecoveryRaisesTheActiveRouterAtOnceAndABackupLate(t *testing.T) {
	seconds := []time.Duration{0, 6 * time.Second, 7 * time.Second, 12*time.Second - 1, 12 * time.Second}
	good := func(t time.Duration) vip.Outcome {
		if t >= 7*time.Second {
			return vip.Pass
		}
		return vip.Degraded
	}
	if got := priorities(vip.RouterActive, seconds, good); !slices.Equal(got, []uint8{150, 50, 150, 150, 150}) {
		t.Errorf("Active %v", got)
	}
	if got := priorities(vip.RouterBackup, seconds, good); !slices.Equal(got, []uint8{50, 50, 50, 50, 150}) {
		t.Errorf("Backup %v (recovery_delay 5 s)", got)
	}
}

func TestAllDegradedKeepTheirOrder(t *testing.T) {
	for _, test := range []struct{ priority, by, want uint8 }{{150, 100, 50}, {140, 100, 40}, {50, 100, 1}, {1, 254, 1}} {
		in := segment()
		in.Services[0].VRRP.Priority, in.Services[0].VRRP.Degraded.LowerBy = test.priority, test.by
		in.Checks["web"] = verdict(vip.Degraded)
		in.Routers = routerIs(vip.RouterBackup)
		if got := policy.Decide(in).Routers[0].Priority; got != test.want {
			t.Errorf("%d lowered by %d is %d, want %d", test.priority, test.by, got, test.want)
		}
	}
}

func TestAStopWaitsForARouterThatAnswersAndNotForEver(t *testing.T) {
	in := segment()
	in.Phase = policy.Stopping
	in.Routers = routerIs(vip.RouterLeaving)
	if out := run(in, []time.Duration{0, time.Second}, nil); out.Phase != policy.Stopping || out.DecideAt.IsZero() {
		t.Errorf("%s, next %v", out.Phase, out.DecideAt)
	}
	if out := run(in, []time.Duration{0, time.Second, 1100 * time.Millisecond}, func(t time.Duration, in *policy.Input) {
		if t > time.Second {
			in.Routers = nil
		}
	}); out.Phase != policy.Stopped {
		t.Errorf("the router has left: %s", out.Phase)
	}
	if out := run(in, []time.Duration{0, 3 * time.Second, 4 * time.Second}, nil); out.Phase != policy.Stopped {
		t.Errorf("it never leaves: %s", out.Phase)
	}
	// The addresses have their own time, once the router has left.
	here(&in)
	leaves := func(t time.Duration, in *policy.Input) {
		if t > time.Second {
			in.Routers = nil
		}
	}
	if out := run(in, []time.Duration{0, time.Second, 2500 * time.Millisecond, 3 * time.Second}, leaves); out.Phase != policy.Stopping {
		t.Errorf("the addresses are still here: %s", out.Phase)
	}
}

func TestADrainWaitsForPreDrainOfAnActiveRouter(t *testing.T) {
	in := segment()
	in.Services[0].PreDrain = &policy.PreDrain{Timeout: time.Minute}
	in.Drains = map[string]policy.Drain{"web": {Since: epoch}}
	in.Routers = routerIs(vip.RouterActive)
	out := run(in, []time.Duration{0, time.Second}, nil)
	if len(out.Prepare) != 1 || out.Routers[0].Stance != policy.RouterIn {
		t.Errorf("%v, %+v", out.Prepare, out.Routers)
	}
	out = run(in, []time.Duration{0, time.Second, 2 * time.Second}, func(t time.Duration, in *policy.Input) {
		if t == 2*time.Second {
			in.Prepared = map[string]bool{"web": true}
		}
	})
	if out.Routers[0].Stance != policy.RouterLast || out.Decisions[0].Drain.Step != policy.DrainHold {
		t.Errorf("%+v, %+v", out.Routers, out.Decisions[0].Drain)
	}
}

// However long nobody else takes over, the drain is not done: a reboot would take the
// last server away.
func TestADrainIsDoneWhenAnotherRouterAnswers(t *testing.T) {
	in := segment()
	in.Drains = map[string]policy.Drain{"web": {Since: epoch}}
	in.Routers = stayed()
	hour := []time.Duration{0, time.Second, time.Hour}
	if out := run(in, hour, nil); out.Decisions[0].Drain.Step != policy.DrainHold || out.Routers[0].Stance != policy.RouterLast {
		t.Errorf("%+v", out.Decisions[0].Drain)
	}
	out := run(in, hour, func(t time.Duration, in *policy.Input) {
		if t == time.Hour {
			in.Routers = routerIs(vip.RouterInitialize)
		}
	})
	if out.Decisions[0].Drain.Step != policy.DrainDone {
		t.Errorf("%+v", out.Decisions[0].Drain)
	}
}

func TestADrainedServerWhoseServiceDiesGoes(t *testing.T) {
	in := segment()
	in.Drains = map[string]policy.Drain{"web": {Since: epoch}}
	in.Routers = stayed()
	out := run(in, []time.Duration{0, time.Second}, func(t time.Duration, in *policy.Input) {
		if t == time.Second {
			in.Checks = map[string]policy.Check{"web": verdict(vip.Fail)}
		}
	})
	if out.Routers[0].Stance != policy.RouterOut {
		t.Errorf("%+v", out.Routers)
	}
}

func TestARouterWhoseAddressIsRefusedLeavesItToOthers(t *testing.T) {
	in := segment()
	in.Routers = routerIs(vip.RouterActive)
	a := in.Services[0].Addresses[0].Addr()
	in.Leases = map[netip.Addr]vip.Address{a: {Addr: a, State: vip.AddressRefused, Detail: "IPv6 is off"}}
	out := run(in, []time.Duration{0, time.Second}, nil)
	if out.Routers[0].Stance != policy.RouterOut || out.Decisions[0].Disposition != policy.Withdrawn || out.DecideAt.IsZero() {
		t.Errorf("%+v, %+v", out.Routers, out.Decisions[0])
	}
	out = run(in, []time.Duration{0, time.Second, 2 * time.Minute}, func(t time.Duration, in *policy.Input) {
		if t > 0 {
			in.Routers, in.Leases = routerIs(vip.RouterInitialize), nil
		}
	})
	if out.Routers[0].Stance != policy.RouterIn {
		t.Errorf("it is never tried again: %+v", out.Routers)
	}
}

// What keeps an address away is known before the router needs it: it takes no part
// until that is over.
func TestARouterWhoseAddressWouldBeRefusedTakesNoPart(t *testing.T) {
	in := segment()
	in.Routers = routerIs(vip.RouterBackup)
	a := in.Services[0].Addresses[0].Addr()
	in.Leases = map[netip.Addr]vip.Address{a: {Addr: a, State: vip.AddressRefused, Detail: "arp_ignore is 0"}}
	out := run(in, []time.Duration{0, time.Second}, nil)
	d := out.Decisions[0]
	if out.Routers[0].Stance != policy.RouterOut || d.Disposition != policy.Withdrawn || d.Reasons[0].Code != policy.CodeLink || d.Reasons[0].Detail != "arp_ignore is 0" {
		t.Errorf("%+v, %+v", out.Routers, d)
	}
	out = run(in, []time.Duration{0, time.Second}, func(t time.Duration, in *policy.Input) {
		if t > 0 {
			in.Leases = nil
		}
	})
	if out.Routers[0].Stance != policy.RouterIn {
		t.Errorf("it does not take part at once: %+v", out.Routers)
	}
}

func TestUnicastPeersAreOfTheirFamily(t *testing.T) {
	in := segment()
	in.Services[0].Addresses = []policy.HostPrefix{host("10.0.1.100"), host("2001:db8:1::100")}
	in.Links[0].Prefixes = append(in.Links[0].Prefixes, netip.MustParsePrefix("2001:db8:1::2/64"))
	in.Services[0].VRRP.UnicastPeers = []netip.Addr{netip.MustParseAddr("10.0.1.3"), netip.MustParseAddr("2001:db8:1::3")}
	out := policy.Decide(in)
	if len(out.Routers) != 2 || !slices.Equal(out.Routers[0].Peers, []netip.Addr{netip.MustParseAddr("10.0.1.3")}) ||
		!slices.Equal(out.Routers[1].Peers, []netip.Addr{netip.MustParseAddr("2001:db8:1::3")}) {
		t.Errorf("%+v", out.Routers)
	}
}

// What a router has brought here is no link's own: nothing is sent from it, also while
// it leaves.
func TestAVIPIsNoSource(t *testing.T) {
	in := segment()
	in.Links[0].Prefixes = []netip.Prefix{netip.MustParsePrefix("10.0.1.100/32")}
	in.Routers = routerIs(vip.RouterActive)
	out := policy.Decide(in)
	if len(out.Routers) != 0 || len(out.Leased) != 2 || out.Decisions[0].Reasons[0].Code != policy.CodeLink {
		t.Errorf("%+v, %v, %+v", out.Routers, out.Leased, out.Decisions[0])
	}
	in.Services = nil
	r := in.Routers["web"]
	r.Addresses = []netip.Addr{netip.MustParseAddr("10.0.1.100")}
	in.Routers = map[string]vip.VirtualRouter{"web": r}
	if out := policy.Decide(in); !slices.Equal(slices.SortedFunc(maps.Keys(out.Leased), netip.Addr.Compare), r.Addresses) {
		t.Errorf("of a router that leaves: %v", out.Leased)
	}
}

func TestTheFileMayNameTheSource(t *testing.T) {
	in := segment()
	in.Links[0].Prefixes = append(in.Links[0].Prefixes, netip.MustParsePrefix("10.0.1.9/24"))
	in.Services[0].VRRP.Source = netip.MustParseAddr("10.0.1.9")
	if out := policy.Decide(in); out.Routers[0].Source != in.Services[0].VRRP.Source {
		t.Errorf("%+v", out.Routers)
	}
	in.Services[0].VRRP.Source = netip.MustParseAddr("10.0.1.10")
	if out := policy.Decide(in); len(out.Routers) != 0 || !strings.Contains(out.Decisions[0].Reasons[0].Detail, "10.0.1.10, which source names") {
		t.Errorf("%+v", out.Decisions[0])
	}
}

// A family that cannot take part is told at its addresses; the other serves.
func TestOneFamilyAloneIsNoWithdrawal(t *testing.T) {
	in := segment()
	in.Links[0].Prefixes = []netip.Prefix{netip.MustParsePrefix("10.0.1.2/24"), netip.MustParsePrefix("2001:db8:1::2/64")}
	in.Services[0].Addresses = []policy.HostPrefix{host("10.0.1.100"), host("2001:db8:1::100")}
	in.Routers = map[string]vip.VirtualRouter{"web/ipv4": {Name: "web/ipv4", State: vip.RouterActive, Since: epoch, Answers: true}}
	dec := policy.Decide(in).Decisions[0]
	if dec.Disposition != policy.Announced || len(dec.Addresses[1].Reasons) != 1 || dec.Addresses[1].Reasons[0].Code != policy.CodeLink {
		t.Errorf("%+v", dec)
	}
}

func TestWhatAFileMayNotSayOfVRRP(t *testing.T) {
	for name, test := range map[string]struct {
		change func(s *policy.Service)
		want   string // path and a word
	}{
		"no link":                 {func(s *policy.Service) { s.VRRP.Interface = "" }, "vrrp.interface is missing"},
		"no VRID":                 {func(s *policy.Service) { s.VRRP.VRID = 0 }, "vrrp.vrid is missing"},
		"priority 0":              {func(s *policy.Service) { s.VRRP.Priority = 0 }, "vrrp.priority is what"},
		"version 4":               {func(s *policy.Service) { s.VRRP.Version = 4 }, "vrrp.version is no version"},
		"too often":               {func(s *policy.Service) { s.VRRP.Interval = 5 * time.Millisecond }, "vrrp.advertisement_interval cannot be said in version 3"},
		"too seldom":              {func(s *policy.Service) { s.VRRP.Interval = 41 * time.Second }, "vrrp.advertisement_interval cannot be said in version 3"},
		"between two steps":       {func(s *policy.Service) { s.VRRP.Interval = 15 * time.Millisecond }, "vrrp.advertisement_interval cannot be said in version 3"},
		"half a second in 2":      {func(s *policy.Service) { s.VRRP.Version, s.VRRP.Interval = 2, 500*time.Millisecond }, "vrrp.advertisement_interval cannot be said in version 2"},
		"IPv6 in version 2":       {func(s *policy.Service) { s.VRRP.Version = 2; s.Addresses = append(s.Addresses, host("2001:db8::1")) }, "vrrp.version knows no IPv6"},
		"a password in version 3": {func(s *policy.Service) { s.VRRP.PasswordFile = "x" }, "vrrp.password_file is of version 2"},
		"peers of one family": {func(s *policy.Service) {
			s.Addresses = append(s.Addresses, host("2001:db8::1"))
			s.VRRP.UnicastPeers = []netip.Addr{netip.MustParseAddr("10.0.1.3")}
		}, "vrrp.unicast_peers has no ipv6"},
		"a group as a peer": {func(s *policy.Service) { s.VRRP.UnicastPeers = []netip.Addr{netip.MustParseAddr("224.0.0.18")} }, "vrrp.unicast_peers[0] is no other"},
		"a VIP as a peer":   {func(s *policy.Service) { s.VRRP.UnicastPeers = []netip.Addr{netip.MustParseAddr("10.0.1.100")} }, "vrrp.unicast_peers[0] is an address"},
		"a peer twice": {func(s *policy.Service) {
			a := netip.MustParseAddr("10.0.1.3")
			s.VRRP.UnicastPeers = []netip.Addr{a, a}
		}, "vrrp.unicast_peers[1] is there twice"},
		"a long delay":                  {func(s *policy.Service) { s.VRRP.PreemptDelay = 2 * time.Hour }, "vrrp.preempt_delay is out of range"},
		"an owner with the virtual MAC": {func(s *policy.Service) { s.VRRP.Priority, s.VRRP.VirtualMAC = 255, true }, "vrrp.virtual_mac is not for the owner"},
		"an owner that degrades":        {func(s *policy.Service) { s.VRRP.Priority = 255 }, "vrrp.priority is the owner's"},
		"a stranger that rides":         {func(s *policy.Service) { s.VRRP.Unadvertised = []netip.Addr{netip.MustParseAddr("10.0.1.9")} }, "vrrp.unadvertised[0] is no address"},
		"all ride": {func(s *policy.Service) {
			s.VRRP.Unadvertised = []netip.Addr{netip.MustParseAddr("10.0.1.100"), netip.MustParseAddr("10.0.1.101")}
		}, "vrrp.unadvertised has every"},
		"too many addresses": {func(s *policy.Service) {
			for i := range 300 {
				a := netip.AddrFrom4([4]byte{10, 0, 2 + byte(i>>8), byte(i)})
				s.Addresses = append(s.Addresses, policy.HostPrefix{Prefix: netip.PrefixFrom(a, 32)})
			}
		}, "vrrp.unadvertised is too short"},
		"as many as an advertisement counts": {func(s *policy.Service) { s.Addresses = many6(255) }, ""},
		"one more":                           {func(s *policy.Service) { s.Addresses = many6(256) }, "vrrp.unadvertised is too short"},
		"nothing wrong":                      {func(*policy.Service) {}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := segment().Services[0]
			test.change(&s)
			ps := s.Validate()
			if test.want == "" {
				if len(ps) > 0 {
					t.Errorf("%+v", ps)
				}
				return
			}
			if !slices.ContainsFunc(ps, func(p vip.Problem) bool { return strings.HasPrefix(p.Path+" "+p.Message, test.want) }) {
				t.Errorf("%+v", ps)
			}
		})
	}
}

func many6(n int) (list []policy.HostPrefix) {
	for i := range n {
		a := netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 5: 1, 14: byte((i + 16) >> 8), 15: byte(i + 16)})
		list = append(list, policy.HostPrefix{Prefix: netip.PrefixFrom(a, 128)})
	}
	return list
}

func many4(n int) (list []policy.HostPrefix) {
	for i := range n {
		list = append(list, policy.HostPrefix{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 1, byte(100 + i)}), 32)})
	}
	return list
}

// Only the link can tell how many addresses an advertisement holds: IPv4 20+8+4n bytes, 8
// more in version 2, IPv6 40+8+16n.
func TestAnAdvertisementFitsIntoTheLinksMTU(t *testing.T) {
	for name, test := range map[string]struct {
		version uint8
		mtu     int
		list    func(int) []policy.HostPrefix
		fit     int
	}{
		"version 3, IPv4":          {3, 576, many4, 137},
		"version 2":                {2, 576, many4, 135},
		"IPv6":                     {3, 1500, many6, 90},
		"IPv6's smallest link":     {3, 1280, many6, 77},
		"all that jumbo frames do": {3, 4128, many6, 255},
	} {
		t.Run(name, func(t *testing.T) {
			for _, n := range []int{test.fit, test.fit + 1} {
				in := segment()
				in.Links[0].MTU = test.mtu
				in.Links[0].Prefixes = append(in.Links[0].Prefixes, netip.MustParsePrefix("2001:db8:1::2/64"), netip.MustParsePrefix("fe80::2/64"))
				s := &in.Services[0]
				s.Addresses, s.VRRP.Version = test.list(n), test.version
				d := policy.Decide(in)
				if r := d.Decisions[0].Reasons[0]; (r.Code == policy.CodeLink) != (n > test.fit) || (d.Routers[0].Stance == policy.RouterIn) != (n == test.fit) {
					t.Errorf("%d addresses: %s, %s", n, d.Routers[0].Stance, r)
				} else if n > test.fit && !strings.Contains(r.Detail, "put 1 of them under unadvertised") {
					t.Error(r)
				}
				if n > test.fit { // as the reason says
					s.VRRP.Unadvertised = []netip.Addr{s.Addresses[0].Addr()}
					if d := policy.Decide(in); d.Routers[0].Stance != policy.RouterIn {
						t.Errorf("with one that rides: %s", d.Decisions[0].Reasons[0])
					}
				}
			}
		})
	}
}
