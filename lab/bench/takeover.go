package bench

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// pace is how often partings are measured at an Advertisement_Interval.
type pace struct {
	interval time.Duration
	turns    int
	partings []parting
}

// compared are the keepers that take over from each other, anyvip first.
var compared = []keeper{anyvipKeeper, keepalived}

// patient is an interval at which all keepers are measured at the same time: they do nothing but wait.
const patient = time.Second

// takeovers are the samples of one pair and one parting.
type takeovers struct {
	advertisement durations   // from the last one of s1 to the first one of s2
	announcement  durations   // from the parting to the first ARP announcement of s2
	gap           durations   // the client's longest time without an answer
	lost          sample[int] // probes without an answer
}

// takeover measures how long it takes until the other server has taken over, on the wire and for a client.
func (b *bench) takeover(ctx context.Context) ([]table, error) {
	t := table{
		title: "VRRP: a server is lost, and the other takes over",
		method: fmt.Sprintf("Two servers with the same daemon, priorities %d and %d, a client and a switch; one virtual router, version 3, with one VIP. Again and again the Active server is lost, each time at another "+
			"moment of the interval, and returns. Advertisement: from its last one to the first one of its successor, so a SIGTERM counts from the goodbye. ARP: from what happened to the first ARP announcement of the "+
			"successor. Both are the kernel's time stamps at the client, one clock. Gap: the longest time in which the client, which sends an ICMP echo request to the VIP every millisecond, had no answer; lost: "+
			"requests that were never answered. kill -9: all processes of the daemon at once; the kernel of that host goes on answering, with keepalived for ever, with anyvip until its lifetimes are over. Link cut: at the "+
			"switch. Silent host: the switch forwards nothing from it or to it, and its link stays up. At 1 s both daemons are measured at the same time. keepalived 2.2.7 and later wait alike: Active_Down_Interval is the "+
			"protocol's, 3.61 times the interval with priority %[2]d.", priority1, priority2),
		columns: []string{"Interval", "Event", "Daemon", "advertisement p50 ms", "max", "of best peer", "ARP p50 ms", "max", "gap p50 ms", "max", "of best peer", "lost p50", "max", "count"},
	}
	var errs failures
	for _, pc := range b.Size.paces {
		results := make([][]takeovers, len(compared)) // by keeper, then by parting
		for _, together := range pc.groups() {
			err := b.twice(ctx, fmt.Sprintf("takeover: %s, %d turns", pc.interval, pc.turns), func() error {
				return b.takeOverOften(ctx, pc, together, results)
			})
			if errs.stop(ctx, err) {
				return nil, err
			}
		}
		for i, what := range pc.partings {
			t.addTakeovers(pc, what, i, results)
			b.aimTakeover(pc, what, i, results)
		}
	}
	return []table{t}, errs.join()
}

// groups are the keepers, by place, that are measured at the same time.
func (pc pace) groups() (groups [][]int) {
	for i := range compared {
		if pc.interval < patient || i == 0 {
			groups = append(groups, nil)
		}
		last := len(groups) - 1
		groups[last] = append(groups[last], i)
	}
	return groups
}

// takeOverOften measures some keepers at the same time.
func (b *bench) takeOverOften(ctx context.Context, pc pace, which []int, results [][]takeovers) (err error) {
	var plans []pairPlan
	for _, i := range which {
		plans = append(plans, pairPlan{keeper: compared[i], election: election{routers: 1, vips: 1, interval: pc.interval}})
	}
	s, pairs, err := b.upPairs(ctx, plans...)
	if err != nil {
		return err
	}
	defer s.down(&err)
	for _, p := range pairs {
		if err := p.startProbes(ctx); err != nil {
			return err
		}
	}
	var working sync.WaitGroup
	errs := make([]error, len(pairs))
	for n, p := range pairs {
		working.Go(func() { results[which[n]], errs[n] = p.partOften(ctx, pc) })
	}
	working.Wait()
	var failed failures
	for _, err := range errs {
		failed.stop(ctx, err)
	}
	return failed.join()
}

// partOften lets each parting happen again and again.
func (p *pair) partOften(ctx context.Context, pc pace) (results []takeovers, err error) {
	if err := p.settle(ctx, time.Time{}); err != nil { // probes are answered, too
		return nil, err
	}
	for n, what := range pc.partings {
		var got takeovers
		for i := range pc.turns {
			if err := p.part(ctx, what, time.Duration(2*i+1)*pc.interval/time.Duration(2*pc.turns), &got); err != nil {
				return nil, fmt.Errorf("%s: %w", what.name, err)
			}
			if n == len(pc.partings)-1 && i == pc.turns-1 {
				break // nobody needs it any more
			}
			again := time.Now()
			if err := what.repair(ctx, p); err != nil {
				return nil, fmt.Errorf("%s: %w", what.name, err)
			}
			if err := p.settle(ctx, again); err != nil {
				return nil, fmt.Errorf("after %s: %w", what.name, err)
			}
		}
		results = append(results, got)
	}
	return results, nil
}

// part lets one parting happen, some time after an advertisement, and measures.
func (p *pair) part(ctx context.Context, what parting, after time.Duration, got *takeovers) error {
	do, err := what.ready(ctx, p)
	if err != nil {
		return err
	}
	if _, err := p.sumProbes(ctx); err != nil {
		return err
	}
	now := time.Now()
	if _, err := p.sighted(ctx, "an advertisement of s1", func(s sighting) bool { return s.active(mac1) && s.Time.After(now) }); err != nil {
		return err
	}
	if err := wait(ctx, after); err != nil {
		return err
	}
	at, err := do()
	if err != nil {
		return err
	}
	first, claim, err := p.succeeded(ctx, at, firstClaim)
	if err != nil {
		return err
	}
	if err := wait(ctx, handedOver); err != nil {
		return err
	}
	probes, err := p.sumProbes(ctx)
	if err != nil {
		return err
	}
	before := p.sightings.All(func(s sighting) bool { return s.What == advertised && s.From == mac1 && s.Time.Before(first.Time) })
	got.advertisement = append(got.advertisement, first.Time.Sub(before[len(before)-1].Time))
	got.announcement = append(got.announcement, claim.Time.Sub(at))
	got.gap, got.lost = append(got.gap, probes.Gap), append(got.lost, probes.Lost)
	return nil
}

// succeeded waits until s2 has advertised, and has announced its first or its last VIP.
func (p *pair) succeeded(ctx context.Context, at time.Time, which string) (first, claim sighting, err error) {
	first, err = p.sighted(ctx, "s2 takes over", func(s sighting) bool { return s.active(mac2) && s.Time.After(at) })
	if err == nil {
		claim, err = p.sighted(ctx, "s2 announces", func(s sighting) bool { return s.What == which && s.From == mac2 && s.Time.After(at) })
	}
	return first, claim, err
}

// addTakeovers adds a row for each keeper that was measured.
func (t *table) addTakeovers(pc pace, what parting, place int, results [][]takeovers) {
	var advertisements, gaps []float64 // the peers' medians
	for _, r := range results[1:] {
		if r != nil {
			advertisements, gaps = append(advertisements, float64(r[place].advertisement.at(50))), append(gaps, float64(r[place].gap.at(50)))
		}
	}
	for i, r := range results {
		if r == nil {
			continue
		}
		got := r[place]
		cells := slices.Concat([]string{pc.interval.String(), what.name, compared[i].name}, middleAndMost(got.advertisement), []string{times(float64(got.advertisement.at(50)), advertisements...)},
			middleAndMost(got.announcement), middleAndMost(got.gap), []string{times(float64(got.gap.at(50)), gaps...), count(got.lost.at(50)), count(got.lost.at(100)), count(len(got.lost))})
		t.add(cells...)
	}
}

// middleAndMost are the cells for a small sample: p50, max.
func middleAndMost(s durations) []string { return []string{millis(s.at(50)), millis(s.at(100))} }

// aimTakeover compares with the targets.
func (b *bench) aimTakeover(pc pace, what parting, place int, results [][]takeovers) {
	if results[0] == nil {
		return
	}
	ours := results[0][place]
	switch what.name {
	case partingStop.name:
		lost := ours.lost.at(50)
		b.targets = append(b.targets, target{what: fmt.Sprintf("VRRP at %s: polite stop, probes lost, median", pc.interval), limit: "0", measured: count(lost), met: lost == 0})
	case partingSilence.name:
		if results[1] == nil {
			return
		}
		theirs := results[1][place]
		advertisement, _ := ratio(float64(ours.advertisement.at(50)), float64(theirs.advertisement.at(50)))
		gap, _ := ratio(float64(ours.gap.at(50)), float64(theirs.gap.at(50)))
		b.aim(fmt.Sprintf("VRRP at %s: silent host, advertisement and client's gap, the worse median beside keepalived's", pc.interval), max(advertisement, gap), 1.1, " x", "")
	}
}
