package integration

import (
	"strings"
	"testing"
	"time"
)

// TestServiceRemovedByReload takes the service out of the configuration of s1
// under traffic: its address may go only when no ToR sends traffic to it.
func TestServiceRemovedByReload(t *testing.T) {
	t.Parallel()
	r := up(t, "tors.clab.yml", options{})
	at := r.watchTors()
	monitor := r.monitor("s1")
	load := r.startLoad()
	load.answered(50, time.Time{}, "s1")
	begin := time.Now()
	text := read(t, r.configs["s1"])
	r.write("s1", text[:strings.Index(text, "services:")]+"services:\n  - {name: other, addresses: [192.0.2.77], require: none}\n", nil)
	r.reload("s1", "")
	gone := monitor.wait(patience, "the deletion of "+vip4.String(), func(e addressEvent) bool { return e.Deleted && e.Address == vip4.String() }).At
	var moves []move
	for _, name := range tors {
		fib := at[name].route(begin, vip4, 1)
		moves = append(moves, move{at[name].message(begin, "eth1", "the withdraw", withdraws(vip4)).Time, fib})
		t.Logf("%s: the address went %s after the route went from the kernel", name, ms(gone.Sub(fib)))
		if gone.Before(fib) {
			t.Errorf("%s still sent traffic for %s after the address was gone", name, ms(fib.Sub(gone)))
		}
	}
	load.answered(50, gone, "s2")
	sum := load.stop()
	t.Logf("%d of %d requests failed", sum.Failed, sum.Requests)
	for _, e := range load.lost(moves) {
		t.Errorf("lost %s after the reload: %s", ms(e.Request.Started.Sub(begin)), asJSON(e))
	}
}
