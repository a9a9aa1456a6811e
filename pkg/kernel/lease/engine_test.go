package lease

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/anyvip/anyvip/pkg/vip"
)

func TestHeldAddressesNeverExpire(t *testing.T) {
	for _, interval := range []time.Duration{10 * time.Millisecond, 300 * time.Millisecond, time.Second, 3 * time.Second} {
		t.Run(interval.String(), func(t *testing.T) {
			h := newFakeHost()
			bubble(t, h, nil, func(t *testing.T, a *agent) {
				four, six := held(v4), held(v6)
				four.Interval, six.Interval = interval, interval
				a.apply(four, six)
				time.Sleep(time.Minute)
				list := h.done()
				for i, x := range list {
					if i < 2 != (x.verb == add) || x.verb == remove {
						t.Fatalf("act %d: %s", i, x)
					}
					if x.verb == renew && x.left < keep(interval) {
						t.Errorf("renewed with %s left of %d s", x.left, lifetime(interval))
					}
				}
				period := time.Duration(lifetime(interval))*time.Second - keep(interval)
				if n, most := len(list)-2, 2*int(time.Minute/period); n > most {
					t.Errorf("%d renewals, %d are enough", n, most)
				}
				if n := h.looked(); n > 14 {
					t.Errorf("%d looks in a minute", n)
				}
				if n := a.count(); n != 2 && n != 1 { // being written down, and present
					t.Errorf("%d reports", n)
				}
			})
		})
	}
}

func TestAnAddressThatGoesIsRenewedAtTheLast(t *testing.T) {
	h := newFakeHost()
	bubble(t, h, nil, func(t *testing.T, a *agent) {
		l := held(v6)
		l.Interval = time.Second
		a.apply(l)
		h.done()
		l.Going = true
		a.apply(l)
		time.Sleep(time.Duration(lifetime(l.Interval))*time.Second - lateRenewal - 50*time.Millisecond)
		if did := h.said(); len(did) != 0 {
			t.Errorf("did %v", did)
		}
		time.Sleep(time.Minute)
		for _, x := range h.done() {
			if x.verb != renew || x.left > lateRenewal || x.left <= 0 {
				t.Errorf("%s with %s left", x, x.left)
			}
		}
		l.Going = false
		h.done()
		a.apply(l)
		time.Sleep(10 * time.Second)
		for i, x := range h.done() {
			if i > 0 && x.left < keep(l.Interval) {
				t.Errorf("%s with %s left", x, x.left)
			}
		}
	})
}

func TestOneRenewalServesAllThatIsDueSoon(t *testing.T) {
	h := newFakeHost()
	bubble(t, h, nil, func(t *testing.T, a *agent) {
		a.apply(held(v4), candidate(v6))
		time.Sleep(100 * time.Millisecond)
		a.apply(held(v4), held(v6))
		time.Sleep(time.Minute)
		times := map[time.Time]int{}
		for _, x := range h.done()[2:] {
			times[x.at]++
		}
		for at, n := range times {
			if n != 2 {
				t.Errorf("at %s %d were renewed", at, n)
			}
		}
	})
}

func TestALeaseThatIsNotHeldIsRemovedAtOnce(t *testing.T) {
	h := newFakeHost()
	bubble(t, h, nil, func(t *testing.T, a *agent) {
		a.apply(held(v4), held(v6))
		if f := a.fact(v4); f.State != vip.AddressPresent || !f.Ours || f.Link != "eth1" || f.Detail != "" {
			t.Errorf("fact: %+v", f)
		}
		h.done()
		a.apply(candidate(v4)) // and v6 not at all
		if did := h.said(); !slices.Equal(did, []string{"remove 192.0.2.10 on 5", "remove 2001:db8:10::10 on 5"}) {
			t.Errorf("did %v", did)
		}
		if f := a.fact(v4); f.State != vip.AddressAbsent || f.Ours || f.Detail != "" {
			t.Errorf("candidate: %+v", f)
		}
		if _, there := a.latest().Addresses[v6]; there {
			t.Error("an address of no lease is reported")
		}
		if w := a.written(); !slices.Equal(w, []string{v4.String()}) {
			t.Errorf("file: %v", w)
		}
	})
}

func TestTheLatestSetWinsAndApplyNeverBlocks(t *testing.T) {
	h := newFakeHost()
	bubble(t, h, nil, func(t *testing.T, a *agent) {
		a.apply(held(v4))
		h.done()
		for range 1000 { // a handover that is taken back
			a.engine.Apply([]Lease{candidate(v4)})
			a.engine.Apply([]Lease{held(netip.MustParseAddr("::ffff:192.0.2.10"))}) // IPv4 in disguise
		}
		for _, x := range h.done() {
			if x.verb == remove && !h.has(v4) {
				t.Errorf("did %s", x)
			}
		}
		if f := a.fact(v4); f.State != vip.AddressPresent || !h.has(v4) {
			t.Errorf("fact: %+v", f)
		}
		n := a.count()
		looks := h.looked()
		for range 100 {
			a.apply(held(v4))
		}
		if a.count() != n || h.looked() != looks {
			t.Error("the same set made work")
		}
	})
	e := New(Options{StateDir: t.TempDir(), Log: newAgent(t, "").engine.options.Log}) // before Run too
	e.Apply([]Lease{held(v4)})
	e.Apply([]Lease{candidate(v4)})
	if w := <-e.desired; len(w) != 1 || w[0].Held {
		t.Error("the first set won")
	}
}

func TestATakeoverOfManyIsOnePass(t *testing.T) {
	h := newFakeHost()
	bubble(t, h, nil, func(t *testing.T, a *agent) {
		var candidates, all []Lease
		for _, ip := range many(1000) {
			candidates, all = append(candidates, candidate(ip)), append(all, held(ip))
		}
		a.apply(candidates...)
		n, looks := a.count(), h.looked()
		a.apply(all...)
		if did := h.done(); len(did) != 1000 || h.looked() != looks {
			t.Errorf("%d acts and %d looks", len(did), h.looked()-looks)
		}
		if a.count() != n+1 {
			t.Errorf("%d reports", a.count()-n)
		}
		if early := slices.Concat(a.early...); len(early) != 1000 || len(a.early) < 10 {
			t.Errorf("%d addresses were told of before the report, in %d parts", len(early), len(a.early))
		}
		if lines := a.log.count("address added"); lines != 1 || !a.log.has("count=1000") {
			t.Errorf("log: %s", a.log)
		}
		time.Sleep(time.Minute)
		for _, x := range h.done() {
			if x.verb != renew || x.left < keep(time.Second)-10*time.Millisecond {
				t.Fatalf("%s with %s left", x, x.left)
			}
		}
	})
}

func TestAnotherIntervalIsAnotherLifetimeAtOnce(t *testing.T) {
	h := newFakeHost()
	bubble(t, h, nil, func(t *testing.T, a *agent) {
		l := held(v4)
		a.apply(l)
		h.done()
		for _, interval := range []time.Duration{10 * time.Second, 100 * time.Millisecond} {
			l.Interval = interval
			a.apply(l)
			if did := h.said(); !slices.Equal(did, []string{"renew 192.0.2.10 on 5"}) {
				t.Errorf("interval %s: did %v", interval, did)
			}
		}
		l.Interval = 110 * time.Millisecond // the same lifetime
		a.apply(l)
		if did := h.said(); len(did) != 0 {
			t.Errorf("did %v", did)
		}
	})
}

func TestALeaseMovesToAnotherLink(t *testing.T) {
	h := newFakeHost()
	bubble(t, h, nil, func(t *testing.T, a *agent) {
		a.apply(held(v4))
		h.done()
		moved := held(v4)
		moved.Link, moved.Index = "eth2", eth2
		a.apply(moved)
		if did := h.said(); !slices.Equal(did, []string{"remove 192.0.2.10 on 5", "add 192.0.2.10 on 6"}) {
			t.Errorf("did %v", did)
		}
		if f := a.fact(v4); f.State != vip.AddressPresent || !f.Ours || f.Link != "eth2" || a.log.has("left alone") {
			t.Errorf("fact: %+v\n%s", f, a.log)
		}
	})
}

func TestALinkLocalAddressIsAnotherOneOnEachLink(t *testing.T) {
	h := newFakeHost()
	bubble(t, h, nil, func(t *testing.T, a *agent) {
		ll := netip.MustParseAddr("fe80::1")
		h.put(ll, 1, 64, 0)
		one := held(ll.WithZone("eth1"))
		two := Lease{Addr: ll.WithZone("eth2"), Link: "eth2", Index: eth2, Interval: time.Second, Held: true}
		a.apply(one, two)
		for _, l := range []Lease{one, two} {
			if f := a.fact(l.Addr); f.State != vip.AddressPresent || !f.Ours || f.Link != l.Link || f.Addr != l.Addr {
				t.Errorf("fact: %+v", f)
			}
		}
		if did := h.said(); !slices.Equal(did, []string{"add fe80::1 on 5", "add fe80::1 on 6"}) {
			t.Errorf("did %v", did)
		}
	})
}

func TestALeaseWithoutALinkWaits(t *testing.T) {
	h := newFakeHost()
	bubble(t, h, nil, func(t *testing.T, a *agent) {
		a.apply(Lease{Addr: v4, Link: "eth9", Interval: time.Second, Held: true})
		if f := a.fact(v4); f.State != vip.AddressAbsent || f.Detail != "this host has no link eth9" {
			t.Errorf("fact: %+v", f)
		}
		if did, w := h.said(), a.written(); len(did) != 0 || len(w) != 0 {
			t.Errorf("did %v, wrote %v", did, w)
		}
	})
}

func TestAStuckAgentNeitherAddsNorRenews(t *testing.T) {
	h := newFakeHost()
	bubble(t, h, nil, func(t *testing.T, a *agent) {
		a.apply(held(v4), candidate(v6))
		a.set(func() { a.dead = true })
		h.done()
		a.apply(held(v4), held(v6))
		time.Sleep(time.Minute)
		if did := h.said(); len(did) != 0 || h.has(v4) {
			t.Errorf("did %v", did)
		}
		h.hint()
		for _, ip := range []netip.Addr{v4, v6} {
			if f := a.fact(ip); f.State != vip.AddressAbsent || f.Detail != stuck || len(f.Lost) != 0 {
				t.Errorf("fact: %+v", f)
			}
		}
		if !a.log.has("address expired") || a.log.has("taken away") {
			t.Errorf("log: %s", a.log)
		}
		a.apply(candidate(v4), held(v6)) // what is not held is removed all the same
		a.apply(held(v4), held(v6))
		a.set(func() { a.dead = false })
		time.Sleep(gatePoll)
		for _, ip := range []netip.Addr{v4, v6} {
			if f := a.fact(ip); f.State != vip.AddressPresent || !f.Ours {
				t.Errorf("alive again: %+v", f)
			}
		}
	})
}

func TestTheGateOpensBeforeTheAddressExpired(t *testing.T) {
	h := newFakeHost()
	bubble(t, h, nil, func(t *testing.T, a *agent) {
		a.apply(held(v4))
		h.done()
		a.set(func() { a.dead = true })
		time.Sleep(5 * time.Second)
		a.set(func() { a.dead = false })
		time.Sleep(gatePoll)
		if did := h.said(); !slices.Equal(did, []string{"renew 192.0.2.10 on 5"}) {
			t.Errorf("did %v", did)
		}
	})
}

func TestKernelErrorsSayWhatToDo(t *testing.T) {
	for name, tc := range map[string]struct {
		ip     netip.Addr
		err    error
		state  vip.AddressState
		detail string
	}{
		"no permission": {v4, unix.EPERM, vip.AddressRefused, "add 192.0.2.10 on eth1: operation not permitted; CAP_NET_ADMIN is missing"},
		"no IPv6":       {v6, unix.EACCES, vip.AddressRefused, "run: sysctl -w net/ipv6/conf/eth1/disable_ipv6=0"},
		"no link":       {v4, unix.ENODEV, vip.AddressAbsent, "the link with index 5 is gone"},
		"a small MTU":   {v6, unix.EINVAL, vip.AddressAbsent, "MTU of 1280"},
		"no memory":     {v4, unix.ENOMEM, vip.AddressAbsent, "add 192.0.2.10 on eth1: cannot allocate memory"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newFakeHost()
			bubble(t, h, nil, func(t *testing.T, a *agent) {
				h.set(func() { h.fail = func(request) error { return tc.err } })
				a.apply(held(tc.ip))
				time.Sleep(10 * time.Second)
				if f := a.fact(tc.ip); f.State != tc.state || !strings.Contains(f.Detail, tc.detail) {
					t.Errorf("fact: %+v", f)
				}
				var gaps []time.Duration
				list := h.done()
				for i := range 9 {
					gaps = append(gaps, list[i+1].at.Sub(list[i].at)/time.Millisecond)
				}
				if !slices.Equal(gaps, []time.Duration{10, 20, 40, 80, 160, 320, 640, 1000, 1000}) {
					t.Errorf("tries were apart by %d ms", gaps)
				}
				if n := a.log.count("address not changed"); n != 1 {
					t.Errorf("logged %d times", n)
				}
				h.set(func() { h.fail = nil })
				time.Sleep(lastRetry)
				if f := a.fact(tc.ip); f.State != vip.AddressPresent || f.Detail != "" {
					t.Errorf("then: %+v", f)
				}
			})
		})
	}
}

func TestWhatCannotBeRemovedIsTriedAgainAndExpires(t *testing.T) {
	h := newFakeHost()
	bubble(t, h, nil, func(t *testing.T, a *agent) {
		a.apply(held(v4))
		h.set(func() { h.fail = func(request) error { return unix.EPERM } })
		a.apply()
		time.Sleep(2 * time.Second)
		if f := a.fact(v4); f.State != vip.AddressPresent || !f.Ours || !strings.Contains(f.Detail, "remove 192.0.2.10 on eth1: operation not permitted") {
			t.Errorf("fact: %+v", f)
		}
		time.Sleep(5 * time.Second)
		if f, there := a.latest().Addresses[v4]; there || h.has(v4) {
			t.Errorf("after its lifetime: %+v", f)
		}
	})
}

func TestLastPassMovesEverySecond(t *testing.T) {
	bubble(t, newFakeHost(), nil, func(t *testing.T, a *agent) {
		for range 50 {
			time.Sleep(100 * time.Millisecond)
			if age := time.Since(a.engine.LastPass()); age > time.Second {
				t.Fatalf("it is %s old", age)
			}
		}
		a.apply(held(v4))
		for range 100 {
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			if age := time.Since(a.engine.LastPass()); age > time.Second {
				t.Fatalf("it is %s old", age)
			}
		}
	})
	if !New(Options{}).LastPass().IsZero() {
		t.Error("it is not zero before Run")
	}
}
