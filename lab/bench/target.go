package bench

import "strconv"

// target is what the project promised itself.
type target struct {
	what     string
	limit    string
	measured string
	met      bool
}

// aim adds a target whose figure has to be below a limit.
func (b *bench) aim(what string, got, limit float64, unit string) {
	b.targets = append(b.targets, target{what: what, limit: "under " + strconv.FormatFloat(limit, 'g', -1, 64) + unit, measured: digits(got) + unit, met: got < limit})
}

func targetTable(list []target) table {
	t := table{columns: []string{"Target", "Limit", "Measured", "Verdict"}}
	for _, a := range list {
		t.add(a.what, a.limit, a.measured, map[bool]string{true: "met", false: "missed"}[a.met])
	}
	return t
}
