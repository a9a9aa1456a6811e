package policy_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/anyvip/anyvip/pkg/policy"
	"github.com/anyvip/anyvip/pkg/vip"
)

// A link that is removed, or set down with IPv6, is not there to be found dead.
func TestASessionWhoseAddressIsGoneIsClosed(t *testing.T) {
	for name, test := range map[string]struct {
		state vip.SessionState
		local string
		links []vip.Link
		up    bool
	}{
		"its address is there":         {vip.Established, "10.0.1.2", world().Links, true},
		"its link was removed":         {vip.Established, "10.0.1.2", []vip.Link{{Name: "lo", Up: true}}, false},
		"another address is gone":      {vip.Established, "fe80::1%eth0", world().Links, true},
		"on lo, in a subnet of it":     {vip.Established, "10.255.255.2", []vip.Link{{Name: "lo", Up: true, Prefixes: []netip.Prefix{netip.MustParsePrefix("10.255.255.1/30")}}}, true},
		"links are not known yet":      {vip.Established, "10.0.1.2", nil, true},
		"it was not up, so try it out": {vip.Active, "10.0.1.2", []vip.Link{{Name: "lo", Up: true}}, true},
	} {
		in := world()
		in.Links = test.links
		s := established(test.local, "10.0.1.1")
		s.State = test.state
		in.Sessions = map[string]vip.Session{"tor-a": s}
		w := policy.Decide(in).Sessions[0]
		if w.Up != test.up || !w.Up && (w.Cause != vip.CauseLinkDown || w.Text != "its address 10.0.1.2 is on no link of this host any more") {
			t.Errorf("%s: %+v", name, w)
		}
	}
}

func TestASessionIsWantedWhereNothingStandsInItsWay(t *testing.T) {
	torA, fabric := netip.MustParseAddr("10.0.1.1"), netip.MustParseAddr("fe80::a%eth1")
	eth0 := vip.Link{Name: "eth0", Index: 2, Up: true, Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.1.2/24")}}
	eth1 := vip.Link{Name: "eth1", Index: 3, Up: true}
	down := func(l vip.Link) vip.Link { l.Up = false; return l }
	numbered, unnumbered := policy.Peer{Name: "p", Address: torA}, policy.Peer{Name: "p", Interface: "eth1"}
	known := map[string]vip.Neighbor{"eth1": {Address: fabric}}
	for name, test := range map[string]struct {
		starting  bool
		peer      policy.Peer
		links     []vip.Link
		neighbors map[string]vip.Neighbor
		want      policy.SessionWant
	}{
		"a peer on a link that is up":                    {peer: numbered, links: []vip.Link{eth0}, want: policy.SessionWant{Up: true, Address: torA}},
		"a peer on a link that is down":                  {peer: numbered, links: []vip.Link{down(eth0)}, want: policy.SessionWant{Address: torA, Cause: vip.CauseLinkDown, Text: "link eth0 is down"}},
		"a peer on two links of which one is down":       {peer: numbered, links: []vip.Link{down(eth0), {Name: "eth2", Up: true, Prefixes: eth0.Prefixes}}, want: policy.SessionWant{Up: true, Address: torA}},
		"a peer on no link of ours":                      {peer: numbered, links: []vip.Link{eth1}, want: policy.SessionWant{Up: true, Address: torA}},
		"a peer before the links are known":              {peer: numbered, want: policy.SessionWant{Up: true, Address: torA}},
		"a peer some hops away, in a dead link's subnet": {peer: policy.Peer{Name: "p", Address: torA, Multihop: true}, links: []vip.Link{down(eth0)}, want: policy.SessionWant{Up: true, Address: torA}},
		"a peer while the agent starts":                  {starting: true, peer: numbered, links: []vip.Link{eth0}, want: policy.SessionWant{Address: torA, Cause: vip.CauseNotWanted}},
		"an unnumbered peer whose router is known":       {peer: unnumbered, links: []vip.Link{eth1}, neighbors: known, want: policy.SessionWant{Up: true, Address: fabric}},
		"an unnumbered peer whose router is not known":   {peer: unnumbered, links: []vip.Link{eth1}, neighbors: map[string]vip.Neighbor{"eth1": {Detail: "silence"}}, want: policy.SessionWant{Cause: vip.CauseNoNeighbor, Text: "silence"}},
		"an unnumbered peer whose router is looked for":  {peer: unnumbered, links: []vip.Link{eth1}, want: policy.SessionWant{Cause: vip.CauseNoNeighbor, Text: "looking for a router on eth1"}},
		"an unnumbered peer on a link that is down":      {peer: unnumbered, links: []vip.Link{down(eth1)}, neighbors: known, want: policy.SessionWant{Cause: vip.CauseLinkDown, Text: "link eth1 is down", Address: fabric}},
		"an unnumbered peer on a link that is not there": {peer: unnumbered, links: []vip.Link{eth0}, want: policy.SessionWant{Cause: vip.CauseLinkDown, Text: "this host has no link eth1"}},
		"an unnumbered peer before the links are known":  {peer: unnumbered, want: policy.SessionWant{Cause: vip.CauseNoNeighbor, Text: "the links of this host are not known yet"}},
		"an unnumbered peer while the agent starts":      {starting: true, peer: unnumbered, links: []vip.Link{eth1}, neighbors: known, want: policy.SessionWant{Address: fabric, Cause: vip.CauseNotWanted}},
	} {
		t.Run(name, func(t *testing.T) {
			in := world()
			in.Peers, in.Links, in.Neighbors = []policy.Peer{test.peer}, test.links, test.neighbors
			if test.starting {
				in.Phase, in.Checks = policy.Starting, map[string]policy.Check{"web": verdict(vip.Unknown)}
			}
			test.want.Peer = "p"
			out := policy.Decide(in)
			if diff := cmp.Diff([]policy.SessionWant{test.want}, out.Sessions, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			searched := len(out.Unnumbered) == 1 && out.Unnumbered[0].Name == "eth1"
			there := test.peer.Interface != "" && len(test.links) == 1 && test.links[0].Name == "eth1"
			if searched != there {
				t.Errorf("links whose router is to be found: %v", out.Unnumbered)
			}
		})
	}
}

// What is shown, and what a service gives as its reason, is what is decided now,
// beside what the speaker saw last: neither is ever late.
func TestASessionIsShownAsItIsNow(t *testing.T) {
	seen := func(state vip.SessionState, cause vip.SessionCause, detail string) vip.Session {
		return vip.Session{Peer: "tor-a", State: state, Since: epoch, Flaps: 3, Cause: cause, Detail: detail, Families: []vip.Family{vip.IPv4}}
	}
	for name, test := range map[string]struct {
		linkDown bool
		seen     vip.Session
		cause    vip.SessionCause
		detail   string
		reason   string // of the service
	}{
		"kept down, and down":                 {true, seen(vip.Idle, vip.CauseNone, ""), vip.CauseLinkDown, "link eth0 is down", "session_down tor-a: link eth0 is down"},
		"kept down, whatever was seen before": {true, seen(vip.Active, vip.CauseRefused, "nobody listens"), vip.CauseLinkDown, "link eth0 is down", "session_down tor-a: link eth0 is down"},
		"to be closed, but still up":          {true, seen(vip.Established, vip.CauseNone, ""), vip.CauseNone, "", "not_sent tor-a"},
		"wanted, and not tried yet":           {false, seen(vip.Idle, vip.CauseNone, ""), vip.CauseNone, "", "session_down tor-a: the session is in state Idle"},
		"wanted, but in vain":                 {false, seen(vip.Active, vip.CauseRefused, "nobody listens"), vip.CauseRefused, "nobody listens", "session_down tor-a: nobody listens"},
		"wanted, before the speaker is heard": {false, vip.Session{}, vip.CauseNone, "", "session_down tor-a: the session is in state Idle"},
	} {
		t.Run(name, func(t *testing.T) {
			in := world()
			in.Peers[0].Address = netip.MustParseAddr("10.0.1.1")
			in.Links[0].Up = !test.linkDown
			in.Sessions = map[string]vip.Session{"tor-a": test.seen}
			out := policy.Decide(in)
			want := test.seen
			want.Peer, want.Cause, want.Detail = "tor-a", test.cause, test.detail
			if diff := cmp.Diff(map[string]vip.Session{"tor-a": want}, out.Shown, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if r := out.Decisions[0].Addresses[0].Reasons; len(r) != 1 || r[0].String() != test.reason {
				t.Errorf("reasons %v, want %s", r, test.reason)
			}
		})
	}
}

func TestALinkIsInUseWhileItsSessionIsUp(t *testing.T) {
	for _, state := range []vip.SessionState{vip.Idle, vip.OpenConfirm, vip.Established} {
		in := world()
		in.Peers = []policy.Peer{{Name: "p", Interface: "eth0"}}
		in.Sessions = map[string]vip.Session{"p": {State: state}}
		if got := policy.Decide(in).Unnumbered[0].InUse; got != (state == vip.Established) {
			t.Errorf("%s: in use %v", state, got)
		}
	}
}

// A warning is about a session that is wanted: what keeps one from that is its
// cause.
func TestWhatIsOddAboutASessionIsItsWarning(t *testing.T) {
	fabric := netip.MustParseAddr("fe80::a%eth1")
	for name, test := range map[string]struct {
		neighbor vip.Neighbor
		state    vip.SessionState
		speaker  string
		linkDown bool
		want     string
	}{
		"nothing":                               {vip.Neighbor{Address: fabric}, vip.Established, "", false, ""},
		"the link":                              {vip.Neighbor{Address: fabric, Detail: "two routers"}, vip.Established, "", false, "two routers"},
		"the link, while the session is down":   {vip.Neighbor{Address: fabric, Detail: "two routers"}, vip.Active, "", false, "two routers"},
		"the session":                           {vip.Neighbor{Address: fabric}, vip.Established, "no default route", false, "no default route"},
		"both":                                  {vip.Neighbor{Address: fabric, Detail: "two routers"}, vip.Established, "no default route", false, "no default route; two routers"},
		"no neighbour, which is a cause":        {vip.Neighbor{Detail: "silence"}, vip.Idle, "", false, ""},
		"a link that is down, which is a cause": {vip.Neighbor{Address: fabric, Detail: "two routers"}, vip.Idle, "", true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			in := world()
			in.Peers = []policy.Peer{{Name: "p", Interface: "eth1"}}
			in.Links = []vip.Link{{Name: "eth1", Index: 3, Up: !test.linkDown}}
			in.Neighbors = map[string]vip.Neighbor{"eth1": test.neighbor}
			in.Sessions = map[string]vip.Session{"p": {State: test.state, Warning: test.speaker}}
			if got := policy.Decide(in).Shown["p"].Warning; got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

func TestASessionIsKeptUpWhileTheAgentStillWithdraws(t *testing.T) {
	in := world()
	in.Peers[0].Address = netip.MustParseAddr("10.0.1.1")
	in.Prev = policy.Decide(in).Memory
	in.Phase = policy.Stopping
	if w := policy.Decide(in).Sessions[0]; !w.Up {
		t.Errorf("%+v", w)
	}
	in.Links[0].Up = false
	if w := policy.Decide(in).Sessions[0]; w.Cause != vip.CauseLinkDown {
		t.Errorf("%+v", w)
	}
}

func TestDefaultRoutesAreThoseOfAllEstablishedPeers(t *testing.T) {
	a, b, six := netip.MustParseAddr("10.0.1.1"), netip.MustParseAddr("10.0.2.1"), netip.MustParseAddr("fe80::1%eth1")
	gives := func(state vip.SessionState, defaults ...vip.Default) vip.Session {
		return vip.Session{State: state, Families: []vip.Family{vip.IPv4, vip.IPv6}, Defaults: defaults}
	}
	v4 := func(hop netip.Addr) vip.Default { return vip.Default{Family: vip.IPv4, NextHop: hop} }
	v6 := vip.Default{Family: vip.IPv6, NextHop: six}
	in := world()
	in.ImportDefault = true
	in.Peers = []policy.Peer{{Name: "tor-a"}, {Name: "tor-b"}}
	decide := func(at time.Duration, sessions map[string]vip.Session) []vip.DefaultRoute {
		in.Now, in.Sessions = after(at), sessions
		out := policy.Decide(in)
		in.Prev = out.Memory
		return out.Defaults
	}
	expect := func(what string, got []vip.DefaultRoute, want ...vip.DefaultRoute) {
		t.Helper()
		if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	route := func(f vip.Family, hops ...netip.Addr) vip.DefaultRoute {
		return vip.DefaultRoute{Family: f, NextHops: hops}
	}
	none := map[string]vip.Session{}
	expect("no peer is up", decide(0, none))
	expect("one peer gives one", decide(0, map[string]vip.Session{"tor-b": gives(vip.Established, v4(b))}), route(vip.IPv4, b))
	expect("one route over both peers, and one for each family",
		decide(time.Second, map[string]vip.Session{"tor-b": gives(vip.Established, v4(b), v6), "tor-a": gives(vip.Established, v4(a), v6)}),
		route(vip.IPv4, a, b), route(vip.IPv6, six))
	expect("a session that ends takes its part away",
		decide(2*time.Second, map[string]vip.Session{"tor-b": gives(vip.Idle), "tor-a": gives(vip.Established, v4(a))}), route(vip.IPv4, a))
	expect("and the last one all", decide(3*time.Second, none))
	in.ImportDefault = false
	expect("nothing is imported unasked", decide(4*time.Second, map[string]vip.Session{"tor-a": gives(vip.Established, v4(a))}))
}

func TestADefaultRouteOfAnEarlierRunStaysUntilAPeerGivesOne(t *testing.T) {
	in := world()
	in.ImportDefault = true
	give := func(in *policy.Input) {
		s := in.Sessions["tor-a"]
		s.Defaults = []vip.Default{{Family: vip.IPv6, NextHop: netip.MustParseAddr("2001:db8:1::1")}}
		in.Sessions = map[string]vip.Session{"tor-a": s}
	}
	adopts := func(times []time.Duration, given time.Duration) []vip.Family {
		return run(in, times, func(t time.Duration, in *policy.Input) {
			if t == given {
				give(in)
			}
		}).AdoptDefaults
	}
	for what, test := range map[string]struct{ got, want []vip.Family }{
		"nothing is given yet":              {adopts([]time.Duration{0, 29 * time.Second}, -1), []vip.Family{vip.IPv4, vip.IPv6}},
		"nothing was given for long enough": {adopts([]time.Duration{0, 30 * time.Second}, -1), nil},
		"one family was given":              {adopts([]time.Duration{0, time.Second, 2 * time.Second}, time.Second), []vip.Family{vip.IPv4}},
	} {
		if diff := cmp.Diff(test.want, test.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	in.ImportDefault = false
	if got := adopts([]time.Duration{0}, -1); got != nil {
		t.Errorf("unasked: %v", got)
	}
}

// Before the first round of checks is over no session may open, however long that takes.
func TestADefaultRouteOfAnEarlierRunStaysWhileChecksAreStillUnknown(t *testing.T) {
	in := world()
	in.ImportDefault, in.Phase, in.Sessions = true, policy.Starting, nil
	unknown := verdict(vip.Unknown)
	unknown.PendingUntil = after(time.Hour)
	in.Checks = map[string]policy.Check{"web": unknown}
	const over = 40 * time.Second
	for at, want := range map[time.Duration]int{39 * time.Second: 2, over: 2, over + 29*time.Second: 2, over + 30*time.Second: 0} {
		times := []time.Duration{0, 39 * time.Second}
		if at >= over {
			times = append(times, over, at)
		}
		got := run(in, times, func(t time.Duration, in *policy.Input) {
			if t == over {
				in.Checks = map[string]policy.Check{"web": verdict(vip.Fail)}
			}
		})
		if len(got.AdoptDefaults) != want {
			t.Errorf("after %s, in phase %v: %v", at, got.Phase, got.AdoptDefaults)
		}
	}
}

func TestAStopWaitsForDefaultRoutesToBeRemoved(t *testing.T) {
	in := world()
	in.ImportDefault, in.Sessions, in.Addresses = true, nil, nil
	in.Phase, in.Prev.Stop = policy.Stopping, policy.StopMemory{Step: policy.StopRemove, Since: epoch}
	in.Defaults = []vip.DefaultRoute{{Family: vip.IPv4, NextHops: []netip.Addr{netip.MustParseAddr("10.0.1.1")}}}
	if out := policy.Decide(in); out.Phase != policy.Stopping || len(out.Defaults) != 0 {
		t.Errorf("phase %v, defaults %v", out.Phase, out.Defaults)
	}
	in.Defaults = nil
	if out := policy.Decide(in); out.Phase != policy.Stopped {
		t.Errorf("phase %v", out.Phase)
	}
}
