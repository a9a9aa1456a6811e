package hint

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"testing"
	"time"
)

// TestNothingIsLeftOfManySets looks when Run has ended, which ends a lot. Here it goes
// on, as it does in an agent that is reloaded again and again.
func TestAnEngineAtWorkDoesNotGrowWithItsSets(t *testing.T) {
	needRoot(t)
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // it would close what was forgotten
	dir := t.TempDir()
	pid := filepath.Join(dir, "pid")
	write(t, pid, strconv.Itoa(sleeper(t).Process.Pid)+"\n")
	listen(t, "127.0.0.1:8073")
	sets := [][]Watch{
		{{Check: "web", PIDFile: pid, Files: []string{filepath.Join(dir, "a")}}, listener("other", "127.0.0.1:8073")},
		{{Check: "web", Files: []string{filepath.Join(dir, "b", "c")}}, {Check: "db", PIDFile: pid}, listener("other", "127.0.0.1:8074")},
		{{Check: "web", Files: []string{filepath.Join(dir, "a"), filepath.Join(dir, "d")}}},
	}
	w := watch(t)
	rounds := 0
	apply := func(times int) {
		for range times {
			rounds++
			begun := fmt.Sprint("begun-", rounds) // is heard of once the set is taken
			set := append([]Watch{{Check: begun, Files: []string{filepath.Join(dir, "a")}, Begin: true}}, sets[rounds%len(sets)]...)
			w.Apply(set)
			w.wait(begun, came(begun, File))
		}
		w.settled()
	}
	use := func() (descriptors, goroutines int) {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(list), runtime.NumGoroutine()
	}
	apply(len(sets))
	descriptors, goroutines := use()
	apply(50 * len(sets))
	for limit := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		d, g := use()
		if d <= descriptors && g <= goroutines {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("after %d sets %d descriptors and %d goroutines; %d and %d after the first %d", rounds, d, g, descriptors, goroutines, len(sets))
		}
	}
}
