package lab

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSplit(t *testing.T) {
	tests := []struct {
		line string
		want []string
		err  string
	}{
		{line: `ip address add 10.0.0.1/24 dev eth1`, want: []string{"ip", "address", "add", "10.0.0.1/24", "dev", "eth1"}},
		{line: "  a\t b\n", want: []string{"a", "b"}},
		{line: `sh -c 'a "b" \n' x`, want: []string{"sh", "-c", `a "b" \n`, "x"}},
		{line: `a "b 'c' \" d"`, want: []string{"a", `b 'c' " d`}},
		{line: `a\ b c""d ''`, want: []string{"a b", "cd", ""}},
		{line: `a b#c # the rest`, want: []string{"a", "b#c"}},
		{line: `a 'b`, err: "has an open quote"},
		{line: `a \`, err: "ends with a backslash"},
		{line: ` # nothing`, err: "is empty"},
	}
	for _, test := range tests {
		t.Run(test.line, func(t *testing.T) {
			got, err := split(test.line)
			if test.err != "" {
				if err == nil || err.Error() != test.err {
					t.Fatalf("error %v, want %q", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("words (-want +got):\n%s", diff)
			}
		})
	}
}
