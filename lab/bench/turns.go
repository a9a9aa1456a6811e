package bench

import (
	"context"
	"time"
)

// turns are the samples of a site whose VIPs came and went, from the verdict on.
type turns struct {
	wire, route [2]durations // announced, withdrawn: see change
}

// change are the names of the two directions, and their places in turns.
var change = [2]string{"announce", "withdraw"}

// A site rests after a turn, the same for all speakers: routers tidy up, and anyvip is asked for its verdict.
const (
	settled     = 20 * time.Microsecond // for each VIP
	leastSettle = 20 * time.Millisecond
)

// turnOften brings a site up and makes its VIPs come and go. The first turn is the start of the session and is not
// counted, nor is the second. Rounds end early when patience is over, after the third.
func (b *bench) turnOften(ctx context.Context, p plan, rounds int, patience time.Duration) (t turns, err error) {
	s, err := b.up(ctx, p)
	if err != nil {
		return t, err
	}
	defer s.down(&err)
	var begun time.Time
	for i := range 2*rounds + 2 {
		const limit = 2 * time.Minute
		one, err := s.turn(ctx, i%2 == 0, limit)
		if err != nil {
			return t, err
		}
		if err := wait(ctx, max(leastSettle, time.Duration(p.vips)*settled)); err != nil {
			return t, err
		}
		if i < 2 {
			begun = time.Now()
			continue
		}
		t.wire[i%2] = append(t.wire[i%2], one.wire.Time.Sub(one.verdict))
		t.route[i%2] = append(t.route[i%2], one.route.Time.Sub(one.verdict))
		if patience > 0 && i%2 == 1 && i >= 7 && time.Since(begun) > patience {
			break
		}
	}
	return t, s.intact()
}

var turnColumns = []string{"ToR", "Change", "Server", "wire p50 ms", "p99", "max", "of best peer", "route p50 ms", "p99", "max", "of best peer", "count"}

// addTurns adds a row for each direction and speaker, with the ratio of the medians to the best peer's. results are in
// the order of names.
func (t *table) addTurns(tor string, names []string, results []turns) {
	for i, what := range change {
		var wire, route []float64 // the peers' medians
		for n, r := range results {
			if names[n] != anyvip.name {
				wire = append(wire, float64(r.wire[i].at(50)))
				route = append(route, float64(r.route[i].at(50)))
			}
		}
		for n, r := range results {
			cells := []string{tor, what, names[n]}
			cells = append(cells, percentiles(r.wire[i])...)
			cells = append(cells, times(float64(r.wire[i].at(50)), wire...))
			cells = append(cells, percentiles(r.route[i])...)
			cells = append(cells, times(float64(r.route[i].at(50)), route...), count(len(r.wire[i])))
			t.add(cells...)
		}
	}
}
