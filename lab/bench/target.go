package bench

import (
	"fmt"
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

// targetText is the table of the targets, and the reasons for those that are missed.
func targetText(list []target) string {
	t := table{columns: []string{"Target", "Limit", "Measured", "Verdict"}}
	var reasons strings.Builder
	for _, a := range list {
		t.add(a.what, a.limit, a.measured, map[bool]string{true: "met", false: "missed"}[a.met])
		if !a.met && a.why != "" {
			fmt.Fprintf(&reasons, "\n- %s", wrap(fmt.Sprintf("Missed: %s. %s", a.what, a.why), 150))
		}
	}
	text := t.markdown()
	if reasons.Len() > 0 {
		text += reasons.String() + "\n"
	}
	return text
}
