package bench

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// table is the answer to one question.
type table struct {
	title   string
	method  string // how it was measured, in short words
	columns []string
	rows    [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// markdown is the table as a document has it, and as it can be read on a terminal. Columns of figures are
// aligned to the right.
func (t table) markdown() string {
	lines := append([][]string{t.columns}, t.rows...)
	widths := make([]int, len(t.columns))
	for _, line := range lines {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for n, line := range lines {
		for i, cell := range line {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if t.figures(i) {
				b.WriteString("| " + pad + cell + " ")
			} else {
				b.WriteString("| " + cell + pad + " ")
			}
		}
		b.WriteString("|\n")
		if n > 0 {
			continue
		}
		for i, w := range widths {
			if t.figures(i) {
				b.WriteString("|" + strings.Repeat("-", w+1) + ":")
			} else {
				b.WriteString("|" + strings.Repeat("-", w+2))
			}
		}
		b.WriteString("|\n")
	}
	return b.String()
}

// figures says whether a column holds figures, and nothing else but what was not measured.
func (t table) figures(column int) bool {
	found := false
	for _, row := range t.rows {
		switch c := row[column]; {
		case c == none:
		case c != "" && c[0] >= '0' && c[0] <= '9':
			found = true
		default:
			return false
		}
	}
	return found
}

// none stands for what was not measured.
const none = "-"

// millis writes a duration in milliseconds.
func millis(d time.Duration) string {
	if d == 0 {
		return none
	}
	return digits(d.Seconds() * 1e3)
}

// digits writes a figure with three digits that count.
func digits(v float64) string {
	switch {
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	}
	return count(int(math.Round(v)))
}

// percentiles are the cells for a sample: p50, p99, max.
func percentiles(s durations) []string {
	return []string{millis(s.at(50)), millis(s.at(99)), millis(s.at(100))}
}

// times writes how a figure compares to the best peer's.
func times(a float64, peers ...float64) string {
	r, ok := ratio(a, peers...)
	if !ok {
		return none
	}
	return digits(r)
}

// mebibytes writes a number of bytes.
func mebibytes(n int64) string { return digits(float64(n) / (1 << 20)) }

// count writes a number with commas, as 10,000.
func count(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
