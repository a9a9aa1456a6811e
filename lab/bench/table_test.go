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
