package integration

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// ask is a check that cannot ask while /run/cannot-ask is there. It keeps its verdict
// for longer than the test takes, and for shorter than a jump.
const ask = `  - name: ask
    exec: {command: [/bin/sh, -c, "test ! -e /run/cannot-ask || exit 3"]}
    interval: 500ms
    timeout: 5s
    error_hold: 10m
`

// TestClockThatJumps lets the agent of s1 see its wall clock jump by an hour, there
// and back and beyond: alone, in the middle of recovery_delay, and while a check
// that cannot ask holds its verdict for error_hold. Nothing of it may be noticed.
func TestClockThatJumps(t *testing.T) {
	t.Parallel()
	needSteppedClock(t)
	r := up(t, "faults.clab.yml", options{edits: map[string]func(string) string{"s1": func(text string) string {
		return strings.Replace(strings.Replace(withBeat(text), "checks:\n", "checks:\n"+ask, 1), "[web, store]", "[web, store, ask]", 1)
	}}})
	at := r.watchTors()
	r.statusShows("s1", "two sessions", agentStatus.established)
	begin := time.Now()
	r.sh("s1", "touch /run/cannot-ask")
	r.statusShows("s1", "a check that cannot ask", func(s agentStatus) bool { return s.codes()["CHECK_ERROR"] })

	// Each is jumped to while nothing happens, the next one during a recovery.
	jumps := []time.Duration{time.Hour, 0, -time.Hour, 0}
	for i, by := range jumps {
		next := jumps[(i+1)%len(jumps)]
		jumped := time.Now()
		r.stepClock("s1", by)
		eventually(t, patience, func() error { return r.sees("beat", by) })
		t.Logf("the agent sees a clock that is off by %s", by)
		for _, name := range tors {
			at[name].message(jumped.Add(4*time.Second), "eth1", "a KEEPALIVE", isKeepalive)
			at[name].untouched(jumped, fmt.Sprintf("the clock jumped to %s off", by))
		}

		killed := time.Now()
		r.sh("s1", "kill -9 $(cat /run/web.pid)")
		for _, name := range tors {
			wire := at[name].message(killed, "eth1", "the withdraw", withdraws(vip4)).Time
			t.Logf("%s: kill to wire %s", name, ms(wire.Sub(killed)))
		}
		returned := time.Now()
		r.sh("s1", "anyvip-lab web -d --pidfile /run/web.pid --name s1")
		r.statusShows("s1", "a service that recovers", func(s agentStatus) bool { return s.Services[0].Disposition == "RECOVERING" })
		r.stepClock("s1", next)
		for _, name := range tors {
			wire := at[name].message(returned, "eth1", "the announcement", announces(vip4)).Time
			t.Logf("%s: return to wire %s, with a jump to %s off in between", name, ms(wire.Sub(returned)), next)
			if d := wire.Sub(returned); d < time.Second || d > 3*time.Second {
				t.Errorf("%s: announced %s after the return, want recovery_delay of 1 s and two probes", name, ms(d))
			}
			at[name].route(returned, vip4, 2)
			at[name].route(returned, vip6, 2)
		}
	}
	r.onTime("s1", begin, time.Now())
	for _, x := range r.mustStatus("s1").Sessions {
		if x.Flaps != 0 {
			t.Errorf("%d flaps with %s", x.Flaps, x.Peer)
		}
	}

	// ROUTE-REFRESH is answered as long as the clock is not before the session's
	// start: GoBGP v4.8.0 takes what comes then for left over from an older session.
	// Should the last of these fail, GoBGP was mended.
	for _, test := range []struct {
		off      time.Duration
		answered bool
	}{{0, true}, {time.Hour, true}, {-time.Hour, false}} {
		r.stepClock("s1", test.off)
		eventually(t, patience, func() error { return r.sees("beat", test.off) })
		asked := time.Now()
		r.sh("tor-a", "vtysh -c 'clear bgp ipv4 unicast 10.1.1.2 soft in'")
		at["tor-a"].message(asked.Add(4*time.Second), "eth1", "a KEEPALIVE", isKeepalive)
		answers := at["tor-a"].updates(asked, "eth1")
		if (countUpdates(answers, vip4) > 0) != test.answered {
			t.Errorf("clock off by %s: ROUTE-REFRESH was answered with %s", test.off, asJSON(answers))
		}
	}
}

// sees says whether the agent of s1 has a wall clock that is off by that much: it
// stamps each probe of a check.
func (r *rig) sees(check string, off time.Duration) error {
	name := fmt.Sprintf("anyvip_check_last_probe_timestamp_seconds{check=%q} ", check)
	for line := range strings.Lines(r.http("s1", "/metrics")) {
		if text, ok := strings.CutPrefix(line, name); ok {
			stamp, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			if err != nil {
				return err
			}
			is := time.Until(time.Unix(int64(stamp), 0)).Round(time.Minute)
			if is != off {
				return fmt.Errorf("the agent's clock is off by %s, want %s", is, off)
			}
			return nil
		}
	}
	return fmt.Errorf("no metric %s", name)
}
