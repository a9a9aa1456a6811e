package bench

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAMissedTargetSaysWhy(t *testing.T) {
	var b bench
	b.aim("memory", 47.2, 60, " MiB", "not to be said")
	b.aim("CPU", 2.1, 1, " %", "Bare requests cost 1.9 %.")
	want := `| Target | Limit        | Measured | Verdict |
|--------|--------------|---------:|---------|
| memory | under 60 MiB | 47.2 MiB | met     |
| CPU    | under 1 %    |   2.10 % | missed  |

- Missed: CPU. Bare requests cost 1.9 %.
`
	if diff := cmp.Diff(want, targetText(b.targets)); diff != "" {
		t.Errorf("targets (-want +got):\n%s", diff)
	}
}
