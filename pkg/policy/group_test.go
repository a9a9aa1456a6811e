package policy_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anyvip/anyvip/pkg/policy"
	"github.com/anyvip/anyvip/pkg/vip"
)

// firewall is two services that are together: outside with a virtual router on eth0, and
// inside, on eth1. own: it has a virtual router too.
func firewall(own bool) policy.Input {
	in := segment()
	in.Links = append(in.Links, vip.Link{Name: "eth1", Index: 3, Up: true, Prefixes: []netip.Prefix{netip.MustParsePrefix("10.9.0.2/24")}})
	outside := in.Services[0]
	outside.Name, outside.Together, outside.Addresses = "outside", "fw", outside.Addresses[:1]
	inside := outside
	inside.Name, inside.Addresses = "inside", []policy.HostPrefix{host("10.9.0.100"), host("2001:db8:9::100/64")}
	inside.VRRP = policy.VRRP{Interface: "eth1"}
	if own {
		inside.VRRP = outside.VRRP
		inside.VRRP.Interface, inside.VRRP.VRID = "eth1", 52
		inside.Addresses = inside.Addresses[:1]
	}
	inside.Require = policy.Require{Rule: policy.RuleAll, Of: []policy.Require{check("db")}}
	in.Checks["db"] = verdict(vip.Pass)
	in.Services = []policy.Service{outside, inside}
	return in
}

func outsideIs(state vip.RouterState) map[string]vip.VirtualRouter {
	return map[string]vip.VirtualRouter{"outside": {Name: "outside", VRID: 51, State: state, Since: epoch, Answers: state == vip.RouterActive || state == vip.RouterLeaving}}
}

func TestAServiceWithoutAVRIDRidesOnItsLeader(t *testing.T) {
	out := policy.Decide(firewall(false))
	if len(out.Routers) != 1 {
		t.Fatalf("%+v", out.Routers)
	}
	w := out.Routers[0]
	want := []policy.Ride{{Addr: netip.MustParseAddr("10.9.0.100"), Link: vip.Link{Name: "eth1", Index: 3}}, {Addr: netip.MustParseAddr("2001:db8:9::100"), Link: vip.Link{Name: "eth1", Index: 3}}}
	if w.Name != "outside" || w.Stance != policy.RouterIn || w.Group != "" || len(w.Listed) != 1 || len(w.Rides) != 2 ||
		w.Rides[0].Addr != want[0].Addr || w.Rides[1].Addr != want[1].Addr || w.Rides[0].Link.Name != "eth1" || w.Rides[0].Link.Index != 3 {
		t.Errorf("%+v", w)
	}
	if want := map[netip.Addr]string{netip.MustParseAddr("10.0.1.100"): "eth0", want[0].Addr: "eth1", want[1].Addr: "eth1"}; !maps.Equal(out.Leased, want) {
		t.Errorf("leased %v", out.Leased)
	}
}

// TestAGroupSharesItsFate: whatever happens to one of two happens to both.
func TestAGroupSharesItsFate(t *testing.T) {
	refused := netip.MustParseAddr("10.9.0.100")
	for name, test := range map[string]struct {
		change  func(in *policy.Input)
		state   vip.RouterState
		stance  policy.RouterStance
		want    [2]policy.Disposition
		outside policy.Code // the first reason of outside
	}{
		"Backup":                      {func(*policy.Input) {}, vip.RouterBackup, policy.RouterIn, [2]policy.Disposition{policy.Standby, policy.Standby}, policy.CodeBackup},
		"Active":                      {func(*policy.Input) {}, vip.RouterActive, policy.RouterIn, [2]policy.Disposition{policy.Announced, policy.Announced}, policy.CodeHealthy},
		"the rider's check fails":     {func(in *policy.Input) { in.Checks["db"] = verdict(vip.Fail) }, vip.RouterLeaving, policy.RouterOut, [2]policy.Disposition{policy.Withdrawn, policy.Withdrawn}, policy.CodeCheckFailed},
		"the rider's link is down":    {func(in *policy.Input) { in.Links[1].Up = false }, vip.RouterInitialize, policy.RouterOut, [2]policy.Disposition{policy.Withdrawn, policy.Withdrawn}, policy.CodeLink},
		"the rider has no segment":    {func(in *policy.Input) { in.Links[1].Prefixes = []netip.Prefix{netip.MustParsePrefix("10.99.0.2/24")} }, vip.RouterInitialize, policy.RouterOut, [2]policy.Disposition{policy.Withdrawn, policy.Withdrawn}, policy.CodeOffSegment},
		"the rider's address refused": {func(in *policy.Input) { in.Leases[refused] = vip.Address{Addr: refused, State: vip.AddressRefused} }, vip.RouterActive, policy.RouterOut, [2]policy.Disposition{policy.Withdrawn, policy.Withdrawn}, policy.CodeAddressRefused},
		"the rider is drained":        {func(in *policy.Input) { in.Drains = map[string]policy.Drain{"inside": {Since: epoch}} }, vip.RouterActive, policy.RouterLast, [2]policy.Disposition{policy.Leaving, policy.Leaving}, policy.CodeDraining},
	} {
		for _, own := range []bool{false, true} {
			t.Run(name+map[bool]string{false: ", riding", true: ", with two routers"}[own], func(t *testing.T) {
				in := firewall(own)
				in.Now = after(time.Second)
				in.Routers = outsideIs(test.state)
				in.Leases = map[netip.Addr]vip.Address{}
				for _, s := range in.Services {
					for _, h := range s.Addresses {
						in.Leases[h.Addr()] = vip.Address{Addr: h.Addr(), State: vip.AddressPresent, Ours: true}
					}
				}
				if own {
					r := in.Routers["outside"]
					r.Name, r.VRID = "inside", 52
					in.Routers["inside"] = r
				}
				test.change(&in)
				out := policy.Decide(in)
				for _, w := range out.Routers {
					if w.Stance != test.stance || (w.Group == "fw") != own {
						t.Errorf("%+v", w)
					}
				}
				if len(out.Routers) != len(in.Routers) {
					t.Errorf("%d routers", len(out.Routers))
				}
				got := [2]policy.Disposition{out.Decisions[0].Disposition, out.Decisions[1].Disposition}
				if got != test.want || out.Decisions[0].Reasons[0].Code != test.outside {
					t.Errorf("%v: %v\n%v", got, out.Decisions[0].Reasons, out.Decisions[1].Reasons)
				}
			})
		}
	}
}

func TestWhoIsTogetherIsNamed(t *testing.T) {
	in := firewall(false)
	in.Links[1].Up = false
	dec := policy.Decide(in).Decisions
	if got := dec[0].Reasons[0].String(); got != "link eth1: together with service inside: the link eth1 is down" {
		t.Error(got)
	}
	if got := dec[1].Reasons[0].String(); got != "link eth1: the link eth1 is down" {
		t.Error(got)
	}
}

// A drain waits for pre_drain of all: the addresses of one go with those of the others.
func TestAGroupWaitsForPreDrainOfAll(t *testing.T) {
	in := firewall(false)
	in.Routers = outsideIs(vip.RouterActive)
	in.Services[1].PreDrain = &policy.PreDrain{Command: []string{"/bin/true"}, Timeout: 10 * time.Second}
	out := run(in, seconds(0, 1), func(at time.Duration, in *policy.Input) {
		if at == 0 {
			return
		}
		in.Drains = map[string]policy.Drain{"": {Since: epoch}}
		in.Prepared = map[string]bool{"outside": true}
	})
	if out.Routers[0].Stance != policy.RouterIn {
		t.Errorf("%+v", out.Routers)
	}
	in.Now, in.Prev, in.Drains = after(2*time.Second), out.Memory, map[string]policy.Drain{"": {Since: epoch}}
	in.Prepared = map[string]bool{"outside": true, "inside": true}
	if out := policy.Decide(in); out.Routers[0].Stance != policy.RouterLast {
		t.Errorf("%+v", out.Routers)
	}
}

// An IPv6 address rides on the IPv6 router where its leader has one.
func TestARideIsOfItsFamilyWhereItCan(t *testing.T) {
	in := firewall(false)
	in.Services[0].Addresses = append(slices.Clone(in.Services[0].Addresses), host("2001:db8:1::100/64"))
	var got []string
	for _, w := range policy.Decide(in).Routers {
		for _, r := range w.Rides {
			got = append(got, w.Name+" "+r.String())
		}
	}
	if text := strings.Join(got, ", "); text != "outside/ipv4 10.9.0.100, outside/ipv6 2001:db8:9::100" {
		t.Error(text)
	}
}

// A leader with both families has two elections, and they go together.
func TestTheRoutersOfALeaderAreActiveTogether(t *testing.T) {
	in := firewall(false)
	in.Services[0].Addresses = append(slices.Clone(in.Services[0].Addresses), host("2001:db8:1::100/64"))
	for _, w := range policy.Decide(in).Routers {
		if w.Group != "fw" {
			t.Errorf("%+v", w)
		}
	}
}

// A stop waits for as long as the leader's successor may need, whoever is asked first.
func TestAStopWaitsForTheLeaderOfAGroup(t *testing.T) {
	in := firewall(false)
	in.Services[0].VRRP.Interval = 10 * time.Second
	slices.Reverse(in.Services)
	in.Routers = outsideIs(vip.RouterLeaving)
	in.Phase = policy.Stopping
	if out := run(in, seconds(0, 11), nil); out.Phase != policy.Stopping {
		t.Error(out.Phase)
	}
	if out := run(in, seconds(0, 11, 13, 16), nil); out.Phase != policy.Stopped {
		t.Error(out.Phase)
	}
}

// TestManyAddressesAreDecidedQuickly: nothing looks at each address for each other one.
// The bound is generous: quadratic ways took seconds.
func TestManyAddressesAreDecidedQuickly(t *testing.T) {
	in := firewall(false)
	inside := in.Services[1]
	in.Services = in.Services[:1]
	for i := range 400 {
		s := inside
		s.Name = fmt.Sprintf("inside-%d", i)
		s.Addresses = []policy.HostPrefix{host(fmt.Sprintf("10.9.%d.%d/16", i/200, 1+i%200))}
		in.Services = append(in.Services, s)
	}
	in.Routers = outsideIs(vip.RouterActive)
	began := time.Now()
	if out := policy.Decide(in); len(out.Decisions) != 401 || len(out.Routers[0].Rides) != 400 {
		t.Fatalf("%d decisions", len(out.Decisions))
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %s", took)
	} else {
		t.Logf("400 services that ride: %s", took)
	}
}
