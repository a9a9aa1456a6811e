package integration

import (
	"syscall"
	"testing"
	"time"

	"github.com/anyvip/anyvip/lab/watch"
)

// TestFrozenAgentComesBack stops the agent of s1 as a whole for longer than the
// hold time, as a host that is suspended or starved would.
func TestFrozenAgentComesBack(t *testing.T) {
	t.Parallel()
	const freeze = 20 * time.Second
	r := up(t, "faults.clab.yml", options{})
	at := r.watchTors()
	monitor := r.monitor("s1")
	before := r.statusShows("s1", "two sessions", agentStatus.established)

	stopped := time.Now()
	r.signal("s1", syscall.SIGSTOP)
	for _, name := range tors {
		ended := at[name].wait(patience, "that the hold time is over at "+name, func(e watch.Event) bool {
			return e.Kind == watch.Wire && e.Time.After(stopped) && e.Message.Interface == "eth1" && e.Message.Notified != nil && e.Message.Notified.Code == 4
		}).Time // the route goes when the router's kernel has time for it
		if d := ended.Sub(stopped); d < 5*time.Second || d > 10*time.Second {
			t.Errorf("%s gave s1 up %s after SIGSTOP, want the hold time: 6 s to 9 s", name, ms(d))
		}
		for _, p := range vips {
			gone := at[name].route(stopped, p, 1)
			t.Logf("%s: NOTIFICATION %s after SIGSTOP, %s out of the kernel %s after SIGSTOP", name, ms(ended.Sub(stopped)), p, ms(gone.Sub(stopped)))
			if d := gone.Sub(stopped); d < 5*time.Second {
				t.Errorf("%s gave %s up %s after SIGSTOP, before the hold time was over", name, p, ms(d))
			}
		}
	}
	<-time.After(time.Until(stopped.Add(freeze)))
	resumed := time.Now()
	r.signal("s1", syscall.SIGCONT)
	for _, name := range tors {
		for _, p := range vips {
			back := at[name].route(resumed, p, 2)
			t.Logf("%s: %s back in the kernel %s after SIGCONT", name, p, ms(back.Sub(resumed)))
		}
		for _, e := range at[name].updates(resumed, "eth1") {
			if len(e.Message.Withdrawn) > 0 {
				t.Errorf("a withdraw to %s: %s", name, asJSON(e))
			}
		}
		if sent := at[name].updates(stopped, "eth2"); len(sent) > 0 {
			t.Errorf("s2 sent to %s: %s", name, asJSON(sent))
		}
	}
	// The deadman forgives a freeze for 2 s and would end the process after 3.
	at["tor-a"].message(resumed.Add(5*time.Second), "eth1", "a KEEPALIVE", isKeepalive)
	after := r.statusShows("s1", "two sessions", agentStatus.established)
	if !after.Started.Equal(before.Started) {
		t.Error("the agent ended and began anew")
	}
	for _, x := range after.Sessions {
		if x.Flaps != 1 {
			t.Errorf("%d flaps with %s, want 1", x.Flaps, x.Peer)
		}
	}
	if changes := vipChanges(monitor, stopped); len(changes) > 0 {
		t.Errorf("the addresses were touched: %s", asJSON(changes))
	}
}
