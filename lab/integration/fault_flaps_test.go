package integration

import (
	"fmt"
	"testing"
	"time"
)

// TestSessionsFlap restarts ten sessions (BIRD) eleven times: 110 flaps. After the
// first round the agent has all it needs for them, and 100 flaps later it has no more,
// but for what GoBGP v4.8.0 leaves behind: of a neighbour that is deleted with a word
// still in its outgoing queue, the queue and its goroutine (cleanInfiniteChannel does
// not wait for the word). That is some 3 KB for about every fourth flap.
func TestSessionsFlap(t *testing.T) {
	t.Parallel()
	const (
		sessions = 10
		rounds   = 11
		flaps    = sessions * (rounds - 1)
		queues   = flaps / 2 // goroutines that GoBGP may leave behind
		grown    = 15e6      // bytes that Go's collector may have lying about
	)
	r := up(t, "faults-flaps.clab.yml", options{product: true})
	at := r.watchTor("tor", "eth1")
	for _, p := range vips {
		at.route(time.Time{}, p, 1)
	}
	r.statusShows("s1", "all sessions", agentStatus.established)
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
		if round == 0 {
			first = r.settled("s1")
			t.Logf("after %d flaps: %s", sessions, first)
		}
	}
	last := r.settled("s1")
	t.Logf("after %d flaps more, in %s: %s", flaps, ms(time.Since(begin)), last)
	if last.Descriptors > first.Descriptors || last.Goroutines > first.Goroutines+queues || last.Resident > first.Resident+grown {
		t.Errorf("that is more than before: %s", first)
	}
	at.untouched(begin, "while other sessions flapped")
	if n := len(r.bird("bird", vip4)); n != sessions {
		t.Errorf("BIRD has %d paths to %s in the end, want %d", n, vip4, sessions)
	}
}
