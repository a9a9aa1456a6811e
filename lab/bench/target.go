package bench

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// target is what the project promised itself.
type target struct {
	what     string
	limit    string
	measured string
	met      bool
	why      string // it is missed, where that is known
}

// aim adds a target whose figure has to be below a limit, and what explains it if it is not.
func (b *bench) aim(what string, got, limit float64, unit, why string) {
	b.targets = append(b.targets, target{what: what, limit: "under " + strconv.FormatFloat(limit, 'g', -1, 64) + unit,
		measured: digits(got) + unit, met: got < limit, why: why})
}

const (
	met           = "met"
	missedBecause = "Missed: " // a reason begins with it
)

// targetText is the table of the targets, and the reasons for those that are missed.
func targetText(list []target) string {
	t := table{columns: []string{"Target", "Limit", "Measured", "Verdict"}}
	var reasons strings.Builder
	for _, a := range list {
		t.add(a.what, a.limit, a.measured, map[bool]string{true: met, false: "missed"}[a.met])
		if !a.met && a.why != "" {
			fmt.Fprintf(&reasons, "\n- %s", wrap(missedBecause+a.what+". "+a.why, 150))
		}
	}
	text := t.markdown()
	if reasons.Len() > 0 {
		text += reasons.String() + "\n"
	}
	return text
}

// parseTargets takes apart what targetText puts together.
func parseTargets(text string) (list []target) {
	table, reasons, _ := strings.Cut(text, "\n\n- "+missedBecause)
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(line, "| \n"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if len(cells) != 4 || cells[0] == "Target" || strings.HasPrefix(cells[0], "---") {
			continue
		}
		a := target{what: cells[0], limit: cells[1], measured: cells[2], met: cells[3] == met}
		for reason := range strings.SplitSeq(reasons, "\n- "+missedBecause) {
			if why, ok := strings.CutPrefix(strings.Join(strings.Fields(reason), " "), a.what+". "); ok {
				a.why = why
			}
		}
		list = append(list, a)
	}
	return list
}

// withTargets puts newer targets in the place of older ones, or behind them.
func withTargets(list, newer []target) []target {
	for _, n := range newer {
		if i := slices.IndexFunc(list, func(old target) bool { return old.what == n.what }); i >= 0 {
			list[i] = n
		} else {
			list = append(list, n)
		}
	}
	return list
}
