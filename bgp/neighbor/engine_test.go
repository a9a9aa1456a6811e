package neighbor

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/anyvip/anyvip/pkg/vip"
)

func bubble(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer synctest.Wait()
		defer w.stop()
		f(t, w)
	})
}

func TestAdvertisementsComeThriceASecondApartAndThenEveryTenSeconds(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.apply(up("eth1", 3))
		w.to(10 * time.Minute)
		got := w.times("eth1", "advertisement")
		if got[0] != 0 {
			t.Errorf("the first comes after %s", got[0])
		}
		different := make(map[time.Duration]bool)
		for i := 1; i < len(got); i++ {
			longest := 10 * time.Second
			if i < 3 {
				longest = time.Second
			}
			gap := got[i] - got[i-1]
			if gap > longest || gap <= longest*3/4 {
				t.Errorf("%s between advertisements %d and %d", gap, i, i+1)
			}
			different[gap] = true
		}
		if len(got) < 60 || len(different) < 50 {
			t.Errorf("%d advertisements with %d different intervals", len(got), len(different))
		}
	})
}

func TestARouterIsSolicitedThriceWhileNoneIsHeard(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.apply(up("eth1", 3), up("eth2", 4))
		w.to(5 * time.Second)
		w.hear("eth2", advert(fe80a.WithZone("eth2")))
		w.to(10 * time.Minute)
		if diff := cmp.Diff([]time.Duration{0, 4 * time.Second, 8 * time.Second}, w.times("eth1", "solicitation")); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]time.Duration{0, 4 * time.Second}, w.times("eth2", "solicitation")); diff != "" {
			t.Errorf("where one was heard (-want +got):\n%s", diff)
		}
	})
}

func TestASolicitationIsAnsweredAtOnceAndManyAreNot(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.apply(up("eth1", 3))
		w.to(5 * time.Second)
		before := len(w.times("eth1", "advertisement"))
		w.hear("eth1", solicit())
		if got := w.times("eth1", "advertisement"); len(got) != before+1 || got[before] != 5*time.Second {
			t.Fatalf("no answer: %v", got)
		}
		for range 1000 {
			time.Sleep(10 * time.Millisecond)
			w.hear("eth1", solicit())
		}
		if n := len(w.times("eth1", "advertisement")); n != before+11 {
			t.Errorf("%d answers in 10 s", n-before-1)
		}
		w.hear("eth1", solicit())
		w.to(30 * time.Second)
		got := w.times("eth1", "advertisement")
		if gap := got[len(got)-1] - got[len(got)-2]; gap < 7*time.Second {
			t.Errorf("%s between advertisements after the flood: %v", gap, got)
		}
	})
}

func TestARouterIsKnownWhileItsLinkStaysUp(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.apply(up("eth1", 3))
		if n := w.neighbor("eth1"); n.Address.IsValid() || !strings.Contains(n.Detail, "no router advertisement heard on eth1: is the peer's unnumbered session configured there (FRR: neighbor eth1 interface)") {
			t.Errorf("before: %+v", n)
		}
		w.to(2 * time.Second)
		w.hear("eth1", advert(fe80a))
		since := time.Now()
		want := vip.Neighbor{Address: fe80a, Since: since}
		if n := w.neighbor("eth1"); n != want {
			t.Errorf("heard: %+v", n)
		}
		reports := w.reportCount()
		w.to(time.Hour)
		w.apply(up("eth1", 3))
		w.hear("eth1", advert(fe80a))
		if n := w.reportCount() - reports; n != 0 {
			t.Errorf("%d reports without news", n)
		}

		w.apply(down(up("eth1", 3)))
		if n := w.neighbor("eth1"); n != (vip.Neighbor{}) {
			t.Errorf("down: %+v", n)
		}
		if n := len(w.times("eth1", "close")); n != 1 {
			t.Errorf("closed %d times", n)
		}
		sent := len(w.events["eth1"])
		w.to(2 * time.Hour)
		if n := len(w.events["eth1"]); n != sent {
			t.Errorf("%d events on a link that is down", n-sent)
		}

		w.apply(up("eth1", 3))
		if n := w.neighbor("eth1"); n.Address.IsValid() || !strings.Contains(n.Detail, "no router advertisement") {
			t.Errorf("up again: %+v", n)
		}
		w.to(2*time.Hour + 9*time.Second)
		again := func(what string) (n int) {
			for _, at := range w.times("eth1", what) {
				if at >= 2*time.Hour {
					n++
				}
			}
			return n
		}
		if again("advertisement") < 3 || again("solicitation") != 3 {
			t.Errorf("%d advertisements and %d solicitations after it came up again", again("advertisement"), again("solicitation"))
		}
	})
}

func TestAnotherLinkOfTheSameNameHasNoNeighbourYet(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.apply(up("eth1", 3))
		w.hear("eth1", advert(fe80a))
		w.apply(up("eth1", 7))
		if n := w.neighbor("eth1"); n.Address.IsValid() {
			t.Errorf("%+v", n)
		}
		var got []string
		for _, e := range w.events["eth1"] {
			got = append(got, e.what)
		}
		if diff := cmp.Diff([]string{"open", "advertisement", "solicitation", "close", "open", "advertisement", "solicitation"}, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestALinkThatIsNoLongerWantedIsClosedAndNotReported(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.apply(up("eth1", 3), up("eth2", 4))
		w.hear("eth2", advert(fe80a.WithZone("eth2")))
		w.apply(up("eth2", 4))
		w.mutex.Lock()
		_, there := w.reports[len(w.reports)-1].Neighbors["eth1"]
		w.mutex.Unlock()
		if there || len(w.times("eth1", "close")) != 1 || len(w.times("eth2", "close")) != 0 {
			t.Errorf("eth1 reported: %v; %v", there, w.events)
		}
		if n := w.neighbor("eth2"); !n.Address.IsValid() {
			t.Errorf("the other link lost its neighbour: %+v", n)
		}
		w.apply()
		events := len(w.events["eth1"]) + len(w.events["eth2"])
		w.to(time.Hour)
		if n := len(w.events["eth1"]) + len(w.events["eth2"]); n != events {
			t.Error("something is done although nothing is wanted")
		}
	})
}

func TestWhatIsNoAdvertisementOfAnotherIsNotHeard(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.apply(up("eth1", 3))
		reports := w.reportCount()
		w.hear("eth1", advert(fe80us))
		w.hear("eth1", packet{from: fe80a, hopLimit: 64, data: valid})
		w.hear("eth1", packet{from: netip.MustParseAddr("2001:db8::1"), hopLimit: 255, data: valid})
		w.hear("eth1", packet{from: fe80a, hopLimit: 255, data: valid[:15]})
		w.hear("eth1", packet{})
		if n := w.reportCount() - reports; n != 0 || w.neighbor("eth1").Address.IsValid() {
			t.Errorf("%d reports, %+v", n, w.neighbor("eth1"))
		}
	})
}

func TestALinkThatCannotBeUsedIsTriedAgainEachSecondAtMost(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.set(func() { w.refusal = errors.New("eth1 has no IPv6 link-local address: enable IPv6 there") })
		w.apply(up("eth1", 3))
		if n := w.neighbor("eth1"); n != (vip.Neighbor{Detail: w.refusal.Error()}) {
			t.Errorf("%+v", n)
		}
		w.to(time.Minute)
		got := w.times("eth1", "open")
		if len(got) < 60 || len(got) > 66 || got[1] > 100*time.Millisecond {
			t.Errorf("%d attempts in a minute: %v", len(got), got)
		}
		if n := w.reportCount(); n != 1 {
			t.Errorf("%d reports of the same trouble", n)
		}

		const came = time.Minute + 500*time.Millisecond
		w.to(came)
		w.apply(up("eth1", 3, "fe80::1/64"))
		w.set(func() { w.refusal = nil })
		w.to(came + 100*time.Millisecond)
		if got := w.times("eth1", "open")[len(got):]; !slices.Equal(got[len(got)-2:], []time.Duration{came, came + firstRetry}) {
			t.Errorf("attempts after an address came: %v", got)
		}
		if n := w.neighbor("eth1"); !strings.Contains(n.Detail, "no router advertisement") {
			t.Errorf("%+v", n)
		}
	})
}

func TestARouterIsHeardWhileNothingCanBeSent(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.set(func() { w.broken = errors.New("forbidden") })
		w.apply(up("eth1", 3))
		w.to(time.Minute)
		w.hear("eth1", advert(fe80a))
		want := vip.Neighbor{Address: fe80a, Since: time.Now(), Detail: "send a router advertisement on eth1: forbidden"}
		if n := w.neighbor("eth1"); n != want {
			t.Errorf("%+v", n)
		}
		w.set(func() { w.broken = nil })
		w.to(time.Minute + time.Second)
		want.Detail = ""
		if n := w.neighbor("eth1"); n != want || len(w.times("eth1", "advertisement")) == 0 {
			t.Errorf("afterwards: %+v", n)
		}
	})
}

func TestASocketThatWorkedForLongIsReopenedWithoutDelay(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.set(func() { w.refusal = errors.New("refused") })
		w.apply(up("eth1", 3))
		w.to(time.Minute)
		w.set(func() { w.refusal = nil })
		w.to(2 * time.Minute)
		w.wires["eth1"].fault <- errors.New("network is down")
		w.to(2*time.Minute + firstRetry)
		if got := w.times("eth1", "open"); got[len(got)-1] != 2*time.Minute+firstRetry {
			t.Errorf("%v", got)
		}
	})
}

func TestTheNeighbourStaysKnownWhileASocketFails(t *testing.T) {
	for _, test := range []struct {
		what  string
		fault func(w *world)
	}{
		{"receive", func(w *world) { w.wires["eth1"].fault <- errors.New("network is down") }},
		{"send", func(w *world) { w.set(func() { w.broken = errors.New("network is down") }) }},
	} {
		t.Run(test.what, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.apply(up("eth1", 3))
				w.hear("eth1", advert(fe80a))
				known := w.neighbor("eth1")
				w.to(5 * time.Second)
				w.set(func() { w.refusal = errors.New("refused") })
				test.fault(w)
				w.to(20 * time.Second)
				if n := w.neighbor("eth1"); n.Address != known.Address || n.Detail != "refused" {
					t.Errorf("%+v", n)
				}
				if len(w.times("eth1", "close")) != 1 {
					t.Error("the old socket is open")
				}
				w.set(func() { w.refusal, w.broken = nil, nil })
				w.to(22 * time.Second)
				if n := w.neighbor("eth1"); n != known {
					t.Errorf("afterwards: %+v", n)
				}
			})
		})
	}
}

func TestASocketThatNeverWorksIsNotReopenedInALoop(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.set(func() { w.broken = errors.New("network is unreachable") })
		w.apply(up("eth1", 3))
		w.to(time.Minute)
		if n := len(w.times("eth1", "open")); n > 66 {
			t.Errorf("opened %d times in a minute", n)
		}
		if n := w.neighbor("eth1"); n.Detail != "send a router advertisement on eth1: network is unreachable" {
			t.Errorf("%+v", n)
		}
	})
}

func TestASocketWhoseAddressIsGoneIsOpenedAgain(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.apply(up("eth1", 3))
		w.hear("eth1", advert(fe80a))
		known := w.neighbor("eth1")
		w.apply(up("eth1", 3, "fe80::1/64"))
		w.apply(up("eth1", 3, "fe80::1/64", "2001:db8::1/64"))
		if n := len(w.times("eth1", "open")); n != 1 {
			t.Errorf("opened %d times although its address stayed", n)
		}
		w.apply(up("eth1", 3, "fe80::2/64", "2001:db8::1/64"))
		if n := len(w.times("eth1", "open")); n != 2 {
			t.Errorf("opened %d times", n)
		}
		if n := w.neighbor("eth1"); n != known {
			t.Errorf("%+v", n)
		}
		w.to(3 * time.Second)
		if n := len(w.times("eth1", "advertisement")); n != 1+3 {
			t.Errorf("%d advertisements, with the old and the new address", n)
		}
	})
}

func TestANewSocketSolicitsAnew(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.apply(up("eth1", 3))
		w.to(time.Minute)
		w.wires["eth1"].fault <- errors.New("network is down")
		w.to(2 * time.Minute)
		if n := len(w.times("eth1", "solicitation")); n != 6 {
			t.Errorf("%d solicitations", n)
		}
	})
}

func TestASilentRouterIsAskedBesideASecondOneAndThenReplaced(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.applyInUse(true, up("eth1", 3))
		w.hear("eth1", advert(fe80a))
		w.to(100 * time.Second)
		solicited := len(w.times("eth1", "solicitation"))
		w.hear("eth1", advert(fe80b))
		if n := w.neighbor("eth1"); n.Address != fe80a || !strings.Contains(n.Detail, "a second router, fe80::b%eth1") {
			t.Errorf("%+v", n)
		}
		w.to(124 * time.Second)
		w.hear("eth1", advert(fe80b))
		got := w.times("eth1", "solicitation")[solicited:]
		if len(got) < 6 || slices.ContainsFunc(got, func(at time.Duration) bool { return at < 100*time.Second }) {
			t.Errorf("asked at %v", got)
		}
		w.to(131 * time.Second)
		w.hear("eth1", advert(fe80b))
		if n := w.neighbor("eth1"); n != (vip.Neighbor{Address: fe80b, Since: time.Now()}) {
			t.Errorf("%+v", n)
		}
		replaced := len(w.times("eth1", "solicitation"))
		w.to(10 * time.Minute)
		if n := len(w.times("eth1", "solicitation")); n != replaced {
			t.Error("still asked when only one router is left")
		}
	})
}

// A router that was replaced while its link stayed up: as soon as nobody talks
// with it any more, the new one is taken within seconds.
func TestARouterThatNobodyTalksWithIsReplacedSoon(t *testing.T) {
	for name, test := range map[string]struct {
		answers bool // the old one does
		want    netip.Addr
	}{
		"it is gone":  {false, fe80b},
		"it is there": {true, fe80a},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.applyInUse(true, up("eth1", 3))
				w.hear("eth1", advert(fe80a))
				w.to(100 * time.Second)
				w.hear("eth1", advert(fe80a))
				w.hear("eth1", advert(fe80b))
				w.to(109 * time.Second)
				solicited := len(w.times("eth1", "solicitation"))
				w.applyInUse(false, up("eth1", 3)) // hold time expired
				if got := w.times("eth1", "solicitation")[solicited:]; !slices.Equal(got, []time.Duration{109 * time.Second}) {
					t.Errorf("asked at %v, want at once", got)
				}
				w.to(112500 * time.Millisecond)
				if test.answers {
					w.hear("eth1", advert(fe80a))
				}
				w.to(113900 * time.Millisecond)
				w.hear("eth1", advert(fe80b))
				if n := w.neighbor("eth1"); n.Address != fe80a {
					t.Errorf("%+v before an answer is late", n)
				}
				w.to(114 * time.Second)
				w.hear("eth1", advert(fe80b))
				if n := w.neighbor("eth1"); n.Address != test.want {
					t.Errorf("%+v", n)
				}
			})
		})
	}
}

func TestAnAddressThatIsTentativeIsTriedFiveTimesASecond(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.set(func() { w.refusal = explain("eth1", syscall.EADDRNOTAVAIL) })
		w.apply(up("eth1", 3))
		w.to(2 * time.Second)
		if n := w.neighbor("eth1"); !strings.Contains(n.Detail, "the link-local address of eth1 cannot be used yet: it is tentative") {
			t.Errorf("%+v", n)
		}
		got := w.times("eth1", "open")
		for i, at := range got[1:] {
			if gap := at - got[i]; gap > 200*time.Millisecond {
				t.Errorf("tried after %s", gap)
			}
		}
		if len(got) < 10 || len(got) > 13 {
			t.Errorf("%d attempts in 2 s", len(got))
		}
	})
}

func TestThatASecondRouterWentAwayIsSaid(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.apply(up("eth1", 3))
		w.hear("eth1", advert(fe80a))
		w.hear("eth1", advert(fe80b))
		w.to(59 * time.Second)
		if n := w.neighbor("eth1"); n.Detail == "" {
			t.Error("forgotten too early")
		}
		w.to(71 * time.Second)
		if n := w.neighbor("eth1"); n.Detail != "" || n.Address != fe80a {
			t.Errorf("%+v", n)
		}
	})
}
