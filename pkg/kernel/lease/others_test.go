package lease

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

func TestWhatAnEarlierRunLeftIsAdoptedOrExpires(t *testing.T) {
	h := newFakeHost()
	other := many(2)
	bubble(t, h, func(a *agent) {
		a.writeFile(v4, v6, other[0], other[1])
		h.put(v4, eth1, 32, 5*time.Second)
		h.put(v6, eth1, 128, 5*time.Second)
		h.put(other[0], eth1, 32, 5*time.Second)
	}, func(t *testing.T, a *agent) {
		time.Sleep(time.Second)
		if did := h.said(); len(did) != 0 || a.count() != 0 {
			t.Errorf("before the first set it did %v, and reported %d times", did, a.count())
		}
		a.apply(held(v4), candidate(v6))
		if did := h.said(); !slices.Equal(did, []string{"renew 192.0.2.10 on 5"}) {
			t.Errorf("did %v", did)
		}
		for _, x := range []netip.Addr{v6, other[0]} {
			if f := a.fact(x); f.State != vip.AddressPresent || !f.Ours || f.Detail != "an earlier run left it; it goes when its lifetime is over" {
				t.Errorf("fact: %+v", f)
			}
		}
		if f := a.fact(v4); f.State != vip.AddressPresent || !f.Ours || a.count() != 1 {
			t.Errorf("%d reports, fact: %+v", a.count(), f)
		}
		time.Sleep(10 * time.Second)
		if w := a.written(); !slices.Equal(w, []string{v4.String(), v6.String()}) {
			t.Errorf("file: %v", w)
		}
		if did := h.said(); slices.ContainsFunc(did, func(s string) bool { return !strings.HasPrefix(s, "renew 192.0.2.10") }) {
			t.Errorf("did %v", did)
		}
		a.apply(held(v4), held(v6))
		a.apply(held(v4), candidate(v6))
		if did := h.said(); !slices.Equal(did, []string{"add 2001:db8:10::10 on 5", "remove 2001:db8:10::10 on 5"}) {
			t.Errorf("once this run has held it: %v", did)
		}
	})
}

func TestWhatTheFileCannotMeanIsNotOurs(t *testing.T) {
	for name, put := range map[string]func(h *fakeHost){
		"without a lifetime":    func(h *fakeHost) { h.put(v4, eth1, 32, 0) },
		"with a long one":       func(h *fakeHost) { h.put(v4, eth1, 32, time.Hour) },
		"with a prefix length":  func(h *fakeHost) { h.put(v4, eth1, 24, 5*time.Second) },
		"on another link":       func(h *fakeHost) { h.put(v4, eth2, 32, 5*time.Second) },
		"for ever, and another": func(h *fakeHost) { h.put(v4, eth1, 32, 0); h.put(v4, 1, 32, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			h := newFakeHost()
			bubble(t, h, func(a *agent) { a.writeFile(v4); put(h) }, func(t *testing.T, a *agent) {
				a.apply(held(v4))
				a.apply(candidate(v4))
				a.apply()
				if did := h.said(); len(did) != 0 {
					t.Errorf("did %v", did)
				}
			})
		})
	}
}

func TestAnAdministratorsAddressIsLeftAlone(t *testing.T) {
	for name, tc := range map[string]struct {
		index, bits int
		link        string
	}{
		"the same":             {eth1, 32, "eth1"},
		"with a prefix length": {eth1, 24, "eth1"},
		"on another link":      {eth2, 32, "eth2"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newFakeHost()
			bubble(t, h, nil, func(t *testing.T, a *agent) {
				h.put(v4, tc.index, tc.bits, 0)
				a.apply(candidate(v4))
				a.apply(held(v4))
				time.Sleep(time.Minute)
				if f := a.fact(v4); f.State != vip.AddressPresent || f.Ours || f.Link != tc.link || f.Detail != "" {
					t.Errorf("fact: %+v", f)
				}
				a.apply(candidate(v4))
				time.Sleep(time.Minute)
				if f := a.fact(v4); f.State != vip.AddressPresent || f.Ours {
					t.Errorf("not held: %+v", f)
				}
				if did := h.said(); len(did) != 0 {
					t.Errorf("did %v", did)
				}
				a.apply(held(v4))
				time.Sleep(lookGap)
				h.set(func() { clear(h.on) })
				h.hint()
				if f := a.fact(v4); f.State != vip.AddressPresent || !f.Ours || f.Link != "eth1" {
					t.Errorf("after it went: %+v", f)
				}
			})
		})
	}
}

func TestAnAddressThatCameWithoutAHintIsLeftAlone(t *testing.T) {
	h := newFakeHost()
	bubble(t, h, nil, func(t *testing.T, a *agent) {
		a.apply(candidate(v4))
		h.before = func(r request) { h.on[r.spot] = &fakeAddress{bits: 32} }
		a.apply(held(v4))
		time.Sleep(time.Minute)
		if f := a.fact(v4); f.State != vip.AddressPresent || f.Ours {
			t.Errorf("fact: %+v", f)
		}
		if did := h.said(); !slices.Equal(did, []string{"add 192.0.2.10 on 5"}) {
			t.Errorf("did %v", did)
		}
	})
}

func TestAnAddressThatIsTakenAwayIsPutBackAtOnce(t *testing.T) {
	h := newFakeHost()
	bubble(t, h, nil, func(t *testing.T, a *agent) {
		a.apply(held(v4))
		time.Sleep(12 * time.Second)
		h.done()
		lostAt := time.Now()
		h.takeAway(v4)
		if f := a.fact(v4); f.State != vip.AddressPresent || len(f.Lost) != 1 || !f.Lost[0].Equal(lostAt) || !h.has(v4) {
			t.Errorf("fact: %+v", f)
		}
		for range 6000 { // somebody who does it whenever it is there, for a minute
			if h.has(v4) {
				h.takeAway(v4)
			}
			time.Sleep(10 * time.Millisecond)
		}
		adds := 0
		for _, x := range h.done() {
			if x.verb == add {
				adds++
			}
		}
		if adds < 50 || adds > 80 {
			t.Errorf("put back %d times in a minute", adds)
		}
		if f := a.fact(v4); len(f.Lost) != keptLosses {
			t.Errorf("fact: %+v", f)
		}
		if n := a.log.count("taken away"); n < 7 || n > 25 || !a.log.has("not_logged=") {
			t.Errorf("%d lines in a minute", n)
		}
		time.Sleep(3 * time.Second)
		h.takeAway(v4)
		if synctest.Wait(); !h.has(v4) {
			t.Error("not put back at once after the fight")
		}
	})
}

func TestALossWithoutANotificationIsSeenBySomeLook(t *testing.T) {
	h := newFakeHost()
	bubble(t, h, nil, func(t *testing.T, a *agent) {
		a.apply(held(v4))
		l := held(v4)
		l.Interval = 30 * time.Second // so that no renewal comes first
		a.apply(l)
		h.set(func() { clear(h.on) })
		time.Sleep(lookEvery)
		if f := a.fact(v4); !h.has(v4) || f.State != vip.AddressPresent {
			t.Errorf("fact: %+v", f)
		}
	})
}

func TestALifetimeThatSomebodyChangedIsSetRight(t *testing.T) {
	for name, change := range map[string]time.Duration{"for ever": 0, "longer": time.Hour, "shorter": time.Second} {
		t.Run(name, func(t *testing.T) {
			h := newFakeHost()
			bubble(t, h, nil, func(t *testing.T, a *agent) {
				a.apply(held(v4))
				time.Sleep(lookGap)
				h.done()
				h.put(v4, eth1, 32, change)
				if did := h.said(); !slices.Equal(did, []string{"renew 192.0.2.10 on 5"}) {
					t.Errorf("did %v", did)
				}
				time.Sleep(time.Minute)
				for _, x := range h.done() {
					if x.verb != renew || x.left < keep(time.Second) {
						t.Errorf("then %s with %s left", x, x.left)
					}
				}
			})
		})
	}
}

func TestALostAnswerIsLookedUp(t *testing.T) {
	h := newFakeHost()
	bubble(t, h, nil, func(t *testing.T, a *agent) {
		a.apply(candidate(v4))
		h.set(func() { h.doubt = true })
		a.apply(held(v4))
		h.set(func() { h.doubt = false })
		time.Sleep(time.Second)
		if f := a.fact(v4); f.State != vip.AddressPresent || !f.Ours {
			t.Errorf("fact: %+v", f)
		}
		if did := h.said(); !slices.Equal(did, []string{"add 192.0.2.10 on 5", "renew 192.0.2.10 on 5"}) {
			t.Errorf("did %v", did)
		}
	})
}

// A process that was stopped for longer than the lifetime: the address is gone, and
// somebody has his own there now.
func TestAfterAHangItLooksBeforeItRenews(t *testing.T) {
	h := newFakeHost()
	bubble(t, h, nil, func(t *testing.T, a *agent) {
		a.apply(held(v4), held(v6))
		h.done()
		a.set(func() { a.hold = 10 * time.Second })
		a.apply(held(v4), held(v6), candidate(many(1)[0])) // a report
		time.Sleep(9 * time.Second)
		h.set(func() { h.on[spot{v4, eth1}] = &fakeAddress{bits: 32} })
		time.Sleep(2 * time.Second)
		if did := h.said(); !slices.Equal(did, []string{"add 2001:db8:10::10 on 5"}) {
			t.Errorf("did %v", did)
		}
		if f := a.fact(v4); f.State != vip.AddressPresent || f.Ours {
			t.Errorf("fact: %+v", f)
		}
		if f := a.fact(v6); f.State != vip.AddressPresent || !f.Ours || len(f.Lost) != 0 {
			t.Errorf("fact: %+v", f)
		}
	})
}

func TestALookWithGapsTakesNothingForGone(t *testing.T) {
	h := newFakeHost()
	bubble(t, h, nil, func(t *testing.T, a *agent) {
		a.apply(held(v4))
		h.set(func() { h.gaps = true })
		h.hint()
		time.Sleep(4 * time.Second)
		if f := a.fact(v4); f.State != vip.AddressPresent || len(f.Lost) != 0 {
			t.Errorf("fact: %+v", f)
		}
		for _, x := range h.done()[1:] {
			if x.verb != renew {
				t.Errorf("did %s", x)
			}
		}
	})
}

func TestNobodyIsTakenForAStrangerBeforeTheFileIsRead(t *testing.T) {
	h := newFakeHost()
	bubble(t, h, func(a *agent) {
		a.writeFile(v4)
		h.put(v4, eth1, 32, 5*time.Second)
		a.engine.Apply([]Lease{held(v4)}) // before Run
	}, func(t *testing.T, a *agent) {
		if did := h.said(); !slices.Equal(did, []string{"renew 192.0.2.10 on 5"}) || a.count() != 1 || a.log.has("left alone") {
			t.Errorf("did %v, reported %d times\n%s", did, a.count(), a.log)
		}
	})
}
