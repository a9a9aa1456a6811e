package vrrp

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

// outside and inside are the two links of a firewall: a group.
var (
	outside = with(func(c *Candidacy) { c.Name, c.Group, c.Router.Waits, c.Rides = "outside", "fw", true, nil })
	inside  = with(func(c *Candidacy) {
		c.Name, c.Group, c.Router.Waits, c.Rides = "inside", "fw", true, nil
		c.Interface, c.Source = Link{"eth2", 3}, addr("10.9.0.5")
		c.Router.VRID, c.Router.Addresses = 52, list("10.9.0.100")
	})
)

// hearInside has an advertisement of the other router arrive on eth2.
func (b *bench) hearInside(priority uint8) {
	b.hear("10.9.0.9", func(a *Advertisement, at *Arrival) {
		at.Link = "eth2"
		a.VRID, a.Priority, a.Addresses = 52, priority, list("10.9.0.100")
	})
}

func (b *bench) states(t *testing.T) (list [2]vip.RouterState) {
	t.Helper()
	return [2]vip.RouterState{b.router(t, "outside").State, b.router(t, "inside").State}
}

var (
	bothActive = [2]vip.RouterState{vip.RouterActive, vip.RouterActive}
	bothBackup = [2]vip.RouterState{vip.RouterBackup, vip.RouterBackup}
)

func TestAGroupIsActiveOnceEachOfItHasWon(t *testing.T) {
	onBench(t, func(b *bench) {
		b.apply(outside, inside)
		for range 6 { // somebody better is there on one of the two
			b.hearInside(150)
			b.sleep(time.Second)
		}
		if got := b.states(t); got != bothBackup {
			t.Errorf("%v", got)
		}
		if sent, answers := b.wire.took(); len(sent)+len(answers) > 0 {
			t.Errorf("%q, %v", sent, answers)
		}
		b.sleep(4 * time.Second)
		if got := b.states(t); got != bothActive {
			t.Errorf("%v", got)
		}
		sent, _ := b.wire.took()
		if len(sent) < 2 || !strings.HasPrefix(sent[0], "eth2") || !strings.HasPrefix(sent[1], "eth1") {
			t.Errorf("%q", sent)
		}
	})
}

func TestAGroupDoesNotTakeOverWhileTheAgentIsStuck(t *testing.T) {
	onBench(t, func(b *bench) {
		b.apply(outside, inside)
		b.sleep(500 * time.Millisecond)
		b.hearInside(150)
		b.sleep(3500 * time.Millisecond) // outside has won, inside will in 109 ms
		b.alive.Store(false)
		b.sleep(5 * time.Second)
		if sent, answers := b.wire.took(); len(sent)+len(answers) > 0 {
			t.Errorf("%q, %v", sent, answers)
		}
		b.alive.Store(true)
		b.sleep(2 * stuck)
		if got := b.states(t); got != bothActive {
			t.Errorf("%v", got)
		}
	})
}

// One that loses its election takes the others along, politely, and back with it.
func TestAGroupGoesWithOneOfIt(t *testing.T) {
	onBench(t, func(b *bench) {
		b.apply(outside, inside)
		b.sleep(4 * time.Second)
		b.wire.took()
		b.hearInside(150)
		if r := b.router(t, "outside"); r.State != vip.RouterLeaving || r.Cause != vip.RouterGroupLost || !r.Answers {
			t.Errorf("%+v", r)
		}
		sent, _ := b.wire.took()
		if n := len(slices.DeleteFunc(sent, func(s string) bool { return s != "eth1 10.0.0.5>224.0.0.18 vrid 51 priority 0" })); n != 2 {
			t.Errorf("%q", sent)
		}
		b.apply(outside, inside) // which is no reason to be Active again
		b.hear("10.0.0.9", nil)
		b.sleep(500 * time.Millisecond)
		if got := b.states(t); got != bothBackup {
			t.Errorf("%v", got)
		}
		for range 5 {
			b.hear("10.0.0.9", nil)
			b.sleep(time.Second)
		}
		if got := b.states(t); got != bothBackup {
			t.Errorf("the other router is Active on one link still: %v", got)
		}
		b.sleep(4 * time.Second)
		if got := b.states(t); got != bothActive {
			t.Errorf("%v", got)
		}
	})
}

func TestAGroupThatLeavesDoesNotWaitForItself(t *testing.T) {
	onBench(t, func(b *bench) {
		b.apply(outside, inside)
		b.sleep(4 * time.Second)
		out, in := outside, inside
		out.Stance, in.Stance = Last, Last
		b.apply(out, in)
		b.sleep(5 * time.Second)
		if got := b.states(t); got != bothActive {
			t.Errorf("nobody took over: %v", got)
		}
		out.Stance, in.Stance = Out, Out
		b.apply(out, in)
		b.sleep(5 * time.Second)
		if got := b.states(t); got != [2]vip.RouterState{} {
			t.Errorf("%v", got)
		}
		b.apply()
		if b.count() != 0 {
			t.Error("they are remembered")
		}
	})
}

// What rides is claimed, announced and let go on its own link.
func TestAnAddressRidesOnAnotherLink(t *testing.T) {
	onBench(t, func(b *bench) {
		c := with(func(c *Candidacy) { c.Rides = on("eth2", 3, "10.9.0.100") })
		b.apply(c)
		b.sleep(4 * time.Second)
		_, answers := b.wire.took()
		want := append(on("eth1", 2, "10.0.0.100"), on("eth2", 3, "10.9.0.100")...)
		if len(answers) == 0 || !slices.Equal(answers[len(answers)-1].Addresses, want) {
			t.Errorf("%+v", answers)
		}
		claimed := func() int { // an earlier Active router does not advertise there either
			b.wire.arrivals <- Arrival{Link: "eth2", At: time.Now(), MAC: [6]byte{2, 0, 0, 0, 0, 7}, Claim: addr("10.9.0.100")}
			b.sleep(2 * time.Second)
			return len(b.router(t, "web").Others)
		}
		if claimed() != 0 {
			t.Errorf("just Active: %+v", b.router(t, "web"))
		}
		if n := claimed(); n != 1 || b.router(t, "web").Others[0].Trouble != vip.TroubleClaim {
			t.Errorf("%+v", b.router(t, "web"))
		}
		b.wire.refuses(map[string]error{"eth2": errors.New("there is no link eth2")})
		b.apply(with(func(x *Candidacy) { x.Rides, x.Defend = c.Rides, true }))
		b.sleep(3 * time.Second)
		if r := b.router(t, "web"); r.State != vip.RouterInitialize || r.Detail == "" {
			t.Errorf("without the link of what rides it is Active: %+v", r)
		}
	})
}

// A member that cannot listen takes part no more, and so do the others.
func TestAGroupWithADeafRouterGoes(t *testing.T) {
	onBench(t, func(b *bench) {
		b.apply(outside, inside)
		b.sleep(4 * time.Second)
		b.wire.refuses(map[string]error{"eth2": errors.New("there is no link eth2")})
		again := outside
		again.Refresh = time.Minute // so that the links are opened anew
		b.apply(again, inside)
		b.sleep(20 * time.Second)
		if got := b.states(t); got != [2]vip.RouterState{vip.RouterBackup, vip.RouterInitialize} {
			t.Errorf("%v", got)
		}
		b.wire.refuses(nil)
		b.apply(outside, inside)
		b.sleep(10 * time.Second)
		if got := b.states(t); got != bothActive {
			t.Errorf("%v", got)
		}
	})
}

// One that joins an Active group takes nobody down: it is listened for first.
func TestARouterJoinsAnActiveGroup(t *testing.T) {
	onBench(t, func(b *bench) {
		b.apply(outside)
		b.sleep(4 * time.Second)
		b.wire.took()
		b.apply(outside, inside)
		b.sleep(time.Second)
		if got := b.states(t); got != [2]vip.RouterState{vip.RouterActive, vip.RouterBackup} {
			t.Errorf("%v", got)
		}
		b.sleep(4 * time.Second)
		if got := b.states(t); got != bothActive {
			t.Errorf("%v", got)
		}
		sent, _ := b.wire.took()
		if slices.ContainsFunc(sent, func(s string) bool { return strings.HasSuffix(s, "priority 0") }) {
			t.Errorf("%q", sent)
		}
	})
}
