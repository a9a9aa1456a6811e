package bench

import (
	"context"
	"fmt"
	"slices"
)

// memory measures what the speakers hold when all is announced and quiet.
func (b *bench) memory(ctx context.Context) ([]table, error) {
	t := table{
		title: "Resident memory",
		method: fmt.Sprintf("RSS of the speaker's process and its children, in MiB, %s after the last VIP was announced to a BIRD as ToR; in brackets the ratio to the best peer. ExaBGP includes the "+
			"helper that takes its lines.", b.Size.steady),
		columns: []string{"Server"},
	}
	resident := make([][]float64, len(speakers)) // by speaker, in the order of Size.memory
	var errs failures
	for _, n := range b.Size.memory {
		t.columns = append(t.columns, vips(n))
		for i, sp := range speakers {
			if sp.perVIP && n > b.Size.commands {
				resident[i] = append(resident[i], 0)
				continue
			}
			var u usage
			err := b.twice(ctx, fmt.Sprintf("memory: %s, %s", sp.name, vips(n)), func() (err error) {
				u, err = b.quiet(ctx, plan{speaker: sp, tor: torBIRD, vips: n})
				return err
			})
			if errs.stop(ctx, err) {
				return nil, err
			}
			resident[i] = append(resident[i], float64(u.resident))
		}
	}
	for i, sp := range speakers {
		cells := []string{sp.name}
		for j := range b.Size.memory {
			var peers []float64
			for k := range speakers[1:] {
				peers = append(peers, resident[k+1][j])
			}
			cells = append(cells, withRatio(mebibytes(int64(resident[i][j])), resident[i][j], peers))
		}
		t.add(cells...)
	}
	if slices.Max(b.Size.memory) > b.Size.commands {
		t.method += fmt.Sprintf(" gobgpd was left out above %s VIPs: each is a command, which takes too long.", count(b.Size.commands))
	}
	return []table{t}, errs.join()
}

// vips writes a number of VIPs.
func vips(n int) string {
	if n == 1 {
		return "1 VIP"
	}
	return count(n) + " VIPs"
}

// withRatio writes a figure and, in brackets, its ratio to the best peer's.
func withRatio(figure string, value float64, peers []float64) string {
	if value == 0 {
		return none
	}
	return fmt.Sprintf("%s (%s)", figure, times(value, peers...))
}

// quiet brings a site up, announces all, waits, and reads what s1's daemon uses.
func (b *bench) quiet(ctx context.Context, p plan) (u usage, err error) {
	s, err := b.up(ctx, p)
	if err != nil {
		return u, err
	}
	defer s.down(&err)
	if _, err := s.turn(ctx, true, soon); err != nil {
		return u, err
	}
	if err := wait(ctx, b.Size.steady); err != nil {
		return u, err
	}
	return usageOf(ctx, s.lab, server(1).name())
}
