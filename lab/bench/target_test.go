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

func TestTargetsOfAPartialRunReplaceTheOldOnes(t *testing.T) {
	var old, newer bench
	old.aim("memory", 47.2, 60, " MiB", "")
	old.aim("CPU", 2.1, 1, " %", "A long reason that has to be broken into lines, since a line has no more than a hundred and fifty characters, and this one has more of them than that.")
	old.aim("wire", 3, 2, " ms", "Slow.")
	if diff := cmp.Diff(targetText(old.targets), targetText(parseTargets(targetText(old.targets)))); diff != "" {
		t.Errorf("not what it was (-want +got):\n%s", diff)
	}
	newer.aim("wire", 1, 2, " ms", "")
	newer.aim("more", 1, 2, " ms", "")
	got := withTargets(parseTargets(targetText(old.targets)), newer.targets)
	want := append(old.targets[:2:2], newer.targets...)
	if diff := cmp.Diff(targetText(want), targetText(got)); diff != "" {
		t.Errorf("targets (-want +got):\n%s", diff)
	}
}
