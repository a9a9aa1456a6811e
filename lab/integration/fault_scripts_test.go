package integration

import (
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// sleeper is in the command line of every process that a hanging script starts.
const sleeper = "86399.77"

// TestHangingScripts runs 200 scripts a second. Then 20 of them hang, with children,
// grandchildren and timeout(1), which leaves the process group, until they are
// killed at their timeout: the others go on on time, and nothing is left of any.
//
// It is not parallel with other tests, and goes before what else is on the machine:
// what it measures is the time of starts. What makes scripts late every time must not
// be the agent; what makes them late once may be the machine. So one of a few windows
// of time must be without.
func TestHangingScripts(t *testing.T) {
	const (
		scripts  = 200
		hanging  = 20
		interval = time.Second
		allowed  = 100 * time.Millisecond
		settled  = 5 // starts
		window   = 5 * interval
		windows  = 4    // that count: those in which the machine was not busy with other things
		idling   = 0.35 // of the machine, at least, in such a window: all that is here leaves half of two processors
	)
	r := up(t, "faults.clab.yml", options{product: true, edits: map[string]func(string) string{"s1": func(text string) string {
		var more strings.Builder
		for i := range scripts {
			line := fmt.Sprintf(": > /run/starts/%d-$$", i)
			if i < hanging {
				line = fmt.Sprintf("test -e /run/hang || exit 0; sleep %s & (sleep %s & timeout 9999 sleep %s) & trap '' TERM; wait; wait", sleeper, sleeper, sleeper)
			}
			fmt.Fprintf(&more, "  - {name: script-%d, exec: {command: [/bin/sh, -c, %q]}, interval: %s, timeout: 800ms, scope: advisory}\n", i, line, interval)
		}
		return strings.Replace(text, "\nservices:", more.String()+"\nservices:", 1)
	}}})
	at := r.watchTors()
	// Where the kernel lets us: it needs CAP_SYS_NICE.
	r.sh("s1", fmt.Sprintf("mkdir /run/starts; ls /proc/%d/task | xargs renice -n -20 -p || true", r.pid("s1")))
	// In each window every script that does not hang starts once an interval.
	starts := func(from, to time.Time) (all map[int][]time.Time, missed string) {
		all = r.scriptStarts("s1", from, to)
		for i := hanging; i < scripts; i++ {
			if want := int(to.Sub(from)/interval) - 1; len(all[i]) < want {
				missed = fmt.Sprintf("script %d was started %d times in %s, want %d", i, len(all[i]), to.Sub(from), want)
			}
		}
		return all, missed
	}
	// The first probes of a check come faster.
	eventually(t, patience, func() error {
		all := r.scriptStarts("s1", time.Time{}, time.Now())
		for i := hanging; i < scripts; i++ {
			if len(all[i]) < settled {
				return fmt.Errorf("script %d was started %d times", i, len(all[i]))
			}
		}
		return nil
	})
	begin := time.Now()
	<-time.After(window)
	all, missed := starts(begin, time.Now())
	t.Logf("before, of %s %s", lateness(all, interval), missed)
	r.sh("s1", "touch /run/hang")
	most, judged := 0, 0
	overslept := tick(t)
	for n := 1; ; n++ {
		from := time.Now()
		overslept()
		idle := idleTime(t)
		eventually(t, 2*window, func() error {
			most = max(most, len(r.sleepers("s1")))
			if time.Since(from) < window {
				return fmt.Errorf("%s of %s are over", ms(time.Since(from)), ms(window))
			}
			return nil
		})
		all, missed := starts(from, time.Now())
		late := lateness(all, interval)
		busy := overslept()
		idled := (idleTime(t) - idle).Seconds() / time.Since(from).Seconds() / float64(runtime.NumCPU())
		t.Logf("with %d that hang, of %s; at most %d processes of theirs at a time; this test itself was late by %s at most, and the machine idled for %.0f%% of its time %s",
			hanging, late, most, ms(busy), 100*idled, missed)
		if late.most <= allowed && missed == "" {
			break
		}
		if busy < allowed/4 && idled > idling {
			judged++
		}
		if judged == windows || n == 4*windows {
			t.Errorf("in none of %d times %s were all starts within %s; %d times the machine was not busy with other things", n, window, allowed, judged)
			break
		}
	}

	if most == 0 || most > hanging*4 {
		t.Errorf("at most %d processes of hanging scripts lived at a time, want 1 to %d", most, hanging*4)
	}
	for _, name := range tors {
		at[name].untouched(begin, "while scripts hung")
	}
	t.Logf("the agent: %s", r.usage("s1"))

	r.signal("s1", syscall.SIGTERM)
	if state, err := r.Daemon("s1").Wait(t.Context()); err != nil || state.Ended != "anyvip: exit status 0" {
		t.Errorf("the end: %+v, %v", state, err)
	}
	if left := r.sleepers("s1"); len(left) > 0 {
		t.Errorf("after the end of the agent %d processes are left: %q", len(left), left)
	}
	if left := r.sh("s1", "ps -eo stat=,args= | grep '^Z' || true"); left != "" {
		t.Errorf("after the end of the agent there are zombies: %s", left)
	}
}

// sleepers are the processes of hanging scripts.
func (r *rig) sleepers(node string) []string {
	r.t.Helper()
	return strings.Fields(r.sh(node, "grep -lsz '^"+sleeper+"$' /proc/[0-9]*/cmdline || true"))
}

// scriptStarts says when the scripts started, by number: each start made a file.
func (r *rig) scriptStarts(node string, from, to time.Time) map[int][]time.Time {
	r.t.Helper()
	starts := map[int][]time.Time{}
	for line := range strings.Lines(r.sh(node, `find /run/starts -type f -printf '%f %T@\n' | sort -k 2`)) {
		name, stamp, _ := strings.Cut(line, " ")
		name, _, _ = strings.Cut(name, "-")
		i, err := strconv.Atoi(name)
		if err != nil {
			r.t.Fatal(err)
		}
		if at := epoch(r.t, stamp); !at.Before(from) && !at.After(to) {
			starts[i] = append(starts[i], at)
		}
	}
	return starts
}

// late is how late starts were.
type late struct {
	n                 int
	median, p99, most time.Duration
}

// String is for a test's log.
func (l late) String() string {
	return fmt.Sprintf("%d starts: late by %s (median), %s (p99), %s (most)", l.n, ms(l.median), ms(l.p99), ms(l.most))
}

// lateness compares each start of a script with the one of that script that was least
// late for its grid.
func lateness(scripts map[int][]time.Time, interval time.Duration) late {
	var all []time.Duration
	for _, starts := range scripts {
		var one []time.Duration
		for _, at := range starts {
			one = append(one, at.Sub(starts[0])-at.Sub(starts[0]).Round(interval))
		}
		for _, d := range one {
			all = append(all, d-slices.Min(one))
		}
	}
	slices.Sort(all)
	n := len(all)
	return late{n: n, median: all[n/2], p99: all[n*99/100], most: all[n-1]}
}

// idleTime is how long all processors together have had nothing to do since the boot.
func idleTime(t *testing.T) time.Duration {
	t.Helper()
	fields := strings.Fields(read(t, "/proc/stat")) // cpu user nice system idle ...
	const tick = 10 * time.Millisecond              // USER_HZ, which user space sees as 100 everywhere
	n, err := strconv.ParseInt(fields[4], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(n) * tick
}

// tick sleeps again and again until the test ends. What it returns says by how much
// it overslept at most since it was asked last: on a machine that is busy with other
// things nothing can be said of the agent.
func tick(t *testing.T) (overslept func() time.Duration) {
	const pause = 5 * time.Millisecond
	var worst atomic.Int64
	done, ended := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(done); <-ended })
	go func() {
		defer close(ended)
		for {
			due := time.Now().Add(pause)
			select {
			case <-time.After(pause):
			case <-done:
				return
			}
			late := int64(time.Since(due))
			for was := worst.Load(); late > was && !worst.CompareAndSwap(was, late); was = worst.Load() {
			}
		}
	}()
	return func() time.Duration { return time.Duration(worst.Swap(0)) }
}
