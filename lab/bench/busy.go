package bench

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"
)

// hasty is the Advertisement_Interval on a busy machine: the shortest there is.
const hasty = 10 * time.Millisecond

// strained are the keepers that are compared on a busy machine, anyvip first.
var strained = []keeper{anyvipKeeper, keepalived, keepalivedRTP, anyvipPlain}

// busy measures how late advertisements are when all processors have something else to do, and whether the other server
// takes that for a death.
func (b *bench) busy(ctx context.Context) ([]table, error) {
	loops := 2 * runtime.NumCPU()
	t := table{
		title: "VRRP: a busy machine",
		method: fmt.Sprintf("Pairs of servers as above, one for each daemon, all at the same time, with advertisements every %s, while %d loops that do nothing keep %d cores busy for %s (in the daemons' session: the kernel shares "+
			"out by session else). A false failover is an advertisement of the Backup after %s without one: it has heard nothing for 36 ms. Between: the time from one advertisement of the Active router to the next, on the wire. "+
			"anyvip takes real-time priority for VRRP where it may (CAP_SYS_NICE), keepalived where its configuration says so.", hasty, loops, runtime.NumCPU(), b.Size.strain, afresh*hasty),
		columns: []string{"Daemon", "false failovers", "advertisements", "between p50 ms", "p99", "max"},
	}
	if b.Size.strain == 0 {
		return nil, nil
	}
	keepers := strained[:b.Size.strained]
	var got [][]sighting
	err := b.twice(ctx, fmt.Sprintf("busy: %d pairs, %d loops, %s", len(keepers), loops, b.Size.strain), func() (err error) {
		got, err = b.strainAll(ctx, keepers, loops)
		return err
	})
	if err != nil {
		return nil, err
	}
	for i, k := range keepers {
		ours := spacing(slices.DeleteFunc(slices.Clone(got[i]), func(s sighting) bool { return !s.active(mac1) }))
		t.add(append([]string{k.name, count(failovers(got[i])), count(len(ours))}, percentiles(ours)...)...)
	}
	n := failovers(got[0])
	b.targets = append(b.targets, target{what: fmt.Sprintf("VRRP at %s: false failovers in %s on a busy machine", hasty, b.Size.strain), limit: "0", measured: count(n), met: n == 0})
	return []table{t}, nil
}

// strainAll brings a pair up for each keeper, makes the machine busy, and returns what each pair advertised meanwhile.
func (b *bench) strainAll(ctx context.Context, keepers []keeper, loops int) (got [][]sighting, err error) {
	var plans []pairPlan
	for _, k := range keepers {
		plans = append(plans, pairPlan{keeper: k, election: election{routers: 1, vips: 1, interval: hasty}})
	}
	s, pairs, err := b.upPairs(ctx, plans...)
	if err != nil {
		return nil, err
	}
	defer s.down(&err)
	from := time.Now()
	if err := s.strain(ctx, pairs[0].node("client"), loops, b.Size.strain); err != nil {
		return nil, err
	}
	until := time.Now()
	for _, p := range pairs {
		if err := p.settle(ctx, until); err != nil { // all that came before is read, too
			return nil, err
		}
		got = append(got, p.sightings.All(func(s sighting) bool {
			return s.What == advertised && s.Time.After(from) && s.Time.Before(until)
		}))
	}
	return got, nil
}

// strain keeps processors busy for a time, with loops in a node.
func (s *stage) strain(ctx context.Context, node string, loops int, d time.Duration) error {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	for range loops {
		loop := s.lab.Command(ctx, node, "sh", "-c", "while :; do :; done")
		if err := loop.Start(); err != nil {
			return err
		}
		running.Go(func() { _ = loop.Wait() }) // killed
	}
	return wait(ctx, d)
}

// afresh is after how many intervals without one an advertisement of the Backup is a new failover: a router that yields
// may say twice that it was there.
const afresh = 5

// failovers counts how often s2 took over.
func failovers(list []sighting) (n int) {
	var last time.Time
	for _, s := range list {
		if s.active(mac2) {
			if s.Time.Sub(last) > afresh*hasty {
				n++
			}
			last = s.Time
		}
	}
	return n
}
