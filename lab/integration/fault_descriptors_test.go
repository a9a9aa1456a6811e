package integration

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestDescriptorsExhausted lets the agent of s1 have 200 descriptors, and 400 checks
// that take one each for as long as they may. Who asks gets errors, and nothing else
// happens, also when a VIP has to be put back meanwhile.
func TestDescriptorsExhausted(t *testing.T) {
	t.Parallel()
	const (
		limit  = 200
		greedy = 400
		mute   = "127.0.0.1:7777"
	)
	r := up(t, "faults.clab.yml", options{product: true, edits: map[string]func(string) string{"s1": func(text string) string {
		var more strings.Builder
		for i := range greedy {
			fmt.Fprintf(&more, "  - {name: greedy-%d, tcp: {address: %q, expect: a word}, timeout: 1m, scope: advisory}\n", i, mute)
		}
		return strings.Replace(text, "\nservices:", more.String()+"\nservices:", 1)
	}}})
	at := r.watchTors()
	monitor := r.monitor("s1")
	r.statusShows("s1", "two sessions", agentStatus.established)
	before := r.usage("s1")
	t.Logf("before: %s", before)
	pid := r.pid("s1")

	begin := time.Now()
	r.sh("s1", fmt.Sprintf("prlimit --pid %d --nofile=%d:", pid, limit))
	hog := r.role("s1", muteName, mute)
	if err := hog.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, func() error {
		if n := r.descriptors("s1", pid); n < limit {
			return fmt.Errorf("the agent has %d descriptors", n)
		}
		return nil
	})
	exhausted := time.Now()
	t.Logf("%d of %d descriptors %s after the limit was set", r.descriptors("s1", pid), limit, ms(exhausted.Sub(begin)))
	for _, check := range []string{"web", "store"} {
		eventually(t, patience, func() error { return r.logged("s1", `"check":"`+check+`"`, `"to":"error"`, "too many open files") })
	}
	for _, p := range vips {
		deleted := time.Now()
		r.sh("s1", "ip address del "+p.String()+" dev lo")
		back := monitor.wait(patience, p.String()+" back on lo", func(e addressEvent) bool {
			return !e.Deleted && e.Address == p.String() && e.At.After(deleted)
		}).At
		t.Logf("%s was put back %s after it was deleted", p, ms(back.Sub(deleted)))
	}
	// Longer than the hold time.
	for _, name := range tors {
		at[name].message(exhausted.Add(12*time.Second), "eth1", "a KEEPALIVE", isKeepalive)
		at[name].untouched(begin, "without descriptors")
	}
	if n := r.descriptors("s1", pid); n < limit {
		t.Errorf("in the end the agent had %d descriptors: they were not exhausted all the time", n)
	}

	returned := time.Now()
	if err := hog.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = hog.Wait()
	s := r.statusShows("s1", "a service without errors", func(s agentStatus) bool { return !s.codes()["CHECK_ERROR"] })
	t.Logf("no check of the service cannot ask %s after the descriptors returned", ms(time.Since(returned)))
	for _, x := range s.Sessions {
		if x.Flaps != 0 {
			t.Errorf("%d flaps with %s", x.Flaps, x.Peer)
		}
	}
	eventually(t, patience, func() error {
		if u := r.usage("s1"); u.Descriptors > before.Descriptors+20 {
			return fmt.Errorf("%s, before %s", u, before)
		}
		return nil
	})
	t.Logf("after: %s", r.settled("s1"))
	killed := time.Now()
	r.sh("s1", "kill -9 $(cat /run/web.pid)")
	for _, name := range tors {
		at[name].message(killed, "eth1", "the withdraw", withdraws(vip4))
	}
}

// pid is the process id of a node's daemon, as the node sees it.
func (r *rig) pid(node string) int {
	r.t.Helper()
	state, err := r.Daemon(node).State()
	if err != nil {
		r.t.Fatal(err)
	}
	return state.Pid
}

// descriptors counts what a process of a node has open.
func (r *rig) descriptors(node string, pid int) int {
	r.t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(r.sh(node, fmt.Sprintf("ls /proc/%d/fd | wc -l", pid))))
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

// logged says whether the log of a node has a line with all of parts.
func (r *rig) logged(node string, parts ...string) error {
	for line := range strings.Lines(r.Logs(node)) {
		has := 0
		for _, part := range parts {
			if strings.Contains(line, part) {
				has++
			}
		}
		if has == len(parts) {
			return nil
		}
	}
	return errors.New("no line of the log has " + strings.Join(parts, ", "))
}
