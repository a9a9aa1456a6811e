package bench

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// routers measures many virtual routers, and one with many VIPs: what they cost while nothing happens, and how long it
// takes until the last VIP is announced when the other server takes over.
func (b *bench) routers(ctx context.Context) ([]table, error) {
	t := table{
		title: "VRRP: many virtual routers, and many VIPs",
		method: fmt.Sprintf("The same two servers. CPU is user and system time over %s while nothing happens, in percent of one core, and memory is RSS, of the daemon and its children; anyvip renews the VIPs' lifetimes "+
			"meanwhile. Then the Active server falls silent, as above. Announced: from the first advertisement of its successor until all VIPs were announced by ARP. Late: by how much the longest time between two "+
			"advertisements of one virtual router exceeds the interval, in the %s behind the takeover, announcements included. A router with 1,000 VIPs advertises %d of them; the others ride along "+
			"(`unadvertised`, `virtual_ipaddress_excluded`).", b.Size.rest, b.Size.aftermath, mostAdvertised),
		columns: []string{"Routers", "VIPs", "Interval", "Daemon", "announced p50 ms", "max", "of best peer", "late p50 ms", "max", "Active CPU %", "of best peer", "MiB", "of best peer", "Backup CPU %", "MiB", "count"},
	}
	if len(b.Size.elections) == 0 {
		return nil, nil
	}
	var errs failures
	for _, e := range b.Size.elections {
		got := make([]burden, len(compared))
		for i, k := range compared {
			err := b.twice(ctx, fmt.Sprintf("routers: %s, %s virtual routers, %s, every %s", k.name, count(e.routers), vips(e.all()), e.interval), func() (err error) {
				got[i], err = b.bear(ctx, pairPlan{keeper: k, election: e})
				return err
			})
			if errs.stop(ctx, err) {
				return nil, err
			}
		}
		t.addBurdens(e, got)
		b.aimBurden(e, got[0], got[1])
	}
	return []table{t}, errs.join()
}

// burden is what many virtual routers, or VIPs, cost.
type burden struct {
	active, backup idle
	begun          durations // from the takeover until the first VIP was announced
	announced      durations // and until the last one was
	late           durations // the latest advertisement of each takeover
}

func (b *bench) bear(ctx context.Context, plan pairPlan) (got burden, err error) {
	s, pairs, err := b.upPairs(ctx, plan)
	if err != nil {
		return got, err
	}
	defer s.down(&err)
	p := pairs[0]
	if err = wait(ctx, b.Size.aftermath); err != nil {
		return got, err
	}
	servers, err := usageOver(ctx, p.lab, b.Size.rest, p.node("s1"), p.node("s2"))
	if err != nil {
		return got, err
	}
	got.active, got.backup = servers[0], servers[1]
	for i := range b.Size.losses {
		if err := p.lose(ctx, b.Size.aftermath, &got); err != nil {
			return got, err
		}
		if i == b.Size.losses-1 {
			break
		}
		again := time.Now()
		if err := partingSilence.repair(ctx, p); err != nil {
			return got, err
		}
		if err := p.settle(ctx, again); err != nil {
			return got, err
		}
		if err := wait(ctx, time.Second); err != nil { // s2 removes its VIPs
			return got, err
		}
	}
	return got, p.intact()
}

// lose silences s1 and measures the takeover of s2.
func (p *pair) lose(ctx context.Context, aftermath time.Duration, got *burden) error {
	silence, err := partingSilence.ready(ctx, p)
	if err != nil {
		return err
	}
	at, err := silence()
	if err != nil {
		return err
	}
	first, begin, err := p.succeeded(ctx, at, firstClaim)
	if err != nil {
		return err
	}
	_, last, err := p.succeeded(ctx, at, lastClaim)
	if err != nil {
		return err
	}
	if err := wait(ctx, aftermath); err != nil {
		return err
	}
	got.begun = append(got.begun, begin.Time.Sub(first.Time))
	got.announced = append(got.announced, last.Time.Sub(first.Time))
	behind := p.sightings.All(func(s sighting) bool { return s.active(mac2) && !s.Time.Before(first.Time) })
	got.late = append(got.late, max(0, spacing(behind).at(100)-p.interval))
	return nil
}

// spacing is the time between each advertisement and the next of the same virtual router.
func spacing(list []sighting) (between durations) {
	before := map[uint8]time.Time{}
	for _, s := range list {
		if t, ok := before[s.VRID]; ok {
			between = append(between, s.Time.Sub(t))
		}
		before[s.VRID] = s.Time
	}
	return between
}

// addBurdens adds a row for each keeper that was measured.
func (t *table) addBurdens(e election, got []burden) {
	var announced, cpu, resident []float64 // the peers'
	for _, g := range got[1:] {
		announced, cpu, resident = append(announced, float64(g.announced.at(50))), append(cpu, g.active.cpu), append(resident, float64(g.active.resident))
	}
	for i, g := range got {
		if len(g.announced) == 0 {
			continue
		}
		t.add(slices.Concat(e.cells(), []string{compared[i].name}, middleAndMost(g.announced), []string{times(float64(g.announced.at(50)), announced...)}, middleAndMost(g.late),
			[]string{digits(g.active.cpu), times(g.active.cpu, cpu...), mebibytes(g.active.resident), times(float64(g.active.resident), resident...),
				digits(g.backup.cpu), mebibytes(g.backup.resident), count(len(g.announced))})...)
	}
}

// onTime is by how much an advertisement may be late.
const onTime = 10 * time.Millisecond

// aimBurden compares with the targets.
func (b *bench) aimBurden(e election, ours, theirs burden) {
	if len(ours.announced) == 0 || e.all() < 1_000 {
		return
	}
	what := fmt.Sprintf("VRRP at %s: 1,000 VIPs, ", e.interval)
	why := fmt.Sprintf("The first one is announced %s ms after the takeover (median), and the others within %s ms more. keepalived's first one: %s ms, the others: %s ms more. "+
		"anyvip adds, announces and advertises at the same time, on threads that share the cores with each other and with what else the agent does about 1,000 new addresses; keepalived does one after the other: see late.",
		millis(ours.begun.at(50)), millis(ours.announced.at(50)-ours.begun.at(50)), millis(theirs.begun.at(50)), millis(theirs.announced.at(50)-theirs.begun.at(50)))
	b.aim(what+"the last one announced after the takeover, max", ours.announced.at(100).Seconds()*1e3, 40, " ms", why)
	b.aim(what+"the latest advertisement late by, max", ours.late.at(100).Seconds()*1e3, onTime.Seconds()*1e3, " ms", "")
}
