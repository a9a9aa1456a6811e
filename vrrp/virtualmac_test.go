package vrrp

import (
	"slices"
	"testing"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

var virtualMAC = [6]byte{0, 0, 0x5e, 0, 1, 51}

func withVirtualMAC(c *Candidacy) { c.VirtualMAC = true }

// allAt says whether all addresses of answers have a MAC.
func allAt(mac [6]byte, answers []Answer) bool {
	return !slices.ContainsFunc(answers, func(a Answer) bool {
		return slices.ContainsFunc(a.Addresses, func(x Address) bool { return x.MAC != mac })
	})
}

func TestTheVirtualMACIsOfFamilyAndVRID(t *testing.T) {
	six := func(c *Candidacy) { withVirtualMAC(c); c.Source = addr("fe80::5") }
	for _, test := range []struct {
		candidacy Candidacy
		want      string
	}{
		{web, "00:00:00:00:00:00"},
		{with(withVirtualMAC), "00:00:5e:00:01:33"},
		{with(six), "00:00:5e:00:02:33"},
	} {
		if got := mac(test.candidacy.MAC()); got != test.want {
			t.Errorf("%s, want %s", got, test.want)
		}
	}
}

// The switch follows the virtual MAC: it is heard from the announcement on, which comes
// when the addresses are there, and until others are to be believed.
func TestAdvertisementsAndAddressesHaveTheVirtualMAC(t *testing.T) {
	const advertisement = "eth1 10.0.0.5>224.0.0.18 vrid 51 priority "
	onBench(t, func(b *bench) {
		b.apply(with(withVirtualMAC))
		b.sleep(4700 * time.Millisecond)
		sent, answers := b.wire.took()
		if want := []string{advertisement + "100", advertisement + "100 from 00:00:5e:00:01:33"}; !slices.Equal(sent, want) {
			t.Errorf("%q", sent)
		}
		if len(answers) != 2 || !allAt(virtualMAC, answers) || answers[1].Announce != 1 {
			t.Errorf("%+v", answers)
		}
		b.apply()
		if sent, _ := b.wire.took(); !slices.Equal(sent, []string{advertisement + "0", advertisement + "0"}) {
			t.Errorf("%q", sent)
		}
	})
}

// What rides on another link, or is of another family, has its link's own MAC: there the
// VRID may be another router's.
func TestWhatRidesElsewhereHasItsLinksMAC(t *testing.T) {
	c := with(func(c *Candidacy) {
		withVirtualMAC(c)
		c.Rides = append(on("eth1", 2, "10.0.0.101", "2001:db8::1"), on("eth2", 3, "10.0.1.100")...)
	})
	for i, want := range [][6]byte{virtualMAC, virtualMAC, {}, {}} {
		if a := c.Addresses()[i]; a.MAC != want {
			t.Errorf("%+v", a)
		}
	}
}

// Neighbours have to learn the other MAC.
func TestAnotherMACIsAnnounced(t *testing.T) {
	onBench(t, func(b *bench) {
		b.apply(web)
		b.sleep(4 * time.Second)
		b.wire.took()
		b.apply(with(withVirtualMAC))
		if _, answers := b.wire.took(); len(answers) != 1 || !allAt(virtualMAC, answers) || !answers[0].Held || answers[0].Announce != 2 {
			t.Errorf("%+v", answers)
		}
		b.apply(web)
		if _, answers := b.wire.took(); len(answers) != 1 || !allAt([6]byte{}, answers) || !answers[0].Held || answers[0].Announce != 3 {
			t.Errorf("%+v", answers)
		}
	})
}

// A switch that sends our frames back makes no trouble. A Backup sends none, so there
// it is another host with this one's address.
func TestOurOwnFramesAreOurs(t *testing.T) {
	own := func(a *Advertisement, at *Arrival) { a.Priority, at.MAC = 100, virtualMAC }
	claim := func(_ *Advertisement, at *Arrival) { at.Claim, at.MAC = addr("10.0.0.100"), virtualMAC }
	onBench(t, func(b *bench) {
		b.apply(with(withVirtualMAC))
		b.hear("10.0.0.5", own)
		if r := b.router(t, "web"); len(r.Others) != 1 || r.Others[0].Trouble != vip.TroubleSameAddress {
			t.Errorf("%+v", r.Others)
		}
		b.sleep(time.Minute)
		b.wire.took()
		b.hear("10.0.0.5", own)
		b.hear("10.0.0.5", claim)
		b.sleep(2 * time.Second)
		if r := b.router(t, "web"); r.State != vip.RouterActive || len(r.Others) != 0 {
			t.Errorf("%+v", r)
		}
		if received, _ := b.Counts(); received[DropOwn] != 2 {
			t.Errorf("%v", received)
		}
		if _, answers := b.wire.took(); len(answers) != 0 {
			t.Errorf("%+v", answers)
		}
	})
}

// They all have one MAC; what tells them apart is the address.
func TestARivalWithTheVirtualMACIsARival(t *testing.T) {
	onBench(t, func(b *bench) {
		b.apply(with(withVirtualMAC))
		b.sleep(10 * time.Second)
		b.hear("10.0.0.4", func(a *Advertisement, at *Arrival) { a.Priority, at.MAC = 50, virtualMAC })
		r := b.router(t, "web")
		if r.State != vip.RouterActive || len(r.Others) != 1 || r.Others[0].Trouble != vip.TroubleRival || r.Others[0].MAC != "00:00:5e:00:01:33" {
			t.Errorf("%+v", r)
		}
	})
}

// Where both have the virtual MAC the neighbours have nothing to learn, and a router that
// yields says no more of it.
func TestToOneWithTheSameMACNobodyIsHandedOver(t *testing.T) {
	onBench(t, func(b *bench) {
		b.apply(with(withVirtualMAC))
		b.sleep(10 * time.Second)
		b.wire.took()
		b.hear("10.0.0.9", func(_ *Advertisement, at *Arrival) { at.MAC = virtualMAC })
		_, answers := b.wire.took()
		if len(answers) != 1 || !answers[0].Held || answers[0].Announce != 0 || answers[0].Heir != (Heir{}) {
			t.Errorf("%+v", answers)
		}
	})
}
