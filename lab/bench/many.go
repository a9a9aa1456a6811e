package bench

import (
	"context"
	"fmt"
)

// many measures all VIPs of a server at once: one verdict, and the last UPDATE and the last route.
func (b *bench) many(ctx context.Context) ([]table, error) {
	var tables []table
	var errs failures
	for _, n := range b.Size.many {
		t := table{
			title: count(n) + " VIPs announced and withdrawn by one verdict",
			method: "As above, to the last UPDATE that the change needs and to the last kernel route of the ToR. anyvip: one service with all the VIPs, one check (every 100 ms). BIRD: one `birdc`. " +
				"ExaBGP: one line for each VIP, as its own health check writes them. gobgpd: one `gobgp` command for each VIP to announce, one to withdraw all.",
			columns: turnColumns,
		}
		for _, tor := range b.Size.manyTors {
			names, results, slow, err := b.manyWith(ctx, tor, n)
			if errs.stop(ctx, err) {
				return nil, err
			}
			t.addTurns(tor.name, names, results)
			for _, what := range slow {
				t.method += " " + what
			}
			b.aimMany(tor, n, names, results)
		}
		tables = append(tables, t)
	}
	return tables, errs.join()
}

func (b *bench) manyWith(ctx context.Context, tor router, n int) (names []string, results []turns, slow []string, err error) {
	var errs failures
	for _, sp := range speakers {
		if sp.perVIP && n > b.Size.commands {
			slow = append(slow, fmt.Sprintf("%s with %s as ToR was left out: a command for each VIP takes too long.", sp.name, tor.name))
			continue
		}
		err := b.twice(ctx, fmt.Sprintf("many: %s, %s as ToR, %s VIPs, up to %d rounds", sp.name, tor.name, count(n), b.Size.batches), func() error {
			r, err := b.turnOften(ctx, plan{speaker: sp, tor: tor, vips: n}, b.Size.batches, b.Size.patience)
			if err == nil {
				names, results = append(names, sp.name), append(results, r)
			}
			return err
		})
		if errs.stop(ctx, err) {
			return names, results, slow, err
		}
	}
	return names, results, slow, errs.join()
}

// aimMany compares with the targets that are about many VIPs.
func (b *bench) aimMany(tor router, n int, names []string, results []turns) {
	of := map[string]turns{}
	for i, name := range names {
		of[name] = results[i]
	}
	ours, measured := of[anyvip.name]
	if !measured {
		return
	}
	if n == 1_000 {
		wire := together(ours.wire[:]...)
		b.aim(fmt.Sprintf("1,000 VIPs on the wire, p99, %s as ToR", tor.name), wire.at(99).Seconds()*1e3, 50, " ms", "")
	}
	if theirs, ok := of[bird.name]; ok && n == 10_000 && tor.name == torFRR.name {
		for i, what := range change {
			r, _ := ratio(float64(ours.route[i].at(50)), float64(theirs.route[i].at(50)))
			b.aim(fmt.Sprintf("10,000 VIPs: to %s, last kernel route of FRR, median beside BIRD's", what), r, 1.2, " x", late(n, ours, theirs, i))
		}
	}
}

// late says where the time goes until the last route is there.
func late(n int, ours, theirs turns, i int) string {
	wire, route := ours.wire[i].at(50), ours.route[i].at(50)
	quick, done := theirs.wire[i].at(50), theirs.route[i].at(50)
	return fmt.Sprintf("Our UPDATEs come over %s ms, %s us a route (what takes them: `go test -run - -bench ManyRoutes/10000 -cpuprofile cpu.out ./bgp/gobgp`; here it shares two cores with FRR), and FRR's last route "+
		"follows %s ms after the last of them. BIRD's come within %s ms, and FRR needs %s ms more.",
		millis(wire), digits(float64(wire.Microseconds())/float64(n)), millis(route-wire), millis(quick), millis(done-quick))
}
