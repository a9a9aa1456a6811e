package bench

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestATableIsAlignedAndColumnsOfFiguresToTheRight(t *testing.T) {
	table := table{columns: []string{"Server", "p50 ms", "note"}}
	table.add("anyvip", "0.34", "1 of 2")
	table.add("ExaBGP", none, "größer")
	table.add("BIRD", "1,234", "x")
	want := `| Server | p50 ms | note   |
|--------|-------:|--------|
| anyvip |   0.34 | 1 of 2 |
| ExaBGP |      - | größer |
| BIRD   |  1,234 | x      |
`
	if diff := cmp.Diff(want, table.markdown()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

func TestWrapBreaksBetweenWordsOnly(t *testing.T) {
	tests := []struct{ text, want string }{
		{"", ""},
		{"one two three", "one two\nthree"},
		{"exactly", "exactly"},
		{"averylongword b", "averylongword\nb"},
		{"fünf üü x", "fünf üü\nx"},
	}
	for _, test := range tests {
		if got := wrap(test.text, 7); got != test.want {
			t.Errorf("%q: %q, want %q", test.text, got, test.want)
		}
	}
}
