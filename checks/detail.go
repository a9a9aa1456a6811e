package checks

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxDetail is the limit that vip.Result sets, in bytes.
const maxDetail = 256

// oneLine makes text from outside (a script, a server) fit for logs and
// terminals: printable, on one line, at most maxDetail bytes.
func oneLine(s string) string {
	s = strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s))
	if len(s) <= maxDetail {
		return s
	}
	const more = "…"
	end := maxDetail - len(more)
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + more
}
