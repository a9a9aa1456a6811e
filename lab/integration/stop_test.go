package integration

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestPoliteStop(t *testing.T) {
	// A second VIP that an administrator put on lo before the agent came.
	const theirs = "192.0.2.99/32"
	r := up(t, "tors.clab.yml", options{edits: map[string]func(string) string{"s1": func(text string) string {
		return text + "  - {name: theirs, addresses: [192.0.2.99], require: none}\n"
	}}})
	at := r.watchTors()
	r.statusShows("s1", "all VIPs announced", func(s agentStatus) bool {
		for _, service := range s.Services {
			for _, a := range service.Addresses {
				if len(a.SentTo) != 2 {
					return false
				}
			}
		}
		return len(s.Services) == 2
	})
	load := r.startLoad()
	load.answered(50, time.Time{}, "s1")

	asked := time.Now()
	r.signal("s1", syscall.SIGTERM)
	state, err := r.Daemon("s1").Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ended := time.Now()
	if state.Running || state.Ended != "anyvip: exit status 0" {
		t.Errorf("the agent ended with %q", state.Ended)
	}
	var moves []move
	for _, name := range tors {
		shift := at[name].message(asked, "eth1", "GRACEFUL_SHUTDOWN", isLeaving).Time
		moved := at[name].route(asked, vip4, 1)
		moves = append(moves, move{shift, moved})
		gone := at[name].message(asked, "eth1", "the withdraw", withdraws(vip4)).Time
		cease := at[name].message(asked, "eth1", "the Cease", isCease)
		t.Logf("%s: after SIGTERM GRACEFUL_SHUTDOWN %s, out of the kernel %s, withdraw %s, Cease %s (%q), end %s", name, ms(shift.Sub(asked)),
			ms(moved.Sub(asked)), ms(gone.Sub(asked)), ms(cease.Time.Sub(asked)), cease.Message.Notified.Text, ms(ended.Sub(asked)))
		if d := gone.Sub(shift); d < 990*time.Millisecond {
			t.Errorf("%s: the withdraw came %s after GRACEFUL_SHUTDOWN, want at least 1 s", name, ms(d))
		}
		if !moved.Before(gone) {
			t.Errorf("%s: the route moved only with the withdraw", name)
		}
		if d := cease.Time.Sub(gone); d < 900*time.Millisecond {
			t.Errorf("%s: the Cease came %s after the withdraw, want linger (1 s)", name, ms(d))
		}
		if n := cease.Message.Notified; n.Subcode != 2 || n.Text != "anyvip: agent stops" {
			t.Errorf("%s: Cease %s, want 6/2 with a text", name, asJSON(n))
		}
		for _, p := range vips {
			if n := countUpdates(at[name].updates(asked, "eth1"), p); n != 2 {
				t.Errorf("%s: %d UPDATEs for %s, want GRACEFUL_SHUTDOWN and the withdraw: %s", name, n, p, asJSON(at[name].updates(asked, "eth1")))
			}
		}
	}
	for name, line := range map[string]string{
		"tor-a": `received from neighbor 10.1.1.2 6/2 (Cease/Administrative Shutdown) "anyvip: agent stops"`,
		"tor-b": `s1: Received: Administrative shutdown: "anyvip: agent stops"`,
	} {
		eventually(t, patience, func() error {
			if log := r.Logs(name); !strings.Contains(log, line) {
				return fmt.Errorf("the log of %s does not have %s", name, line)
			}
			return nil
		})
	}

	// All that is left on lo is what was there before.
	for address, want := range map[string]bool{"192.0.2.10/32": false, "2001:db8:10::10/128": false, theirs: true} {
		if got := r.has("s1", address); got != want {
			t.Errorf("%s on lo: %t, want %t", address, got, want)
		}
	}
	load.answered(50, ended, "s2")
	sum := load.stop()
	t.Logf("client: %d of %d requests failed, answers from %v", sum.Failed, sum.Requests, sum.Servers)
	for _, e := range load.lost(moves) {
		t.Errorf("lost %s after SIGTERM: %s", ms(e.Request.Started.Sub(asked)), asJSON(e))
	}
}
