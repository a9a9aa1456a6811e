package policy_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anyvip/anyvip/pkg/policy"
	"github.com/anyvip/anyvip/pkg/vip"
)

// withFallback is world with a fallback to eth0, on whose segment the VIP is.
func withFallback() policy.Input {
	in := world()
	s := &in.Services[0]
	s.Addresses = []policy.HostPrefix{{Prefix: netip.MustParsePrefix("10.0.1.100/32")}}
	s.Fallback = &policy.Fallback{After: 10 * time.Second, VRRP: segment().Services[0].VRRP}
	in.Addresses = map[netip.Addr]vip.Address{}
	for _, h := range s.Addresses {
		in.Addresses[h.Addr()] = vip.Address{Addr: h.Addr(), State: vip.AddressPresent, Ours: true}
	}
	return in
}

// sessionIs is what the one session is.
func sessionIs(in *policy.Input, up bool) {
	in.Sessions, in.Sent = map[string]vip.Session{"tor-a": {Peer: "tor-a", State: vip.Active}}, nil
	if up {
		in.Sessions = map[string]vip.Session{"tor-a": established("10.0.1.2", "10.0.1.1")}
		in.Sent = map[string]map[netip.Prefix]vip.Announcement{"tor-a": {}}
	}
}

// sent makes the peer have what is wanted now.
func sent(in *policy.Input) {
	routes := map[netip.Prefix]vip.Announcement{}
	for _, a := range policy.Decide(*in).Announcements {
		routes[a.Prefix] = a
	}
	in.Sent = map[string]map[netip.Prefix]vip.Announcement{"tor-a": routes}
}

func seconds(list ...float64) (at []time.Duration) {
	for _, s := range list {
		at = append(at, time.Duration(s*float64(time.Second)))
	}
	return at
}

// TestFallback is the way there and back.
func TestFallback(t *testing.T) {
	type step struct {
		at       float64 // seconds
		up, sent bool
		want     policy.RouterStance
		first    policy.Code
	}
	for name, steps := range map[string][]step{
		"with a session there is none": {{0, true, true, policy.RouterOut, policy.CodeHealthy}, {100, true, true, policy.RouterOut, policy.CodeHealthy}},
		"no session for as long":       {{0, false, false, policy.RouterOut, policy.CodeHealthy}, {9.9, false, false, policy.RouterOut, policy.CodeHealthy}, {10, false, false, policy.RouterIn, policy.CodeFallback}},
		"a session in between": {{0, false, false, policy.RouterOut, policy.CodeHealthy}, {9, true, true, policy.RouterOut, policy.CodeHealthy}, {10, false, false, policy.RouterOut, policy.CodeHealthy},
			{19.9, false, false, policy.RouterOut, policy.CodeHealthy}, {20, false, false, policy.RouterIn, policy.CodeFallback}},
		"back: until a second after the route was sent": {{0, false, false, policy.RouterOut, policy.CodeHealthy}, {10, false, false, policy.RouterIn, policy.CodeFallback}, {20, true, false, policy.RouterIn, policy.CodeFallback},
			{25, true, false, policy.RouterIn, policy.CodeFallback}, {26, true, true, policy.RouterIn, policy.CodeFallback}, {26.9, true, true, policy.RouterIn, policy.CodeFallback}, {27, true, true, policy.RouterOut, policy.CodeHealthy}},
		"lost again meanwhile: it goes on at once": {{0, false, false, policy.RouterOut, policy.CodeHealthy}, {10, false, false, policy.RouterIn, policy.CodeFallback}, {20, true, true, policy.RouterIn, policy.CodeFallback},
			{20.5, false, false, policy.RouterIn, policy.CodeFallback}, {40, false, false, policy.RouterIn, policy.CodeFallback}},
	} {
		t.Run(name, func(t *testing.T) {
			in := withFallback()
			for _, s := range steps {
				in.Now = after(time.Duration(s.at * float64(time.Second)))
				sessionIs(&in, s.up)
				if s.sent {
					sent(&in)
				}
				out := policy.Decide(in)
				if len(out.Routers) != 1 || out.Routers[0].Stance != s.want || out.Decisions[0].Reasons[0].Code != s.first {
					t.Errorf("after %v s: %+v, %v", s.at, out.Routers, out.Decisions[0].Reasons)
				}
				if len(out.Announcements) != 1 || !slices.Equal(out.Addresses, []netip.Addr{in.Services[0].Addresses[0].Addr()}) {
					t.Errorf("after %v s: the route is wanted throughout: %v, on lo %v", s.at, out.Announcements, out.Addresses)
				}
				in.Prev = out.Memory
			}
		})
	}
}

// fallen is a service that has fallen back, with its router in a state.
func fallen(t *testing.T, state vip.RouterState) policy.Input {
	t.Helper()
	in := withFallback()
	sessionIs(&in, false)
	out := run(in, seconds(0, 10), nil)
	if out.Routers[0].Stance != policy.RouterIn {
		t.Fatalf("%+v", out.Routers)
	}
	in.Now, in.Prev, in.Routers = after(20*time.Second), out.Memory, routerIs(state)
	here(&in)
	return in
}

func TestAFallbackIsAsAnyOtherElection(t *testing.T) {
	for name, test := range map[string]struct {
		state  vip.RouterState
		change func(in *policy.Input)
		want   policy.Disposition
		stance policy.RouterStance
		second policy.Code // after, or where the way is not why before, that of the fallback
	}{
		"Active":           {vip.RouterActive, nil, policy.Announced, policy.RouterIn, policy.CodeHealthy},
		"Backup":           {vip.RouterBackup, nil, policy.Standby, policy.RouterIn, policy.CodeBackup},
		"the link is down": {vip.RouterInitialize, func(in *policy.Input) { in.Links[0].Up = false }, policy.Withdrawn, policy.RouterOut, policy.CodeLink},
		"degraded":         {vip.RouterBackup, func(in *policy.Input) { in.Checks["web"] = verdict(vip.Degraded) }, policy.Standby, policy.RouterIn, policy.CodeBackup},
		"drained":          {vip.RouterActive, func(in *policy.Input) { in.Drains = map[string]policy.Drain{"web": {Since: epoch}} }, policy.Leaving, policy.RouterLast, policy.CodeDraining},
		"by force": {vip.RouterActive, func(in *policy.Input) { in.Drains = map[string]policy.Drain{"web": {Since: epoch, Force: true}} },
			policy.Leaving, policy.RouterOut, policy.CodeDraining},
		"the address is refused": {vip.RouterActive, func(in *policy.Input) {
			a := in.Services[0].Addresses[0].Addr()
			in.Leases = map[netip.Addr]vip.Address{a: {Addr: a, State: vip.AddressRefused}}
		}, policy.Withdrawn, policy.RouterOut, policy.CodeAddressRefused},
	} {
		t.Run(name, func(t *testing.T) {
			in := fallen(t, test.state)
			if test.change != nil {
				test.change(&in)
			}
			out := policy.Decide(in)
			dec := out.Decisions[0]
			codes := []policy.Code{policy.CodeFallback, test.second}
			if test.second == policy.CodeDraining {
				slices.Reverse(codes)
			}
			if dec.Disposition != test.want || dec.Reasons[0].Code != codes[0] || dec.Reasons[1].Code != codes[1] || out.Routers[0].Stance != test.stance {
				t.Errorf("%+v\n%+v", dec, out.Routers)
			}
		})
	}
}

// TestAFailedServiceHasNoFallback: health decides, whichever way leads to it.
func TestAFailedServiceHasNoFallback(t *testing.T) {
	in := fallen(t, vip.RouterActive)
	in.Checks["web"] = verdict(vip.Fail)
	out := policy.Decide(in)
	if dec := out.Decisions[0]; out.Routers[0].Stance != policy.RouterOut || dec.Disposition != policy.Withdrawn {
		t.Errorf("%+v\n%+v", out.Routers, dec)
	}
}

func TestAStopWaitsForTheRouterOfAFallback(t *testing.T) {
	in := fallen(t, vip.RouterLeaving)
	in.Phase = policy.Stopping
	in.Addresses = nil
	if out := policy.Decide(in); out.Phase != policy.Stopping || out.Routers[0].Stance != policy.RouterOut {
		t.Errorf("%s: %+v", out.Phase, out.Routers)
	}
	in.Routers, in.Leases = nil, nil
	if out := policy.Decide(in); out.Phase != policy.Stopped {
		t.Errorf("%s", out.Phase)
	}
}

func TestARestartCountsAnew(t *testing.T) {
	in := fallen(t, vip.RouterActive)
	in.Phase, in.Routers = policy.Starting, nil
	out := policy.Decide(in)
	if out.Routers[0].Stance != policy.RouterOut || out.Memory.Services["web"].Fallback != (policy.FallbackMemory{Lost: in.Now}) || out.DecideAt != in.Now.Add(10*time.Second) {
		t.Errorf("%s: %+v, %+v", out.Phase, out.Routers, out.Memory.Services["web"])
	}
}

func TestWhatAFileMayNotSayOfAFallback(t *testing.T) {
	for name, test := range map[string]struct {
		change func(s *policy.Service)
		want   string
	}{
		"fine":                     {func(*policy.Service) {}, ""},
		"too soon":                 {func(s *policy.Service) { s.Fallback.After = 0 }, "fallback.after"},
		"in mode vrrp":             {func(s *policy.Service) { s.Mode, s.VRRP = policy.ModeVRRP, s.Fallback.VRRP }, "is for mode ecmp"},
		"a single writer":          {func(s *policy.Service) { s.Exclusive = true }, "exclusive"},
		"an owner":                 {func(s *policy.Service) { s.Fallback.VRRP.Priority = 255 }, "fallback.vrrp.priority"},
		"without a VRID, together": {func(s *policy.Service) { s.Together, s.Fallback.VRRP.VRID = "fw", 0 }, "fallback.vrrp.vrid"},
		"without a VRID":           {func(s *policy.Service) { s.Fallback.VRRP.VRID = 0 }, "fallback.vrrp.vrid"},
		"without a link":           {func(s *policy.Service) { s.Fallback.VRRP.Interface = "" }, "fallback.vrrp.interface"},
		"with its segment":         {func(s *policy.Service) { s.Addresses[0] = host("10.9.9.9/24") }, ""},
		"a network of none": {func(s *policy.Service) { s.Addresses[0] = host("10.9.9.9/24"); s.Fallback = nil },
			"mode ecmp announces single addresses"},
	} {
		t.Run(name, func(t *testing.T) {
			s := withFallback().Services[0]
			s.Fallback = &policy.Fallback{After: s.Fallback.After, VRRP: s.Fallback.VRRP}
			s.Addresses = slices.Clone(s.Addresses)
			test.change(&s)
			var all []string
			for _, p := range s.Validate() {
				all = append(all, p.Path+" "+p.Message)
			}
			text := strings.Join(all, "\n")
			if test.want == "" && text != "" || !strings.Contains(text, test.want) {
				t.Errorf("%s", text)
			}
		})
	}
}

// What a reload takes away is forgotten: a later drain goes by the routes.
func TestAFallbackThatIsTakenAwayIsForgotten(t *testing.T) {
	in := fallen(t, vip.RouterActive)
	in.Services[0].Fallback = nil
	out := policy.Decide(in)
	if m := out.Memory.Services["web"]; m.Fallback != (policy.FallbackMemory{}) || len(out.Routers) != 0 {
		t.Errorf("%+v, %+v", m.Fallback, out.Routers)
	}
}

// A session that is up and cannot take the route is no way.
func TestASessionWithoutTheFamilyEndsNoFallback(t *testing.T) {
	in := fallen(t, vip.RouterActive)
	sessionIs(&in, true)
	s := in.Sessions["tor-a"]
	s.Families = []vip.Family{vip.IPv6}
	in.Sessions = map[string]vip.Session{"tor-a": s}
	if out := run(in, seconds(20, 30), nil); out.Routers[0].Stance != policy.RouterIn {
		t.Errorf("%+v\n%+v", out.Routers, out.Decisions)
	}
}

func TestWhatWouldKeepAFallbackFromWorkingIsToldBefore(t *testing.T) {
	in := withFallback()
	sent(&in)
	in.Services[0].Fallback.VRRP.Interface = "eth9"
	dec := policy.Decide(in).Decisions[0]
	if last := dec.Reasons[len(dec.Reasons)-1]; dec.Disposition != policy.Announced || dec.Reasons[0].Code != policy.CodeHealthy || last.Code != policy.CodeFallback ||
		!strings.Contains(last.Detail, "there is no link eth9") {
		t.Errorf("%+v", dec)
	}
}

// A drain that waited for a successor begins anew when the routes are the way again:
// they leave as any others.
func TestADrainGoesByTheRoutesOnceTheyAreBack(t *testing.T) {
	in := fallen(t, vip.RouterActive)
	in.Services[0].DrainHold, in.Services[0].DrainTime = 5*time.Second, 30*time.Second
	in.Drains = map[string]policy.Drain{"web": {Since: after(20 * time.Second)}}
	out := run(in, seconds(20, 21), nil)
	if step := out.Decisions[0].Drain.Step; step != policy.DrainHold {
		t.Fatalf("%s", step)
	}
	in.Prev, in.Now = out.Memory, after(100*time.Second)
	sessionIs(&in, true)
	out = policy.Decide(in) // the session is seen
	in.Prev = out.Memory
	out = policy.Decide(in)
	if p := out.Decisions[0].Drain; p.Step != policy.DrainHold || p.Since != in.Now || p.WithdrawnBy != in.Now.Add(30*time.Second) || len(out.Announcements) != 1 {
		t.Errorf("%+v, %v", p, out.Announcements)
	}
}
