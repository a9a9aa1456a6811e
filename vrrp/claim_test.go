package vrrp

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

// claims has somebody say that an address of web is his.
func (b *bench) claims(mac byte) {
	b.hear("10.0.0.9", func(_ *Advertisement, at *Arrival) {
		at.Claim, at.MAC = addr("10.0.0.100"), [6]byte{2, 0, 0, 0, 0, mac}
	})
}

// probes says of each announcement that was asked for since the last call whether it
// came with a probe.
func (b *bench) probes() (list []bool) {
	_, answers := b.wire.took()
	last := uint64(0)
	for _, a := range answers {
		if a.Announce > last {
			last = a.Announce
			list = append(list, a.Probe)
		}
	}
	return list
}

func TestTheFirstActiveRouterAsksOnceWhoElseIsThere(t *testing.T) {
	onBench(t, func(b *bench) {
		b.apply(web)
		b.sleep(4 * time.Second)
		if got := b.probes(); len(got) != 1 || !got[0] {
			t.Fatalf("%v", got)
		}
		b.apply(with(func(c *Candidacy) { c.Stance = Out }))
		b.sleep(time.Minute)
		b.probes()
		b.apply(web)
		b.sleep(4 * time.Second)
		if got := b.probes(); len(got) != 1 || got[0] {
			t.Errorf("the second time: %v", got)
		}
	})
}

func TestWhoTakesOverFromARouterAsksNobody(t *testing.T) {
	onBench(t, func(b *bench) {
		b.apply(web)
		b.hear("10.0.0.9", nil)
		b.sleep(4 * time.Second)
		if got := b.probes(); len(got) != 1 || got[0] {
			t.Errorf("%v", got)
		}
	})
}

// An owner is Active before it can have heard anybody: the router that stood in for it
// answers, and yields with the next advertisement.
func TestAClaimIsForeignOnceItsMACHadTimeToAdvertise(t *testing.T) {
	owner := with(func(c *Candidacy) { c.Router.Priority, c.Router.Interval = PriorityOwner, 5*time.Second })
	for name, advertises := range map[string]bool{"a router": true, "a host": false} {
		t.Run(name, func(t *testing.T) {
			onBench(t, func(b *bench) {
				b.apply(owner)
				if got := b.probes(); len(got) != 1 || !got[0] {
					t.Fatalf("%v", got)
				}
				b.claims(9)
				b.sleep(4900 * time.Millisecond)
				if r := b.router(t, "web"); len(r.Others) != 0 {
					t.Errorf("before an interval was over: %+v", r.Others)
				}
				if advertises {
					b.hear("10.0.0.9", func(a *Advertisement, _ *Arrival) { a.Interval = 5 * time.Second })
				}
				b.sleep(time.Second)
				r := b.router(t, "web")
				if len(r.Others) != 1 {
					t.Fatalf("%+v", r.Others)
				}
				if foreign := r.Others[0].Trouble == vip.TroubleClaim && r.Others[0].Addr == addr("10.0.0.100"); foreign == advertises {
					t.Errorf("%+v", r.Others)
				}
			})
		})
	}
}

// Later on a claim is told within two seconds, whatever the interval.
func TestAForeignClaimIsToldInTime(t *testing.T) {
	onBench(t, func(b *bench) {
		b.apply(with(func(c *Candidacy) { c.Router.Interval = 10 * time.Second }))
		b.sleep(time.Minute)
		b.claims(9)
		b.sleep(hearing)
		if r := b.router(t, "web"); len(r.Others) != 1 || r.Others[0].Trouble != vip.TroubleClaim || r.Others[0].MAC != "02:00:00:00:00:09" {
			t.Errorf("%+v", r.Others)
		}
	})
}

func TestWhoAdvertisesLateWasNoForeignHost(t *testing.T) {
	onBench(t, func(b *bench) {
		b.apply(web)
		b.claims(9)
		b.sleep(2 * time.Second)
		if r := b.router(t, "web"); len(r.Others) != 1 || r.Others[0].Trouble != vip.TroubleClaim {
			t.Fatalf("%+v", r.Others)
		}
		b.hear("10.0.0.9", nil)
		if r := b.router(t, "web"); len(r.Others) != 1 || r.Others[0].Trouble != 0 || r.Others[0].VRID != 51 {
			t.Errorf("%+v", r.Others)
		}
	})
}

// Where multicast is filtered and ARP is not, this is all that shows that both are Active.
func TestARouterThatClaimsWhatThisOneHasIsARival(t *testing.T) {
	virtual := func(_ *Advertisement, at *Arrival) {
		at.Claim, at.MAC = addr("10.0.0.100"), [6]byte{0, 0, 0x5e, 0, 1, 51}
	}
	onBench(t, func(b *bench) {
		b.apply(web)
		b.hear("10.0.0.9", func(a *Advertisement, _ *Arrival) { a.Priority = 50 })
		b.sleep(3700 * time.Millisecond) // we preempt it
		b.claims(9)                      // its last words
		b.hear("10.0.0.9", virtual)
		b.sleep(2 * time.Second)
		if r := b.router(t, "web"); r.State != vip.RouterActive || len(r.Others) != 1 || r.Others[0].Trouble != 0 {
			t.Fatalf("%+v", r)
		}
		b.claims(9)
		b.hear("10.0.0.9", virtual) // FRR, which nobody has heard advertise
		b.sleep(hearing)
		r := b.router(t, "web")
		if len(r.Others) != 2 || r.Others[0].Trouble != vip.TroubleRival || r.Others[0].Addr != addr("10.0.0.9") ||
			r.Others[1].Trouble != vip.TroubleRival || r.Others[1].MAC != "00:00:5e:00:01:33" {
			t.Errorf("%+v", r.Others)
		}
		if n := strings.Count(b.log(), "at odds"); n != 2 {
			t.Errorf("%d lines:\n%s", n, b.log())
		}
	})
}

// FRR announces before it advertises.
func TestARouterThatTakesOverIsNoRival(t *testing.T) {
	onBench(t, func(b *bench) {
		b.apply(web)
		b.sleep(10 * time.Second)
		b.hear("10.0.0.9", func(_ *Advertisement, at *Arrival) {
			at.Claim, at.MAC = addr("10.0.0.100"), [6]byte{0, 0, 0x5e, 0, 1, 51}
		})
		b.hear("10.0.0.9", func(_ *Advertisement, at *Arrival) { at.MAC = [6]byte{0, 0, 0x5e, 0, 1, 51} })
		_, before := b.reported()
		b.sleep(2 * time.Second)
		if r := b.router(t, "web"); r.State != vip.RouterBackup || len(r.Others) != 1 || r.Others[0].Addr != addr("10.0.0.9") {
			t.Errorf("%+v", r)
		}
		if _, n := b.reported(); n > before+1 { // the addresses go
			t.Errorf("%d reports", n-before)
		}
	})
}

func TestOnlyWhoListensMayJudge(t *testing.T) {
	onBench(t, func(b *bench) {
		b.wire.refuses(map[string]error{"eth1": errors.New("there is no link eth1")})
		b.apply(with(func(c *Candidacy) { c.Router.Interval = 5 * time.Second }))
		b.sleep(time.Minute)
		b.wire.refuses(nil)
		b.sleep(listenFor)
		b.claims(9)
		b.sleep(3 * time.Second)
		if r := b.router(t, "web"); len(r.Others) != 0 {
			t.Errorf("%+v", r.Others)
		}
		b.sleep(3 * time.Second)
		if r := b.router(t, "web"); len(r.Others) != 1 {
			t.Errorf("%+v", r.Others)
		}
	})
}

func TestManyWhoClaimCostLittle(t *testing.T) {
	onBench(t, func(b *bench) {
		b.apply(web)
		for i := range 200 {
			b.claims(byte(i))
		}
		b.sleep(2 * time.Second)
		if r := b.router(t, "web"); len(r.Others) != maxOthers {
			t.Errorf("%d are remembered", len(r.Others))
		}
	})
}
