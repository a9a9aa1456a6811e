package lease

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/anyvip/anyvip/pkg/vip"
)

var (
	mac4 = [6]byte{0, 0, 0x5e, 0, 1, 51}
	mac6 = [6]byte{0, 0, 0x5e, 0, 2, 51}
)

const (
	vip4 = "vip4-51-5" // over eth1
	vip6 = "vip6-51-5"
)

// virtual is a lease on eth1 with a MAC of its own.
func virtual(l Lease) Lease {
	if l.MAC = mac4; l.Addr.Is6() {
		l.MAC = mac6
	}
	return l
}

func TestNamesOfMacvlansFit(t *testing.T) {
	for want, m := range map[string]macvlan{
		"vip4-51-3":       {3, mac4},
		"vip6-1-a":        {10, [6]byte{0, 0, 0x5e, 0, 2, 1}},
		"vip4-255-zik0zj": {1<<31 - 1, [6]byte{0, 0, 0x5e, 0, 1, 255}},
	} {
		if got := m.name(); got != want || len(got) > 15 {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if n := len(markOf(strings.Repeat("x", 500))); n != 255 {
		t.Errorf("a mark of %d bytes", n)
	}
}

// A candidate's macvlan is there and down; it is up while an address is held, and what
// it answered for is over before anything else happens.
func TestAMacvlanIsUpOnlyWhileAnAddressIsHeld(t *testing.T) {
	h := newFakeHost()
	bubble(t, h, nil, func(t *testing.T, a *agent) {
		a.apply(virtual(candidate(v4)), virtual(candidate(v6)))
		four, six := h.macvlan(vip4), h.macvlan(vip6)
		if four.mac != mac4 || six.mac != mac6 || four.up || six.up || h.acts() != "make;make;" {
			t.Fatalf("%+v %+v", four, six)
		}
		if f := a.fact(v4); f.State != vip.AddressAbsent || f.Detail != "" {
			t.Errorf("candidate: %+v", f)
		}
		a.apply(virtual(held(v4)), virtual(held(v6)))
		if !h.macvlan(vip4).up || !h.macvlan(vip6).up || !h.carries(v4, four.index) || !h.carries(v6, six.index) || h.acts() != "raise;raise;" {
			t.Errorf("%+v", h.on)
		}
		if f := a.fact(v4); f.State != vip.AddressPresent || f.Link != vip4 || !f.Ours {
			t.Errorf("held: %+v", f)
		}
		time.Sleep(time.Minute) // renewals go on
		if !h.carries(v4, four.index) || !h.carries(v6, six.index) || h.acts() != "" {
			t.Errorf("%+v", h.on)
		}
		a.apply(virtual(candidate(v4)), virtual(candidate(v6)))
		if h.macvlan(vip4).up || h.macvlan(vip6).up || h.carries(v4, four.index) || h.carries(v6, six.index) || h.acts() != "take down;take down;" {
			t.Errorf("%+v", h.on)
		}
		a.apply()
		if h.macvlan(vip4).index+h.macvlan(vip6).index != 0 || h.acts() != "remove;remove;" {
			t.Errorf("left: %+v", h.links)
		}
	})
}

// It goes down before the addresses go one by one: with a thousand that takes a while.
func TestAMacvlanGoesDownBeforeItsAddressesGo(t *testing.T) {
	h := newFakeHost()
	bubble(t, h, nil, func(t *testing.T, a *agent) {
		var candidates, all []Lease
		for _, ip := range many(250) {
			candidates, all = append(candidates, virtual(candidate(ip))), append(all, virtual(held(ip)))
		}
		a.apply(candidates...)
		a.apply(all...)
		h.set(func() {
			h.before = func(r request) {
				if r.verb == remove && h.links[r.spot.index].up {
					t.Errorf("%s goes from a link that is up", r.spot.addr)
				}
				if r.verb == add && !h.links[r.spot.index].up {
					t.Errorf("%s comes on a link that is down", r.spot.addr)
				}
			}
		})
		a.apply(candidates...)
		a.apply(all...)
		if on := h.macvlan(vip4); !on.up || !h.carries(all[249].Addr, on.index) {
			t.Errorf("%+v", on)
		}
	})
}

// However long the kernel takes for each, and whether they are wanted once more or not.
func TestAMacvlanGoesDownBeforeItsAddressesGoWhereItTakesLong(t *testing.T) {
	for name, rest := range map[string][]Lease{"candidates": {virtual(candidate(v4)), virtual(candidate(v6))}, "nothing": nil} {
		t.Run(name, func(t *testing.T) {
			h := newFakeHost()
			bubble(t, h, nil, func(t *testing.T, a *agent) {
				a.apply(virtual(candidate(v4)), virtual(candidate(v6)))
				a.apply(virtual(held(v4)), virtual(held(v6)))
				h.acts()
				h.set(func() {
					h.slow = sinkTime + time.Millisecond
					h.before = func(r request) {
						if on := h.links[r.spot.index]; r.verb == remove && on != nil && on.up {
							t.Errorf("%s goes from a link that is up", r.spot.addr)
						}
					}
				})
				a.apply(rest...)
				time.Sleep(time.Second)
				if f4, f6 := a.fact(v4), a.fact(v6); f4.State == vip.AddressPresent || f6.State == vip.AddressPresent {
					t.Errorf("%+v, %+v", f4, f6)
				}
				if acts := h.acts(); h.macvlan(vip4).up || h.macvlan(vip6).up || strings.Count(acts, ";") != 2 {
					t.Errorf("did %q", acts)
				}
			})
		})
	}
}

func TestTheMacvlansOfAnEarlierRun(t *testing.T) {
	h := newFakeHost()
	dir := ""
	put := func(index int, name, alias string, mac [6]byte) {
		h.links[index] = &station{name: name, index: index, macvlan: true, alias: alias, mac: mac, up: true, mtu: 1500}
	}
	bubble(t, h, func(a *agent) {
		dir = a.dir
		put(20, vip4, markOf(dir), mac4)
		put(21, "vip4-52-5", markOf(dir), [6]byte{0, 0, 0x5e, 0, 1, 52})
		put(22, "vip4-53-5", markOf("/another/agent"), [6]byte{0, 0, 0x5e, 0, 1, 53})
		put(23, "mv0", "", mac4)
		put(24, draft, "", mac4)
		h.links[24].up = false
	}, func(t *testing.T, a *agent) {
		time.Sleep(time.Second)
		if got := h.acts(); got != "" {
			t.Errorf("before it is known what is wanted: %s", got)
		}
		a.apply(virtual(candidate(v4)))
		if s := h.macvlan(vip4); s.index != 20 || s.up {
			t.Errorf("not adopted, and taken down: %+v", s)
		}
		if s := h.macvlan("vip4-52-5"); s.index != 21 || s.up {
			t.Errorf("what may be wanted in a moment: %+v", s)
		}
		time.Sleep(spareTime)
		synctest.Wait()
		for name, want := range map[string]int{"vip4-52-5": 0, "vip4-53-5": 22, "mv0": 23, draft: 0} {
			if s := h.macvlan(name); s.index != want {
				t.Errorf("%s: %+v", name, s)
			}
		}
	})
}

func TestSomebodyElsesLinkOfThatNameIsLeftAlone(t *testing.T) {
	h := newFakeHost()
	h.links[20] = &station{name: vip4, index: 20, macvlan: true, mac: mac4, up: true, mtu: 1500}
	bubble(t, h, nil, func(t *testing.T, a *agent) {
		a.apply(virtual(candidate(v4)))
		f := a.fact(v4)
		if f.State != vip.AddressRefused || !strings.Contains(f.Detail, "there is a link "+vip4+" on this host already") {
			t.Errorf("%+v", f)
		}
		a.apply(virtual(held(v4)))
		time.Sleep(time.Minute)
		if got := h.acts(); got != "" || h.carries(v4, 20) {
			t.Errorf("did %s", got)
		}
		h.set(func() { delete(h.links, 20) })
		h.hint()
		time.Sleep(time.Second)
		if f := a.fact(v4); f.State != vip.AddressPresent {
			t.Errorf("%+v", f)
		}
	})
}

func TestWhatSomebodyDoesToAMacvlanIsSetRight(t *testing.T) {
	h := newFakeHost()
	bubble(t, h, nil, func(t *testing.T, a *agent) {
		a.apply(virtual(held(v4)), virtual(candidate(v6)))
		time.Sleep(spareTime)
		for what, do := range map[string]func(four, six *station){
			"deleted":          func(four, _ *station) { delete(h.links, four.index); delete(h.on, spot{v4, four.index}) },
			"down":             func(four, _ *station) { four.up = false },
			"a Backup's is up": func(_, six *station) { six.up = true },
			"another MTU":      func(_, _ *station) { h.links[eth1].mtu = 9000 },
			"another MAC":      func(four, _ *station) { four.mac[5] = 99 },
		} {
			synctest.Wait()
			four, six := h.macvlan(vip4), h.macvlan(vip6)
			h.set(func() { do(h.links[four.index], h.links[six.index]) })
			h.hint()
			time.Sleep(time.Second)
			synctest.Wait()
			four, six = h.macvlan(vip4), h.macvlan(vip6)
			if !four.up || six.up || four.mac != mac4 || four.mtu != h.links[eth1].mtu || !h.carries(v4, four.index) || a.fact(v4).State != vip.AddressPresent {
				t.Errorf("%s: %+v, %+v, %+v", what, four, six, a.fact(v4))
			}
		}
	})
}

// A candidate says so before it is needed; what is Active goes on, and says so.
func TestALinkThatWouldAnswerForItIsAProblem(t *testing.T) {
	h := newFakeHost()
	h.wrong = "arp_ignore is 0"
	bubble(t, h, nil, func(t *testing.T, a *agent) {
		a.apply(virtual(candidate(v4)), virtual(candidate(v6)), candidate(netip.MustParseAddr("192.0.2.11")))
		if f := a.fact(v4); f.State != vip.AddressRefused || f.Detail != h.wrong {
			t.Errorf("%+v", f)
		}
		for _, other := range []netip.Addr{v6, netip.MustParseAddr("192.0.2.11")} { // not of IPv6, nor without a MAC of its own
			if f := a.fact(other); f.State != vip.AddressAbsent || f.Detail != "" {
				t.Errorf("%+v", f)
			}
		}
		h.set(func() { h.wrong = "" })
		time.Sleep(lookEvery) // nobody tells of a sysctl
		if f := a.fact(v4); f.State != vip.AddressAbsent || f.Detail != "" {
			t.Errorf("%+v", f)
		}
		a.apply(virtual(held(v4)))
		h.set(func() { h.wrong = "arp_announce is 0" })
		time.Sleep(lookEvery)
		if f := a.fact(v4); f.State != vip.AddressPresent || f.Detail != "arp_announce is 0" {
			t.Errorf("%+v", f)
		}
	})
}

func TestAMacvlanThatCannotBeIsExplained(t *testing.T) {
	for err, want := range map[error]string{
		unix.EPERM:      howToPermit,
		unix.EOPNOTSUPP: "load the module",
		unix.EBUSY:      "part of a bridge",
		unix.EADDRINUSE: "end the other VRRP daemon",
		unix.EROFS:      "ProtectKernelTunables",
		unix.ENODEV:     "the link is gone",
	} {
		h := newFakeHost()
		h.stubborn = err
		bubble(t, h, nil, func(t *testing.T, a *agent) {
			a.apply(virtual(candidate(v4)))
			if f := a.fact(v4); f.State != vip.AddressRefused || !strings.Contains(f.Detail, want) || !strings.HasPrefix(f.Detail, "make the macvlan "+vip4+" over eth1: ") {
				t.Errorf("%+v", f)
			}
			h.set(func() { h.stubborn = nil })
			time.Sleep(lastRetry)
			if f := a.fact(v4); f.State != vip.AddressAbsent || f.Detail != "" {
				t.Errorf("afterwards: %+v", f)
			}
		})
	}
}

// An administrator's address has the MAC of its link.
func TestAnAddressThatIsHereAlreadyCannotHaveTheVirtualMAC(t *testing.T) {
	h := newFakeHost()
	h.put(v4, eth1, 24, 0)
	bubble(t, h, nil, func(t *testing.T, a *agent) {
		a.apply(virtual(candidate(v4)))
		if f := a.fact(v4); f.State != vip.AddressRefused || !strings.Contains(f.Detail, "remove it from eth1") {
			t.Errorf("%+v", f)
		}
		a.apply(virtual(held(v4)))
		time.Sleep(time.Minute)
		if did := h.said(); len(did) != 0 {
			t.Errorf("did %v", did)
		}
	})
}

// A reload moves an address to its macvlan and back.
func TestAnAddressMovesToItsMacvlanAndBack(t *testing.T) {
	h := newFakeHost()
	bubble(t, h, nil, func(t *testing.T, a *agent) {
		a.apply(held(v4), held(v6))
		for range 2 {
			a.apply(virtual(held(v4)), virtual(held(v6)))
			four, six := h.macvlan(vip4), h.macvlan(vip6)
			if h.has(v4) || h.has(v6) || !h.carries(v4, four.index) || !h.carries(v6, six.index) || a.fact(v4).State != vip.AddressPresent {
				t.Errorf("there: %+v", h.on)
			}
			a.apply(held(v4), held(v6))
			if !h.has(v4) || !h.has(v6) || h.carries(v4, four.index) || h.macvlan(vip4).index != 0 || a.fact(v4).State != vip.AddressPresent {
				t.Errorf("back: %+v", h.on)
			}
		}
	})
}

// What fails when the address is taken is forgotten when it is not any more: the router
// is tried again after a while.
func TestAMacvlanThatCannotBeRaisedIsTriedAgain(t *testing.T) {
	h := newFakeHost()
	bubble(t, h, nil, func(t *testing.T, a *agent) {
		a.apply(virtual(candidate(v4)))
		h.set(func() { h.stubborn = unix.EADDRINUSE })
		a.apply(virtual(held(v4)))
		if f := a.fact(v4); f.State != vip.AddressRefused || !strings.HasPrefix(f.Detail, "raise the macvlan ") {
			t.Errorf("%+v", f)
		}
		a.apply(virtual(candidate(v4)))
		if f := a.fact(v4); f.State != vip.AddressAbsent || f.Detail != "" {
			t.Errorf("%+v", f)
		}
	})
}

// A stuck agent raises nothing; what it has to give back it does give back.
func TestAStuckAgentRaisesNoMacvlan(t *testing.T) {
	h := newFakeHost()
	bubble(t, h, nil, func(t *testing.T, a *agent) {
		a.apply(virtual(candidate(v4)))
		a.set(func() { a.dead = true })
		a.apply(virtual(held(v4)))
		time.Sleep(time.Second)
		if s := h.macvlan(vip4); s.up {
			t.Error("raised")
		}
		a.set(func() { a.dead = false })
		time.Sleep(time.Second)
		if s := h.macvlan(vip4); !s.up || a.fact(v4).State != vip.AddressPresent {
			t.Error("not raised afterwards")
		}
	})
}
