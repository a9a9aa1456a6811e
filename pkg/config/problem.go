package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/anyvip/anyvip/pkg/vip"
)

// Problem is one mistake, or one warning, and where it stands in the file.
// Lines and columns count from 1, columns in characters.
type Problem struct {
	Line, Column int
	vip.Problem  // Path is from the document's root; empty for the file as a whole
}

// String is one printable line. It leaves out what is empty: a path, a value,
// an allowed range.
func (p Problem) String() string {
	text := strings.TrimPrefix(p.Problem.String(), ": ")
	return fmt.Sprintf("%d:%d: %s", p.Line, p.Column, strings.Map(printable, text))
}

// printable puts a mark in the place of what would break a line or a terminal.
func printable(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return unicode.ReplacementChar
}

// Invalid is a configuration that cannot be used, with all that is wrong.
type Invalid struct {
	File     string
	Problems []Problem // by position
}

// Error prints one problem per line, each with the file in front as compilers
// do, so that editors find the place.
func (i *Invalid) Error() string {
	lines := make([]string, len(i.Problems))
	for n, p := range i.Problems {
		lines[n] = i.File + ":" + p.String()
	}
	return strings.Join(lines, "\n")
}

// byPosition sorts problems as they stand in the file.
func byPosition(ps []Problem) []Problem {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), strings.Compare(a.Path, b.Path))
	})
	return ps
}

// longest is how many characters of a value are shown.
const longest = 80

// trim shortens what is too long to be shown.
func trim(s string) string {
	if r := []rune(s); len(r) > longest {
		return string(r[:longest]) + "…"
	}
	return s
}

// shown is a value as it may stand in an error: one line, printable, short.
func shown(s string) string {
	s = trim(s)
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}

// Nearest is the candidate that s was probably meant to be, or "". It is pure.
func Nearest(s string, candidates []string) string {
	best, least := "", 1+len(s)/3
	for _, c := range candidates {
		if d := distance(fold(s), fold(c)); d <= least && (best == "" || d < least) {
			best, least = c, d
		}
	}
	return best
}

// fold makes the usual slips equal: case, and - or nothing for _.
func fold(s string) string {
	return strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(s))
}

// distance is the number of characters to insert, delete or replace between a
// and b (Levenshtein). Words too long to be ours are far from everything.
func distance(a, b string) int {
	if len(a) > 2*63 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
