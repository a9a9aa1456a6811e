package bench

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// death measures how long a dead service stays on the wire, and in the ToR's kernel.
func (b *bench) death(ctx context.Context) ([]table, error) {
	t := table{
		title: "From the death of a service to the wire, and to the ToR's kernel route",
		method: "One server, one ToR, one VIP; its service gets SIGKILL. Checks over http every second, every 200 ms while a change is pending, fall 2. The clock starts when a waiting shell is told " +
			"`kill -9`; wire and route as above. anyvip's probe comes when the kernel tells that the listener ended, ExaBGP's health check when its second is over, and once more. The service is killed at " +
			"another time of the second in each round, and comes back without a delay.",
		columns: []string{"ToR", "Server", "wire p50 ms", "p99", "max", "of best peer", "route p50 ms", "p99", "max", "of best peer", "count"},
	}
	var ours []durations
	var errs failures
	for _, tor := range b.Size.killTors {
		wires, routes := make([]durations, len(checking)), make([]durations, len(checking))
		for i, sp := range checking {
			rounds := b.Size.kills
			if sp.name != anyvip.name {
				rounds = (rounds + 1) / 2 // it takes seconds each time
			}
			err := b.twice(ctx, fmt.Sprintf("death: %s, %s as ToR, %d rounds", sp.name, tor.name, rounds), func() (err error) {
				wires[i], routes[i], err = b.killOften(ctx, plan{speaker: eager(sp), tor: tor, vips: 1}, rounds)
				return err
			})
			if errs.stop(ctx, err) {
				return nil, ctx.Err()
			}
		}
		for i, sp := range checking {
			var peerWire, peerRoute []float64
			for j := range checking {
				if checking[j].name != anyvip.name && len(wires[j]) > 0 {
					peerWire, peerRoute = append(peerWire, float64(wires[j].at(50))), append(peerRoute, float64(routes[j].at(50)))
				}
			}
			if len(wires[i]) == 0 {
				continue
			}
			cells := append([]string{tor.name, sp.name}, percentiles(wires[i])...)
			cells = append(cells, times(float64(wires[i].at(50)), peerWire...))
			cells = append(cells, percentiles(routes[i])...)
			t.add(append(cells, times(float64(routes[i].at(50)), peerRoute...), count(len(wires[i])))...)
			if sp.name == anyvip.name {
				ours = append(ours, wires[i])
			}
		}
	}
	if all := together(ours...); len(all) > 0 {
		b.aim("kill -9 of a service with a 1 s interval to the wire, p99 of all rounds", all.at(99).Seconds()*1e3, 5, " ms", "")
	}
	return []table{t}, errs.join()
}

// eager is a speaker that announces as soon as a service is back.
func eager(sp speaker) speaker {
	files := sp.files
	sp.files = func(dir string, sv server, vips []netip.Prefix) error {
		if err := files(dir, sv, vips); err != nil {
			return err
		}
		written, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil {
			return err
		}
		for _, file := range written {
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			quick := strings.NewReplacer("recovery_delay: 2s", "recovery_delay: 0s", "rise: 2", "rise: 1", "--rise 2", "--rise 1").Replace(string(text))
			if err := os.WriteFile(file, []byte(quick), 0o644); err != nil {
				return err
			}
		}
		return nil
	}
	return sp
}

// killOften kills the service of a site and starts it again.
func (b *bench) killOften(ctx context.Context, p plan, rounds int) (wire, route durations, err error) {
	s, err := b.up(ctx, p)
	if err != nil {
		return nil, nil, err
	}
	defer s.down(&err)
	from := time.Time{}
	for i := range rounds {
		if _, err := s.settle(ctx, inFIB, true, from, soon); err != nil {
			return nil, nil, err
		}
		if err := wait(ctx, time.Second+time.Duration(i)*7*time.Second/time.Duration(10*rounds)); err != nil { // wherever the check's second is
			return nil, nil, err
		}
		pid, err := output(ctx, s.lab, "s1", "cat /run/web.pid") // before the clock starts: to fork takes milliseconds
		if err != nil {
			return nil, nil, err
		}
		killed, err := s.shell.say("kill -9 " + strings.TrimSpace(pid))
		if err != nil {
			return nil, nil, err
		}
		w, err := s.settle(ctx, onWire, false, killed, soon)
		if err != nil {
			return nil, nil, err
		}
		r, err := s.settle(ctx, inFIB, false, killed, soon)
		if err != nil {
			return nil, nil, err
		}
		wire, route = append(wire, w.Time.Sub(killed)), append(route, r.Time.Sub(killed))
		from = time.Now()
		if err := startWebAgain(ctx, s); err != nil {
			return nil, nil, err
		}
	}
	return wire, route, s.intact()
}
