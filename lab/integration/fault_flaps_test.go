package integration

import (
	"fmt"
	"testing"
	"time"
)

// TestSessionsFlap restarts ten sessions (BIRD) until the agent no longer hurries to
// open them again, and then ten times more: 100 flaps, after which it has no more
// goroutines, descriptors and memory than before.
func TestSessionsFlap(t *testing.T) {
	t.Parallel()
	const (
		sessions = 10
		quick    = 3 // rounds in which a session is opened again at once
		rounds   = quick + 10
		flaps    = sessions * (rounds - quick)
		grown    = 15e6 // bytes that Go's collector may have lying about
		passing  = 3    // goroutines that happen to be at work just then; a leak has one for each flap
	)
	r := up(t, "faults-flaps.clab.yml", options{product: true})
	at := r.watchTor("tor", "eth1")
	for _, p := range vips {
		at.route(time.Time{}, p, 1)
	}
	r.statusShows("s1", "all sessions", agentStatus.established)
	before := r.settled("s1")
	t.Logf("before: %s", before)
	begin := time.Now()
	var first usage
	for round := range rounds {
		r.sh("bird", "for p in 0 1 2 3 4 5 6 7 8 9; do birdc restart s$p; done")
		r.statusShows("s1", "all sessions again", func(s agentStatus) bool {
			for i := range sessions {
				x := s.session(t, fmt.Sprintf("bird-%d", i))
				if x.State != "ESTABLISHED" || x.Flaps != uint64(round+1) {
					return false
				}
			}
			return true
		})
		if round == quick-1 {
			first = r.settled("s1")
			t.Logf("after %d flaps: %s", sessions*quick, first)
			// GoBGP leaves a goroutine behind for most of those.
			if first.Descriptors > before.Descriptors || first.Goroutines > before.Goroutines+sessions*quick {
				t.Errorf("that is more than before: %s", before)
			}
		}
	}
	last := r.settled("s1")
	t.Logf("after %d flaps more, in %s: %s", flaps, ms(time.Since(begin)), last)
	if last.Descriptors > first.Descriptors || last.Goroutines > first.Goroutines+passing || last.Resident > first.Resident+grown {
		t.Errorf("that is more than before: %s", first)
	}
	at.untouched(begin, "while other sessions flapped")
	if n := len(r.bird("bird", vip4)); n != sessions {
		t.Errorf("BIRD has %d paths to %s in the end, want %d", n, vip4, sessions)
	}
}
