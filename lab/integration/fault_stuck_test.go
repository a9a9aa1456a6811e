package integration

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestStuckLoopEndsTheSessions hangs the agent loop of s1 for ever (a hook that only
// the tests' build has): the ToRs hear Cease and the process ends, all within 3 s.
func TestStuckLoopEndsTheSessions(t *testing.T) {
	t.Parallel()
	const limit = 3 * time.Second
	r := up(t, "faults.clab.yml", options{expects: []string{"stands still"}})
	at := r.watchTors()
	hung := time.Now()
	r.signal("s1", syscall.SIGUSR1)
	state, err := r.Daemon("s1").Wait(t.Context())
	ended := time.Now()
	if err != nil || state.Ended != "anyvip: exit status 3" {
		t.Errorf("the end: %+v, %v; want exit status 3", state, err)
	}
	// The loop hangs at its next turn, at most 500 ms after the signal.
	if d := ended.Sub(hung); d > limit+time.Second {
		t.Errorf("the process ended %s after it was hung", ms(d))
	}
	for _, name := range tors {
		cease := at[name].message(hung, "eth1", "the Cease", isCease)
		t.Logf("%s: Cease %d/%d %q %s after the loop was hung", name, cease.Message.Notified.Code, cease.Message.Notified.Subcode,
			cease.Message.Notified.Text, ms(cease.Time.Sub(hung)))
		if late := at[name].updates(cease.Time, "eth1"); len(late) > 0 && late[0].Time.Before(ended) {
			t.Errorf("%s: after the Cease came %s", name, asJSON(late))
		}
		if n := cease.Message.Notified; n.Text != "anyvip: agent stands still" {
			t.Errorf("%s: the Cease says %q", name, n.Text)
		}
		for _, p := range vips {
			gone := at[name].route(hung, p, 1)
			t.Logf("%s: %s out of the kernel %s after the loop was hung", name, p, ms(gone.Sub(hung)))
			if d := gone.Sub(hung); d > limit {
				t.Errorf("%s had the route to %s for %s", name, p, ms(d))
			}
		}
		if sent := at[name].updates(hung, "eth2"); len(sent) > 0 {
			t.Errorf("%s: s2 sent %s", name, asJSON(sent))
		}
	}
	t.Logf("the process ended %s after the loop was hung", ms(ended.Sub(hung)))
	if log := r.Logs("s1"); !strings.Contains(log, `"part":"agent loop"`) {
		t.Error("the log does not name the part that stands still")
	}

	// The next start takes over what this one left.
	r.start("s1")
	for _, name := range tors {
		for _, p := range vips {
			at[name].route(ended, p, 2)
		}
	}
}

// TestProductHasNoHook looks for the hook in the agent as users have it.
func TestProductHasNoHook(t *testing.T) {
	const hook = "agent.stuckAsked"
	for path, want := range map[string]bool{"anyvip": true, product(t): false} {
		path, err := exec.LookPath(path)
		if err != nil {
			t.Fatal(err)
		}
		symbols, err := exec.Command("go", "tool", "nm", path).Output()
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(symbols), hook); got != want {
			t.Errorf("%s has the symbol %s: %t, want %t", path, hook, got, want)
		}
	}
}
