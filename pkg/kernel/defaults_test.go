package kernel

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/anyvip/anyvip/pkg/vip"
)

// fakeTable is a routing table in which every next hop is on lo, link 1.
type fakeTable struct {
	mu      sync.Mutex
	on      []route
	far     map[netip.Addr]bool  // no link leads there
	refused map[netip.Addr]bool  // the kernel takes no route by way of it
	fail    error                // of change, instead of doing
	blind   error                // of routes
	blindTo map[vip.Family]error // the same, of one family
	thief   bool                 // somebody removes at once what is added
	hearing bool
	looks   int
	did     []string
	at      []time.Time // of did
}

func newFakeTable(on ...route) *fakeTable {
	return &fakeTable{on: on, far: make(map[netip.Addr]bool), refused: make(map[netip.Addr]bool)}
}

func (k *fakeTable) routes(f vip.Family) (out []route, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.looks++
	for _, r := range k.on {
		if r.family == f {
			out = append(out, r)
		}
	}
	return out, cmp.Or(k.blind, k.blindTo[f])
}

func (k *fakeTable) linkTo(a netip.Addr) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.far[a] {
		return 0, errNotOnLink
	}
	return 1, nil
}

func (k *fakeTable) hear(on bool) error { k.set(func() { k.hearing = on }); return nil }

// change is for IPv4, where a route is one with all of its next hops.
func (k *fakeTable) change(v routeVerb, r route) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.did, k.at = append(k.did, fmt.Sprintf("%s %s", v, r.short())), append(k.at, time.Now())
	if k.fail != nil {
		return k.fail
	}
	same := func(o route) bool { return o.equal(r) }
	if v == removeRoute {
		if !slices.ContainsFunc(k.on, same) {
			return unix.ESRCH
		}
		k.on = slices.DeleteFunc(k.on, same)
		return nil
	}
	if slices.ContainsFunc(r.hops, func(h hop) bool { return k.refused[h.via] }) {
		return unix.ENETUNREACH
	}
	if v == addRoute && len(k.on) > 0 || slices.ContainsFunc(k.on, same) {
		return unix.EEXIST
	}
	if !k.thief {
		k.on = append(k.on, r)
	}
	return nil
}

func (r route) short() string {
	var hops []string
	for _, h := range r.hops {
		hops = append(hops, h.via.String())
	}
	return strings.Join(hops, " ")
}

func (k *fakeTable) set(change func()) { k.mu.Lock(); defer k.mu.Unlock(); change() }

func (k *fakeTable) done() []string { k.mu.Lock(); defer k.mu.Unlock(); return slices.Clone(k.did) }

// shown is what the table holds, a route a string.
func (k *fakeTable) shown() (out []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, r := range k.on {
		out = append(out, r.short())
	}
	return out
}

func fourBy(hops ...string) route {
	r := route{family: vip.IPv4, metric: routeMetric}
	for _, h := range hops {
		r.hops = append(r.hops, hop{netip.MustParseAddr(h), 1})
	}
	return r
}

// byWayOf is a desired set with one default route for each family that has a
// next hop.
func byWayOf(hops ...string) (d Desired) {
	for _, h := range hops {
		a := netip.MustParseAddr(h)
		f := vip.FamilyOf(a.Unmap())
		if i := slices.IndexFunc(d.Defaults, func(r vip.DefaultRoute) bool { return r.Family == f }); i >= 0 {
			d.Defaults[i].NextHops = append(d.Defaults[i].NextHops, a)
		} else {
			d.Defaults = append(d.Defaults, vip.DefaultRoute{Family: f, NextHops: []netip.Addr{a}})
		}
	}
	return d
}

// defaultRoute is what was reported last of a family.
func (a *agent) defaultRoute(f vip.Family) vip.DefaultRoute {
	for _, r := range a.latest().Defaults {
		if r.Family == f {
			return r
		}
	}
	return vip.DefaultRoute{}
}

// waited is the same, once the bubble is at rest.
func (a *agent) waited(f vip.Family) vip.DefaultRoute { synctest.Wait(); return a.defaultRoute(f) }

func hopsOf(r vip.DefaultRoute) string {
	var hops []string
	for _, a := range r.NextHops {
		hops = append(hops, a.String())
	}
	return strings.Join(hops, " ")
}

func TestADefaultRouteThatWasLeftBehindWaitsForTheFirstDesiredSet(t *testing.T) {
	table := newFakeTable(fourBy("10.0.0.1", "10.0.1.1"))
	bubbleOver(t, newFakeHost(), table, func(t *testing.T, a *agent) {
		time.Sleep(time.Hour)
		if did := table.done(); len(did) != 0 {
			t.Errorf("did %v", did)
		}
		synctest.Wait()
		first := a.all()[0]
		if len(first.Defaults) != 1 || hopsOf(first.Defaults[0]) != "10.0.0.1 10.0.1.1" || first.Defaults[0].Detail != "" || len(first.Links) != 1 {
			t.Errorf("the first report lacks it: %+v", first)
		}
		a.engine.Apply(Desired{})
		if f := a.waited(vip.IPv4); f.Family != vip.FamilyNone {
			t.Errorf("still reported: %+v", f)
		}
		if did := table.done(); !slices.Equal(did, []string{"remove 10.0.0.1 10.0.1.1"}) {
			t.Errorf("did %v", did)
		}
	})
}

func TestADefaultRouteIsAdoptedChangedAndRemoved(t *testing.T) {
	table := newFakeTable(fourBy("10.0.0.1"))
	bubbleOver(t, newFakeHost(), table, func(t *testing.T, a *agent) {
		a.engine.Apply(byWayOf("10.0.0.1"))
		if f := a.waited(vip.IPv4); hopsOf(f) != "10.0.0.1" || f.Detail != "" || len(table.done()) != 0 {
			t.Errorf("adopted as %+v by %v", f, table.done())
		}
		reports := len(a.all())
		for range 5 {
			a.engine.Apply(byWayOf("::ffff:10.0.0.1")) // IPv4 in disguise
			time.Sleep(lookEvery)
		}
		if synctest.Wait(); len(a.all()) != reports {
			t.Error("reported what is not new")
		}
		a.engine.Apply(byWayOf("10.0.0.1", "10.0.1.1"))
		if f := a.waited(vip.IPv4); hopsOf(f) != "10.0.0.1 10.0.1.1" {
			t.Errorf("changed to %+v", f)
		}
		a.engine.Apply(Desired{Addresses: []netip.Addr{v4}, Defaults: []vip.DefaultRoute{{Family: vip.IPv4}}})
		if f := a.waited(vip.IPv4); f.Family != vip.FamilyNone || len(table.shown()) != 0 {
			t.Errorf("left behind: %+v, %v", f, table.shown())
		}
		want := []string{"append 10.0.0.1 10.0.1.1", "remove 10.0.0.1", "remove 10.0.0.1 10.0.1.1"}
		if did := table.done(); !slices.Equal(did, want) {
			t.Errorf("did %v, want %v", did, want)
		}
	})
}

func TestALeftoverStaysWhileItIsToBeAdopted(t *testing.T) {
	table := newFakeTable(fourBy("10.0.0.1"))
	bubbleOver(t, newFakeHost(), table, func(t *testing.T, a *agent) {
		adopting := Desired{AdoptDefaults: []vip.Family{vip.IPv4, vip.IPv6}}
		a.engine.Apply(adopting)
		time.Sleep(time.Minute)
		if f := a.waited(vip.IPv4); hopsOf(f) != "10.0.0.1" || f.Detail != "" || len(table.done()) != 0 {
			t.Errorf("%+v by %v", f, table.done())
		}
		adopting.Defaults = byWayOf("10.0.0.1", "10.0.1.1").Defaults // one is wanted before the waiting is over
		a.engine.Apply(adopting)
		if f := a.waited(vip.IPv4); hopsOf(f) != "10.0.0.1 10.0.1.1" {
			t.Errorf("%+v", f)
		}
		a.engine.Apply(Desired{AdoptDefaults: []vip.Family{vip.IPv6}}) // over for IPv4
		if f := a.waited(vip.IPv4); f.Family != vip.FamilyNone || len(table.shown()) != 0 {
			t.Errorf("%+v, %v", f, table.shown())
		}
	})
}

func TestNotificationsOfRoutesAreHeardOnlyWhileTheyMatter(t *testing.T) {
	table := newFakeTable()
	bubbleOver(t, newFakeHost(), table, func(t *testing.T, a *agent) {
		hearing := func(want bool, when string) {
			t.Helper()
			if synctest.Wait(); table.hearing != want {
				t.Errorf("%s: hearing is %v", when, table.hearing)
			}
		}
		hearing(false, "nothing known")
		time.Sleep(time.Hour)
		a.engine.Apply(Desired{Addresses: []netip.Addr{v4}})
		time.Sleep(time.Hour)
		if synctest.Wait(); table.looks != 2 { // one of each family
			t.Errorf("looked %d times for routes that nobody wants", table.looks)
		}
		a.engine.Apply(byWayOf("10.0.0.1"))
		hearing(true, "wanted")
		table.set(func() { table.fail = errors.New("no buffer space") })
		a.engine.Apply(Desired{})
		hearing(true, "not wanted and still there")
		table.set(func() { table.fail = nil })
		time.Sleep(lastRetry)
		hearing(false, "gone")
	})
}

func TestARouteThatNeverWasIsForgottenOnceItIsNotWanted(t *testing.T) {
	table := newFakeTable()
	table.refused[netip.MustParseAddr("10.0.0.1")] = true
	bubbleOver(t, newFakeHost(), table, func(t *testing.T, a *agent) {
		a.engine.Apply(byWayOf("10.0.0.1"))
		if f := a.waited(vip.IPv4); f.Detail == "" || len(f.NextHops) != 0 {
			t.Errorf("%+v", f)
		}
		a.engine.Apply(Desired{})
		if f := a.waited(vip.IPv4); f.Family != vip.FamilyNone || table.hearing {
			t.Errorf("%+v, hearing %v", f, table.hearing)
		}
	})
}

func TestARefusedNextHopKeepsNoOtherOut(t *testing.T) {
	table := newFakeTable()
	table.refused[netip.MustParseAddr("10.0.1.1")] = true
	table.far[netip.MustParseAddr("10.0.3.1")] = true
	bubbleOver(t, newFakeHost(), table, func(t *testing.T, a *agent) {
		a.engine.Apply(byWayOf("10.0.0.1", "10.0.1.1", "10.0.2.1", "10.0.3.1"))
		const detail = "next hop 10.0.1.1 is left out: network is unreachable; next hop 10.0.3.1 is left out: no link of this host leads to it directly"
		if f := a.waited(vip.IPv4); hopsOf(f) != "10.0.0.1 10.0.2.1" || f.Detail != detail {
			t.Errorf("%+v", f)
		}
		// Tried again and again, without a touch to what works.
		reports := len(a.all())
		table.set(func() { table.did, table.at = nil, nil })
		time.Sleep(time.Minute)
		for _, did := range table.done() {
			if !strings.Contains(did, "10.0.1.1") && !strings.HasPrefix(did, "add ") {
				t.Errorf("did %q", did)
			}
		}
		if n := len(table.done()); n < 60 || len(a.all()) != reports {
			t.Errorf("%d tries and %d reports in a minute", n, len(a.all())-reports)
		}
		if n := strings.Count(a.log.String(), "not as wanted"); n != 1 {
			t.Errorf("logged %d times", n)
		}
		table.set(func() { clear(table.refused); clear(table.far) })
		time.Sleep(lastRetry)
		if f := a.waited(vip.IPv4); hopsOf(f) != "10.0.0.1 10.0.1.1 10.0.2.1 10.0.3.1" || f.Detail != "" {
			t.Errorf("once it works: %+v", f)
		}
	})
}

func TestAHintMakesAWaitingNextHopTriedAtOnce(t *testing.T) {
	table, h := newFakeTable(), newFakeHost()
	far := netip.MustParseAddr("10.0.0.1")
	table.far[far] = true
	bubbleOver(t, h, table, func(t *testing.T, a *agent) {
		a.engine.Apply(byWayOf("10.0.0.1"))
		time.Sleep(10*time.Second + lastRetry/2) // between two tries
		h.hints <- hintLinks                     // a notification comes before its route is in the table
		time.Sleep(firstRetry / 2)
		table.set(func() { clear(table.far) })
		time.Sleep(2 * firstRetry)
		if f := a.waited(vip.IPv4); hopsOf(f) != "10.0.0.1" {
			t.Errorf("20 ms later: %+v", f)
		}
	})
}

func TestSomebodyElsesRouteWithOurMetricIsLeftAlone(t *testing.T) {
	table := newFakeTable()
	bubbleOver(t, newFakeHost(), table, func(t *testing.T, a *agent) {
		table.set(func() { table.fail = unix.EEXIST })
		a.engine.Apply(byWayOf("10.0.0.1"))
		const detail = "somebody else's default route has metric 20 as well and is left alone; give that another metric, or remove it"
		if f := a.waited(vip.IPv4); hopsOf(f) != "" || f.Detail != detail {
			t.Errorf("%+v", f)
		}
		table.set(func() { table.fail = nil })
		time.Sleep(lastRetry)
		if f := a.waited(vip.IPv4); hopsOf(f) != "10.0.0.1" || f.Detail != "" {
			t.Errorf("once it is gone: %+v", f)
		}
	})
}

func TestAStuckAgentChangesNoDefaultRoute(t *testing.T) {
	table := newFakeTable(fourBy("10.0.0.1"))
	bubbleOver(t, newFakeHost(), table, func(t *testing.T, a *agent) {
		setDead := func(dead bool) { a.mu.Lock(); defer a.mu.Unlock(); a.dead = dead }
		setDead(true)
		a.engine.Apply(byWayOf("10.0.1.1"))
		time.Sleep(time.Minute)
		if f := a.waited(vip.IPv4); hopsOf(f) != "10.0.0.1" || !strings.Contains(f.Detail, "stuck") || len(table.done()) != 0 {
			t.Errorf("%+v by %v", f, table.done())
		}
		setDead(false)
		time.Sleep(lastRetry)
		if f := a.waited(vip.IPv4); hopsOf(f) != "10.0.1.1" || f.Detail != "" {
			t.Errorf("a second after it lives again: %+v", f)
		}
		setDead(true)
		a.engine.Apply(Desired{}) // to take away is always safe
		if f := a.waited(vip.IPv4); f.Family != vip.FamilyNone {
			t.Errorf("still reported: %+v", f)
		}
	})
}

func TestAFailedChangeOfTheRouteIsRetriedWithBackoff(t *testing.T) {
	table := newFakeTable()
	bubbleOver(t, newFakeHost(), table, func(t *testing.T, a *agent) {
		table.set(func() { table.fail = unix.EPERM })
		a.engine.Apply(byWayOf("10.0.0.1"))
		time.Sleep(10 * time.Second)
		if f := a.waited(vip.IPv4); f.Detail != "add default route by way of [10.0.0.1]: operation not permitted; "+howToPermit {
			t.Errorf("%+v", f)
		}
		var gaps []time.Duration
		for i := range 8 {
			gaps = append(gaps, table.at[i+1].Sub(table.at[i]))
		}
		want := []time.Duration{10, 20, 40, 80, 160, 320, 640, 1000}
		for i := range want {
			want[i] *= time.Millisecond
		}
		if !slices.Equal(gaps, want) {
			t.Errorf("tries were apart by %v, want %v", gaps, want)
		}
	})
}

func TestALookForRoutesThatFailsChangesNothing(t *testing.T) {
	table := newFakeTable(fourBy("10.0.0.1"))
	bubbleOver(t, newFakeHost(), table, func(t *testing.T, a *agent) {
		a.engine.Apply(byWayOf("10.0.0.1"))
		a.waited(vip.IPv4)
		table.set(func() { table.blind = errors.New("no descriptors") })
		time.Sleep(10 * lookEvery)
		if f := a.waited(vip.IPv4); hopsOf(f) != "10.0.0.1" || f.Detail != staleDetail(table.blind) || len(table.done()) != 0 {
			t.Errorf("%+v by %v", f, table.done())
		}
		if n := strings.Count(a.log.String(), "default routes cannot be kept"); n != 1 {
			t.Errorf("logged %d times", n)
		}
		table.set(func() { table.blind = nil })
		time.Sleep(lastRetry)
		if synctest.Wait(); !a.log.has("default routes are kept again") {
			t.Error("not logged that it is over")
		}
		if f := a.waited(vip.IPv4); hopsOf(f) != "10.0.0.1" || f.Detail != "" {
			t.Errorf("once it is over: %+v", f)
		}
	})
}

func TestARouteHintLooksAtNoAddress(t *testing.T) {
	table, h := newFakeTable(), newFakeHost()
	bubbleOver(t, h, table, func(t *testing.T, a *agent) {
		a.engine.Apply(byWayOf("10.0.0.1"))
		a.waited(vip.IPv4)
		looks := h.looked()
		table.set(func() { table.on = nil })
		h.hints <- hintRoutes
		if synctest.Wait(); len(table.shown()) != 1 || h.looked() != looks {
			t.Errorf("table %v after %d looks at addresses", table.shown(), h.looked()-looks)
		}
		if !a.log.has("default route was changed") {
			t.Errorf("log: %s", a.log)
		}
	})
}

// A pass for routes alone must not put off what addresses wait for.
func TestARouteHintLeavesTheRetryOfAnAddressInPlace(t *testing.T) {
	table, h := newFakeTable(), newFakeHost()
	bubbleOver(t, h, table, func(t *testing.T, a *agent) {
		h.set(func() { h.fail = errors.New("no buffer space") })
		d := byWayOf("10.0.0.1")
		d.Addresses = []netip.Addr{v4}
		a.engine.Apply(d)
		a.fact(v4)
		h.set(func() { h.fail = nil })
		h.hints <- hintRoutes
		time.Sleep(lastRetry)
		if f := a.fact(v4); f.State != vip.AddressPresent {
			t.Errorf("%+v", f)
		}
	})
}

func TestARouteThatSomebodyKeepsRemovingIsTriedForever(t *testing.T) {
	table := newFakeTable()
	table.thief = true
	bubbleOver(t, newFakeHost(), table, func(t *testing.T, a *agent) {
		a.engine.Apply(byWayOf("10.0.0.1"))
		time.Sleep(time.Minute)
		if f := a.waited(vip.IPv4); hopsOf(f) != "" || !strings.Contains(f.Detail, "ip monitor route") {
			t.Errorf("%+v", f)
		}
		table.set(func() { table.thief = false })
		time.Sleep(lastRetry)
		if f := a.waited(vip.IPv4); hopsOf(f) != "10.0.0.1" || f.Detail != "" {
			t.Errorf("once that ended: %+v", f)
		}
	})
}

// While links are unknown no next hop is good, and what is there would go.
func TestNoRouteIsTouchedBeforeTheFirstLookAtLinks(t *testing.T) {
	table, h := newFakeTable(fourBy("10.0.0.1")), newFakeHost()
	h.blind = errors.New("no descriptors")
	bubbleOver(t, h, table, func(t *testing.T, a *agent) {
		a.engine.Apply(byWayOf("10.0.0.1"))
		time.Sleep(time.Minute)
		if synctest.Wait(); len(table.done()) != 0 || len(a.all()) != 0 {
			t.Errorf("did %v, reported %+v", table.done(), a.all())
		}
		h.set(func() { h.blind = nil })
		time.Sleep(lastRetry)
		if f := a.waited(vip.IPv4); hopsOf(f) != "10.0.0.1" || f.Detail != "" {
			t.Errorf("%+v", f)
		}
	})
}

func TestALinkLocalNextHopWithoutItsLinkIsLeftOut(t *testing.T) {
	bubbleOver(t, newFakeHost(), newFakeTable(), func(t *testing.T, a *agent) {
		a.engine.Apply(byWayOf("fe80::1"))
		if f := a.waited(vip.IPv6); f.Detail != "next hop fe80::1 is left out: "+errNoZone.Error() {
			t.Errorf("%+v", f)
		}
	})
}

func TestALinkThatIsDownIsFoundByItsSubnet(t *testing.T) {
	s := parseScene(t, "lo\neth0 10.0.0.2/24\neth1 !enabled 10.0.0.3/24\neth2 !enabled 10.0.2.3/24")
	for address, want := range map[string]string{"10.0.0.1": "eth1", "10.0.2.1": "eth2", "10.0.3.1": ""} {
		if l, ok := s.downWith(netip.MustParseAddr(address)); l.name != want || ok != (want != "") {
			t.Errorf("%s is on %q, want %q", address, l.name, want)
		}
	}
}

// What a VIP waits for, a disk above all, must not hold up the default routes.
func TestDefaultRoutesDoNotWaitForAddresses(t *testing.T) {
	table, h := newFakeTable(), newFakeHost()
	bubbleOver(t, h, table, func(t *testing.T, a *agent) {
		time.Sleep(time.Hour)
		h.before = func(verb, netip.Addr) { time.Sleep(time.Minute) }
		d := byWayOf("10.0.0.1")
		d.Addresses = []netip.Addr{v4}
		a.engine.Apply(d)
		time.Sleep(10 * time.Second)
		if synctest.Wait(); !slices.Equal(table.shown(), []string{"10.0.0.1"}) {
			t.Errorf("while an address hangs the table holds %v", table.shown())
		}
		if f := a.fact(v4); f.State == vip.AddressPresent {
			t.Errorf("the address did not hang, so this shows nothing: %+v", f)
		}
		time.Sleep(time.Minute)
		if f := a.fact(v4); f.State != vip.AddressPresent {
			t.Errorf("fact: %+v", f)
		}
	})
}

func TestAFamilyThatCannotBeLookedAtIsNoMatterOfTheOther(t *testing.T) {
	table := newFakeTable()
	table.blindTo = map[vip.Family]error{vip.IPv4: errors.New("no descriptors")}
	bubbleOver(t, newFakeHost(), table, func(t *testing.T, a *agent) {
		a.engine.Apply(Desired{Defaults: []vip.DefaultRoute{
			{Family: vip.IPv4, NextHops: []netip.Addr{netip.MustParseAddr("10.0.0.1")}},
			{Family: vip.IPv6, NextHops: []netip.Addr{netip.MustParseAddr("2001:db8::1")}}}})
		if f := a.waited(vip.IPv6); hopsOf(f) != "2001:db8::1" || f.Detail != "" {
			t.Errorf("IPv6: %+v", f)
		}
		if f := a.waited(vip.IPv4); hopsOf(f) != "" || !strings.Contains(f.Detail, "no descriptors") {
			t.Errorf("IPv4: %+v", f)
		}
	})
}
