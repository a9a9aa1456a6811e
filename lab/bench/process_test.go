package bench

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestUsageIsThatOfAProcessAndItsDescendants(t *testing.T) {
	// pid (name) state parent ... utime 14, stime 15, cutime 16, cstime 17 ... rss 24, as in proc(5).
	stat := func(pid, name, parent, times, rss string) string {
		return pid + " (" + name + ") S " + parent + " 1 1 0 -1 4194560 100 0 0 0 " + times + " 20 0 1 0 500 1000000 " + rss + " 18446744073709551615 1 1"
	}
	lines := []string{
		stat("10", "exabgp", "1", "1 2 3 4", "1000"),
		stat("11", "a name (with) parentheses", "10", "10 0 0 0", "200"),
		stat("12", "sh", "11", "0 5 0 0", "30"),
		stat("20", "web", "1", "100 100 0 0", "4000"),
		"",
		"7 (torn",
	}
	all := parseProcesses(lines)
	if len(all) != 4 {
		t.Errorf("%d processes of %s", len(all), strings.Join(lines, "\n"))
	}
	want := usage{processes: 3, used: 250 * time.Millisecond, resident: 1230}
	if diff := cmp.Diff(want, total(all, 10), cmp.AllowUnexported(usage{})); diff != "" {
		t.Errorf("usage (-want +got):\n%s", diff)
	}
	if u := total(all, 99); u.processes != 0 {
		t.Errorf("usage of a process that is not there: %+v", u)
	}
}
