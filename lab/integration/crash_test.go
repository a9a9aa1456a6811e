package integration

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/anyvip/anyvip/lab"
)

const socket = "/run/anyvip/anyvip.sock"

func TestSecondAgentRefuses(t *testing.T) {
	t.Parallel()
	r := up(t, "tors.clab.yml", options{})
	at := r.watchTors()
	first := r.mustStatus("s1")
	begin := time.Now()
	out, err := r.Command(t.Context(), "s1", "anyvip", "run").CombinedOutput()
	t.Logf("it says: %s", out)
	var exit *lab.ExitError
	if !errors.As(err, &exit) || exit.Code != 1 || !strings.Contains(string(out), socket) || !strings.Contains(string(out), "an agent answers there already") {
		t.Errorf("the second agent: %v", err)
	}
	second := r.mustStatus("s1")
	if !second.Started.Equal(first.Started) {
		t.Errorf("the agent that answers was started at %s, the first one at %s", second.Started, first.Started)
	}
	for i, x := range second.Sessions {
		if x != first.Sessions[i] {
			t.Errorf("session %s, before %s", asJSON(x), asJSON(first.Sessions[i]))
		}
	}
	for _, name := range tors {
		if sent := at[name].busy(begin, "eth1"); len(sent) > 0 {
			t.Errorf("to %s: %s", name, asJSON(sent))
		}
	}
}

// TestKilledAgentLeavesAddressesToTheNext kills the agent with SIGKILL: its
// addresses stay, the next agent adopts them without a gap.
func TestKilledAgentLeavesAddressesToTheNext(t *testing.T) {
	r := up(t, "tors.clab.yml", options{})
	at := r.watchTors()
	monitor := r.monitor("s1")
	killed := time.Now()
	r.kill("s1")
	for _, name := range tors {
		fib := at[name].route(killed, vip4, 1)
		t.Logf("%s: out of the kernel %s after the kill", name, ms(fib.Sub(killed)))
	}
	for _, p := range vips {
		if !r.has("s1", p.String()) {
			t.Errorf("%s went with the agent", p)
		}
	}
	r.sh("s1", "test -S "+socket)

	started := time.Now()
	r.start("s1")
	for _, name := range tors {
		for _, p := range vips {
			fib := at[name].route(started, p, 2)
			t.Logf("%s: %s back in the kernel %s after the start", name, p, ms(fib.Sub(started)))
		}
	}
	s := r.statusShows("s1", "Established sessions", agentStatus.established)
	for _, a := range s.Addresses {
		if !a.Ours || a.State != "PRESENT" || len(a.Lost) > 0 {
			t.Errorf("the address was not adopted: %s", asJSON(a))
		}
	}
	if changes := vipChanges(monitor, killed); len(changes) > 0 {
		t.Errorf("the addresses were touched: %s", asJSON(changes))
	}
	eventually(t, patience, func() error {
		if log := r.Logs("tor-a"); strings.Count(log, "neighbor 10.1.1.2(s1) in vrf default Up") != 2 {
			return errors.New("FRR's log does not show the session up for the second time")
		}
		return nil
	})

	// What was adopted is removed at a polite stop.
	r.signal("s1", syscall.SIGTERM)
	if state, err := r.Daemon("s1").Wait(t.Context()); err != nil || state.Ended != "anyvip: exit status 0" {
		t.Errorf("the end: %+v, %v", state, err)
	}
	for _, p := range vips {
		if r.has("s1", p.String()) {
			t.Errorf("%s stayed after a polite stop", p)
		}
	}
}

// vipChanges are what happened to VIPs since then.
func vipChanges(monitor *instrument[addressEvent], since time.Time) []addressEvent {
	return monitor.all(func(e addressEvent) bool {
		return e.At.After(since) && slices.ContainsFunc(vips, func(p netip.Prefix) bool { return p.String() == e.Address })
	})
}
