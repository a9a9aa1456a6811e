package bench

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/anyvip/anyvip/lab/watch"
)

func TestTheSnifferTellsOfAdvertisementsAndOfTheFirstAndTheLastClaim(t *testing.T) {
	var told []string
	s := spotter{within: netip.MustParsePrefix(keptRange), count: 2, claims: map[[6]byte]*presence{}, emit: func(s sighting) {
		text := fmt.Sprintf("%d %s from %s", s.Time.Unix(), s.What, s.From[len(s.From)-2:])
		if s.What == advertised {
			text += fmt.Sprintf(", VRID %d, priority %d", s.VRID, s.Priority)
		}
		told = append(told, text)
	}}
	second := int64(0)
	take := func(from byte, data []byte) {
		second++
		s.take(watch.Packet{Time: time.Unix(second, 0), MAC: [6]byte{2, 0, 0, 0, 0, from}, Data: data})
	}
	arp := func(sender, target string) []byte {
		b := []byte{0, 1, 8, 0, 6, 4, 0, 1, 13: 0}
		b = append(b, netip.MustParseAddr(sender).AsSlice()...)
		b = append(b, 0, 0, 0, 0, 0, 0)
		return append(b, netip.MustParseAddr(target).AsSlice()...)
	}
	const vip, other = "10.78.128.1", "10.78.128.2"
	advertisement := func(priority byte) []byte {
		return append([]byte{0x45, 9: vrrpProtocol, 19: 0}, 0x31, 7, priority, 1, 0, 100, 0, 0)
	}

	take(1, advertisement(150))          // 1
	take(1, arp(vip, vip))               // 2: the first
	take(1, arp(vip, vip))               // 3: again
	take(1, arp("10.78.0.1", other))     // 4: a question
	take(1, arp(other, other))           // 5: the last
	take(1, advertisement(0))            // 6: it leaves
	take(2, advertisement(100))          // 7
	take(2, arp(vip, vip))               // 8: the first of another
	take(1, arp(other, other))           // 9: what it announced before is void
	take(2, advertisement(0))            // 10: it leaves, and makes nothing void
	take(2, arp(other, other))           // 11: the last
	take(2, arp("10.9.9.9", "10.9.9.9")) // 12: no VIP
	take(2, []byte{0x45, 19: 0})         // 13: cut short

	want := []string{
		"1 advertisement from 01, VRID 7, priority 150", "2 first claim from 01", "5 last claim from 01",
		"6 advertisement from 01, VRID 7, priority 0", "7 advertisement from 02, VRID 7, priority 100", "8 first claim from 02", "9 first claim from 01",
		"10 advertisement from 02, VRID 7, priority 0", "11 last claim from 02",
	}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("sightings (-want +got):\n%s", diff)
	}
}

func TestFailoversAndTheTimeBetweenAdvertisements(t *testing.T) {
	ad := func(ms int, from string, vrid, priority uint8) sighting {
		return sighting{Time: time.UnixMilli(int64(ms)), What: advertised, From: from, VRID: vrid, Priority: priority}
	}
	list := []sighting{
		ad(0, mac1, 1, 150), ad(10, mac1, 1, 150), ad(47, mac2, 1, 100), // one
		ad(48, mac1, 1, 150), ad(49, mac2, 1, 100), // it yields, and says so
		ad(58, mac1, 1, 150), ad(59, mac2, 1, 0), ad(200, mac2, 1, 100), // two
	}
	if n := failovers(list); n != 2 {
		t.Errorf("%d failovers, want 2", n)
	}
	got := spacing([]sighting{ad(0, mac1, 1, 150), ad(3, mac1, 2, 150), ad(10, mac1, 1, 150), ad(14, mac1, 2, 150)})
	if diff := cmp.Diff(durations{10 * time.Millisecond, 11 * time.Millisecond}, got); diff != "" {
		t.Errorf("between the advertisements of each router (-want +got):\n%s", diff)
	}
}

func TestTheProberCountsWhatWasNeverAnswered(t *testing.T) {
	begun := time.Now()
	p := &prober{last: begun, answered: make([]bool, 5)}
	for _, number := range []uint64{0, 1, 4, 99} { // the last is none of ours
		p.answer(number, begun.Add(time.Duration(number)*20*time.Millisecond))
	}
	p.last = time.Now()
	first := p.sum()
	if first.Asked != 5 || first.Lost != 2 {
		t.Errorf("%+v, want 2 of 5 lost", first)
	}
	if want := 95 * 20 * time.Millisecond; first.Gap != want {
		t.Errorf("gap %s, want %s", first.Gap, want)
	}
	p.answered = append(p.answered, false)
	p.answer(5, time.Now())
	if next := p.sum(); next.Asked != 1 || next.Lost != 0 {
		t.Errorf("%+v, want 1 that was answered: the numbers go on", next)
	}
}
