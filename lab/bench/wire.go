package bench

import (
	"context"
	"fmt"
)

// wire measures one VIP: from the verdict to the wire, and to the ToR's kernel route.
func (b *bench) wire(ctx context.Context) ([]table, error) {
	t := table{
		title: "From a verdict to the wire, and to the ToR's kernel route",
		method: "One server, one ToR, one VIP, announced and withdrawn in turn. Wire is the kernel's time stamp of the UPDATE at the ToR's end of the link, route is the netlink " +
			"message of the ToR's kernel. For anyvip the clock starts at the end of the http probe that gave the verdict (a check every 10 ms, rise 1, fall 1; the service answers 200 or " +
			"503), for the others when a waiting shell is told the command: `birdc enable|disable`, a line on the pipe of ExaBGP's helper, `gobgp global rib add|del`. Their own way to a " +
			"verdict comes on top.",
		columns: turnColumns,
	}
	var ours []durations
	var errs failures
	for _, tor := range b.Size.tors {
		var names []string
		var results []turns
		for _, sp := range speakers {
			err := b.twice(ctx, fmt.Sprintf("wire: %s, %s as ToR, %d rounds", sp.name, tor.name, b.Size.rounds), func() error {
				r, err := b.turnOften(ctx, plan{speaker: sp, tor: tor, vips: 1}, b.Size.rounds, 0)
				if err == nil {
					names, results = append(names, sp.name), append(results, r)
				}
				return err
			})
			if errs.stop(ctx, err) {
				return nil, err
			}
		}
		t.addTurns(tor.name, names, results)
		for i, name := range names {
			if name == anyvip.name {
				ours = append(ours, results[i].wire[:]...)
			}
		}
	}
	if all := together(ours...); len(all) > 0 {
		b.aim("verdict to wire, p99 of all rounds", all.at(99).Seconds()*1e3, 2, " ms", "")
	}
	return []table{t}, errs.join()
}
