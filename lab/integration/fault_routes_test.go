package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestToRThatSendsManyRoutes has tor-b (BIRD) send 100,000 routes to s1, in 1,000
// sets of attributes, take them back, and send them again: they cost memory once,
// and nothing else.
func TestToRThatSendsManyRoutes(t *testing.T) {
	t.Parallel()
	const (
		routes = 100_000
		rounds = 3
	)
	r := up(t, "faults.clab.yml", options{product: true, edits: map[string]func(string) string{"s1": withBeat}})
	at := r.watchTors()
	r.statusShows("s1", "two sessions", agentStatus.established)
	// With routes that go to s1 and not to BIRD's own kernel, and without.
	r.sh("tor-b", fmt.Sprintf(`
		sed -e '/protocol kernel/s/export all/export where source != RTS_STATIC/' \
			-e '/protocol bgp s1/s/{/{ ipv4 { import all; export where source = RTS_STATIC; };/' /etc/bird/bird.conf > /run/none.conf
		awk 'BEGIN { print "include \"/run/none.conf\"; protocol static many { ipv4;"
			for (i = 0; i < %d; i++)
				printf "route %%d.%%d.%%d.0/24 blackhole { bgp_med = %%d; };\n", 20 + i / 65536, i / 256 %% 256, i %% 256, i %% 1000
			print "}" }' > /run/many.conf`, routes))
	configure := func(file string, n int) {
		r.sh("tor-b", `birdc configure '"`+file+`"'`)
		eventually(t, 2*patience, func() error { return r.exported("tor-b", n) })
	}
	configure("/run/none.conf", 0)
	before := r.settled("s1")
	t.Logf("before: %s", before)
	kernel := func() string { return r.sh("s1", "ip route show table all; ip -6 route show table all") }
	table := kernel()

	begin := time.Now()
	var after, back [rounds]usage
	for i := range rounds {
		sent := time.Now()
		configure("/run/many.conf", routes)
		exported := time.Since(sent)
		after[i] = r.settled("s1")
		t.Logf("round %d: sent after %s, digested %s after that: %s", i+1, ms(exported), ms(time.Since(sent)-exported), after[i])
		if now := kernel(); now != table {
			t.Errorf("round %d: s1's kernel has other routes now:\n%s\nbefore:\n%s", i+1, now, table)
		}
		configure("/run/none.conf", 0)
		back[i] = r.settled("s1")
		t.Logf("round %d: taken back: %s", i+1, back[i])
	}
	end := time.Now()
	// What a round left behind would be there three times by now: a table is some 35 MB,
	// and Go's collector may have as much again lying about.
	if last := back[rounds-1]; last.Heap > before.Heap+80e6 || after[rounds-1].Resident > 250e6 {
		t.Errorf("%d routes cost %s, and %s once they were taken back; before %s", routes, after[rounds-1], last, before)
	}
	for _, name := range tors {
		at[name].untouched(begin, "while tor-b sent its routes")
	}
	if n := len(r.frr("tor-a", vip4)); n != 2 {
		t.Errorf("tor-a has %d paths to %s", n, vip4)
	}
	r.onTime("s1", begin, end)
}

// exported says whether BIRD of a node has sent n IPv4 routes to s1.
func (r *rig) exported(node string, n int) error {
	out := r.sh(node, "birdc show protocols all s1")
	if want := fmt.Sprintf(" %d exported", n); !strings.Contains(out, want) {
		return fmt.Errorf("BIRD of %s says %s, want%s", node, out, want)
	}
	return nil
}
