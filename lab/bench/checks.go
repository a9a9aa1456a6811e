package bench

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/anyvip/anyvip/lab"
)

// idleLimits are the targets by number of checks: percent of a core, and resident memory.
var idleLimits = map[int]struct{ cpu, mebibytes float64 }{100: {1, 60}, 1_000: {15, 100}}

// checks measures what health checks cost while nothing happens.
func (b *bench) checks(ctx context.Context) ([]table, error) {
	t := table{
		title: "Idle, with health checks every second",
		method: fmt.Sprintf("Each check has a service with one VIP, and asks a web server on the same host over a new connection, every second; all is announced and nothing changes. CPU is user and system "+
			"time of the speaker and its children over %s, in percent of one core; memory is their RSS, for many processes counting what they share for each. anyvip: http checks. ExaBGP: its own health check, "+
			"a process for each check, with `curl`. BIRD and gobgpd have no checks. Bare requests: as many requests a second, evenly "+
			"spread, by a program that does nothing else, with plain system calls: about the price of the questions themselves on this machine, most of it the kernel's for a connection.", b.Size.window),
		columns: []string{"Checks", "Server", "CPU %", "of best peer", "memory MiB", "of best peer", "processes"},
	}
	var errs failures
	for _, n := range b.Size.checks {
		got := make([]idle, len(checking))
		for i, sp := range checking {
			if i > 0 && n > b.Size.processes {
				t.method += fmt.Sprintf(" %s with %s checks was left out: as many processes.", sp.name, count(n))
				continue
			}
			err := b.twice(ctx, fmt.Sprintf("checks: %s, %s checks, %s", sp.name, count(n), b.Size.window), func() (err error) {
				got[i], err = b.idle(ctx, plan{speaker: sp, tor: torBIRD, vips: n})
				return err
			})
			if errs.stop(ctx, err) {
				return nil, err
			}
		}
		peers := got[1:]
		var cpu, resident []float64
		for _, p := range peers {
			cpu, resident = append(cpu, p.cpu), append(resident, float64(p.resident))
		}
		for i, g := range got {
			if g.processes == 0 {
				continue
			}
			if g.late {
				t.method += fmt.Sprintf(" %s with %s checks did not get them all announced within %s: it does not keep up on this machine.", checking[i].name, count(n), soon)
			}
			t.add(count(n), checking[i].name, digits(g.cpu), times(g.cpu, cpu...), mebibytes(g.resident), times(float64(g.resident), resident...), count(g.processes))
		}
		floor, err := b.floor(ctx, n)
		if errs.stop(ctx, err) {
			return nil, err
		}
		if err == nil {
			t.add(count(n), "bare requests", digits(floor.cpu), times(floor.cpu, cpu...), mebibytes(floor.resident), times(float64(floor.resident), resident...), count(floor.processes))
		}
		if limit, ok := idleLimits[n]; ok && got[0].processes > 0 && floor.processes > 0 {
			why := fmt.Sprintf("The questions alone, %s new connections a second and nothing else, cost %s %% on this machine: see bare requests.", count(n), digits(floor.cpu))
			b.aim(fmt.Sprintf("idle with %s checks, CPU", count(n)), got[0].cpu, limit.cpu, " % of a core", why)
			b.aim(fmt.Sprintf("idle with %s checks, memory", count(n)), float64(got[0].resident)/(1<<20), limit.mebibytes, " MiB", "")
		}
	}
	return []table{t}, errs.join()
}

// idle is what a speaker uses while nothing happens.
type idle struct {
	usage
	cpu  float64 // percent of one core
	late bool    // not all was announced within a minute
}

func (b *bench) idle(ctx context.Context, p plan) (i idle, err error) {
	s, err := b.up(ctx, p)
	if err != nil {
		return i, err
	}
	defer s.down(&err)
	if _, err = s.settle(ctx, inFIB, true, time.Time{}, soon); ctx.Err() != nil {
		return i, err
	}
	late := err != nil
	i, err = b.idleNow(ctx, s)
	i.late = late
	return i, err
}

// floor measures what the questions alone cost.
func (b *bench) floor(ctx context.Context, n int) (i idle, err error) {
	err = b.twice(ctx, fmt.Sprintf("checks: bare requests, %s a second, %s", count(n), b.Size.window), func() (err error) {
		s, err := b.upBare(ctx, plan{}, words("anyvip-lab bench ask --rate "+strconv.Itoa(n)))
		if err != nil {
			return err
		}
		defer s.down(&err)
		i, err = b.idleNow(ctx, s)
		return err
	})
	return i, err
}

// idleNow waits until all is quiet and measures the daemon of s1.
func (b *bench) idleNow(ctx context.Context, s *site) (i idle, err error) {
	if err = wait(ctx, b.Size.steady); err != nil {
		return i, err
	}
	all, err := usageOver(ctx, s.lab, b.Size.window, server(1).name())
	if err != nil {
		return i, err
	}
	return all[0], nil
}

// usageOver measures the daemons of some nodes for a time.
func usageOver(ctx context.Context, l *lab.Lab, window time.Duration, nodes ...string) ([]idle, error) {
	list := make([]idle, len(nodes))
	began := make([]time.Time, len(nodes))
	for i, node := range nodes {
		u, err := usageOf(ctx, l, node)
		if err != nil {
			return nil, err
		}
		list[i].usage, began[i] = u, time.Now()
	}
	if err := wait(ctx, window); err != nil {
		return nil, err
	}
	for i, node := range nodes {
		before := list[i].used
		u, err := usageOf(ctx, l, node)
		if err != nil {
			return nil, err
		}
		list[i].usage = u
		list[i].cpu = float64(u.used-before) / float64(time.Since(began[i])) * 100
	}
	return list, nil
}
