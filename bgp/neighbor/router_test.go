package neighbor

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

var (
	epoch = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	fe80a = netip.MustParseAddr("fe80::a%eth1")
	fe80b = netip.MustParseAddr("fe80::b%eth1")
	fe80c = netip.MustParseAddr("fe80::c%eth1")
)

func at(seconds float64) time.Time {
	return epoch.Add(time.Duration(seconds * float64(time.Second)))
}

func TestWhichRouterIsKnown(t *testing.T) {
	type advert struct {
		from    netip.Addr
		seconds []float64
	}
	every := func(from netip.Addr, first, interval, last float64) advert {
		a := advert{from: from}
		for s := first; s <= last; s += interval {
			a.seconds = append(a.seconds, s)
		}
		return a
	}
	for name, test := range map[string]struct {
		adverts []advert // merged by time
		now     float64
		want    netip.Addr
		since   float64
		detail  string // part of it
	}{
		"silence":                          {now: 100, detail: "no router advertisement heard on eth1"},
		"one advertisement":                {adverts: []advert{{fe80a, []float64{1}}}, now: 1, want: fe80a, since: 1},
		"a router that falls silent stays": {adverts: []advert{{fe80a, []float64{1}}}, now: 100_000, want: fe80a, since: 1},
		"a router that goes on, since the first time": {adverts: []advert{every(fe80a, 1, 10, 500)}, now: 500, want: fe80a, since: 1},
		"a second one changes nothing while the first advertises": {adverts: []advert{every(fe80a, 0, 10, 500), every(fe80b, 5, 10, 500)}, now: 500,
			want: fe80a, detail: "second router, fe80::b%eth1, is heard on eth1"},
		"a second one beside a first that has just fallen silent":         {adverts: []advert{{fe80a, []float64{0}}, every(fe80b, 5, 10, 29)}, now: 29, want: fe80a, detail: "fe80::b"},
		"a second one once the first has been silent beside it":           {adverts: []advert{{fe80a, []float64{0}}, every(fe80b, 5, 10, 35)}, now: 35, want: fe80b, since: 35},
		"a second one that has long been there, once the first is silent": {adverts: []advert{every(fe80a, 0, 10, 150), every(fe80b, 5, 10, 185)}, now: 185, want: fe80b, since: 185},
		"silence before the second one came does not count":               {adverts: []advert{{fe80a, []float64{0}}, every(fe80b, 500, 10, 525)}, now: 525, want: fe80a, detail: "fe80::b"},
		"a first one that answers late":                                   {adverts: []advert{{fe80a, []float64{0, 29}}, every(fe80b, 5, 10, 45)}, now: 45, want: fe80a, detail: "fe80::b"},
		"a second one that is heard too seldom to have been compared":     {adverts: []advert{{fe80a, []float64{0}}, every(fe80b, 5, 100, 500)}, now: 500, want: fe80a},
		"a second one that went away is forgotten":                        {adverts: []advert{every(fe80a, 0, 10, 200), {fe80b, []float64{5}}}, now: 70, want: fe80a},
		"a third one does not make the second look new":                   {adverts: []advert{{fe80a, []float64{0}}, every(fe80b, 5, 10, 35), every(fe80c, 6, 10, 34)}, now: 35, want: fe80b, since: 35},
		"a third one gets its turn when the second is stale":              {adverts: []advert{{fe80a, []float64{0}}, {fe80b, []float64{5}}, every(fe80c, 6, 10, 100)}, now: 100, want: fe80c, since: 96},
		"the first one comes back as the second after it was replaced":    {adverts: []advert{{fe80a, []float64{0, 50}}, every(fe80b, 5, 10, 55)}, now: 55, want: fe80b, since: 35, detail: "second router, fe80::a"},
	} {
		t.Run(name, func(t *testing.T) {
			var r router
			for s := 0.0; s <= test.now; s++ {
				for _, a := range test.adverts {
					for _, when := range a.seconds {
						if when == s {
							r.advertised(a.from, at(s), true)
						}
					}
				}
			}
			if r.address != test.want || test.want.IsValid() && !r.since.Equal(at(test.since)) {
				t.Errorf("known: %v since %v", r.address, r.since.Sub(epoch))
			}
			if got := r.detail("eth1", at(test.now)); !strings.Contains(got, test.detail) || (got == "") != (test.detail == "") {
				t.Errorf("detail: %q", got)
			}
		})
	}
}

// A firewall that lets no question out leaves silence as the only sign.
func TestARouterThatCannotBeAskedIsReplacedLate(t *testing.T) {
	var r router
	r.advertised(fe80a, at(0), false)
	for s := 5.0; s <= 35; s += 10 {
		if r.address != fe80a {
			t.Errorf("replaced before %v s", s)
		}
		r.advertised(fe80b, at(s), false)
	}
	if r.address != fe80b {
		t.Errorf("%+v", r)
	}
}

func TestWhetherARouterIsAskedForItsPresence(t *testing.T) {
	r := router{address: fe80a, since: at(0), heard: at(100)}
	if r.doubtful(at(1000), true) || r.doubtful(at(1000), false) {
		t.Error("alone")
	}
	r.advertised(fe80b, at(101), true)
	if r.doubtful(at(114), true) {
		t.Error("not quiet for long")
	}
	if !r.doubtful(at(101), false) {
		t.Error("not asked at once although nobody talks with it")
	}
	if !r.doubtful(at(115), true) {
		t.Error("not asked although it has been quiet for 15 s beside a second one")
	}
	r.advertised(fe80a, at(116), true)
	if r.doubtful(at(116), true) {
		t.Error("it answered")
	}
	if r.doubtful(at(162), true) {
		t.Error("the second one has been gone for a minute")
	}
}
