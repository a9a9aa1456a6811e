package vip

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestLine(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"", ""},
		{"plain text, größer", "plain text, größer"},
		{" two\nlines\r\n", "two lines"},
		{"a\x1b[31m\x07\u202eb\x00", "a [31m  b"},
		{"bad \xff utf-8", "bad \uFFFD utf-8"},
		{strings.Repeat("x", 256), strings.Repeat("x", 256)},
		{strings.Repeat("x", 257), strings.Repeat("x", 253) + "…"},
		{strings.Repeat("x", 252) + "ü" + strings.Repeat("x", 10), strings.Repeat("x", 252) + "…"},
	} {
		got := Line(tc.in)
		if got != tc.want {
			t.Errorf("%q becomes %q, want %q", tc.in, got, tc.want)
		}
		if len(got) > MaxLine || !utf8.ValidString(got) {
			t.Errorf("%q: %d bytes", got, len(got))
		}
	}
}
