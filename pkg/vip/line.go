package vip

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxLine is how long a Line is at most, in bytes.
const MaxLine = 256

// Line makes text from outside (a script, a server, an operator) fit for logs and
// terminals: valid UTF-8, printable, on one line, at most MaxLine bytes.
func Line(s string) string {
	s = strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s))
	if len(s) <= MaxLine {
		return s
	}
	const more = "…"
	end := MaxLine - len(more)
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + more
}
