package integration

import (
	"testing"
	"time"
)

// TestDeletedAddressIsPutBack deletes both VIPs of s1 again and again under
// traffic: nothing may reach the wire while the address comes back at once and
// stays below five losses in 10 s. Then the deletions come faster.
func TestDeletedAddressIsPutBack(t *testing.T) {
	const (
		losses = 6
		rhythm = 2600 * time.Millisecond // four in 10 s
	)
	r := up(t, "tors.clab.yml", options{})
	at := r.watchTors()
	monitor := r.monitor("s1")
	load := r.startLoad()
	load.answered(20, time.Time{}, "s1")
	begin := time.Now()
	tick := time.NewTicker(rhythm)
	defer tick.Stop()
	for range losses {
		for _, p := range vips {
			deleted := time.Now()
			r.sh("s1", "ip address del "+p.String()+" dev lo")
			gone := monitor.wait(patience, "the deletion", func(e addressEvent) bool {
				return e.Deleted && e.Address == p.String() && e.At.After(deleted)
			}).At
			back := monitor.wait(patience, p.String()+" back on lo", func(e addressEvent) bool {
				return !e.Deleted && e.Address == p.String() && e.At.After(gone)
			}).At
			t.Logf("%s was away for %s", p, ms(back.Sub(gone)))
			if back.Sub(gone) > 100*time.Millisecond {
				t.Errorf("%s was away for %s", p, ms(back.Sub(gone)))
			}
		}
		<-tick.C
	}
	sum := load.stop()
	t.Logf("client: %d of %d requests failed %v, answers from %v", sum.Failed, sum.Requests, sum.Failures, sum.Servers)
	for _, name := range tors {
		if sent := at[name].updates(begin, "eth1"); len(sent) > 0 {
			t.Errorf("%d UPDATEs to %s: %s", len(sent), name, asJSON(sent))
		}
		if moved := at[name].moved(begin); len(moved) > 0 {
			t.Errorf("routes moved at %s: %s", name, asJSON(moved))
		}
	}

	// A fight that cannot be won: the VIP is withdrawn once, with a reason, the
	// other one is not, and it returns when the fight is over.
	fight := time.Now()
	r.sh("s1", "for i in 1 2 3 4 5 6 7 8; do ip address del "+vip4.String()+" dev lo 2>/dev/null; sleep 0.2; done")
	calm := time.Now()
	s := r.statusShows("s1", "an unstable address", func(s agentStatus) bool { return s.codes()["ADDRESS_UNSTABLE"] })
	t.Logf("status: %s", asJSON(s.Services[0].Addresses))
	for _, name := range tors {
		gone := at[name].message(fight, "eth1", "the withdraw", withdraws(vip4)).Time
		back := at[name].message(gone, "eth1", "the return", announces(vip4)).Time
		t.Logf("%s: withdraw %s after the fight began, back %s after it ended", name, ms(gone.Sub(fight)), ms(back.Sub(calm)))
		sent := at[name].updates(fight, "eth1")
		if countUpdates(sent, vip4) != 2 || countUpdates(sent, vip6) != 0 {
			t.Errorf("%s got %s, want one withdraw and one announcement of %s", name, asJSON(sent), vip4)
		}
	}
}
