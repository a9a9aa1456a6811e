package integration

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/anyvip/anyvip/lab/load"
)

// defaultHops are the next hops of the default routes that the agent of a node
// has put into its kernel, sorted, and how many such routes there are.
func (r *rig) defaultHops(node, family string) (hops []string, routes int) {
	r.t.Helper()
	var list []struct {
		Gateway  string
		Protocol string
		Metric   int
		NextHops []struct{ Gateway string }
	}
	if err := json.Unmarshal([]byte(r.sh(node, "ip -json "+family+" route show default")), &list); err != nil {
		r.t.Fatal(err)
	}
	for _, route := range list {
		if route.Metric != 20 {
			continue // somebody else's
		}
		routes++
		if route.Gateway != "" {
			hops = append(hops, route.Gateway)
		}
		for _, h := range route.NextHops {
			hops = append(hops, h.Gateway)
		}
	}
	slices.Sort(hops)
	return hops, routes
}

// hasDefaults waits until a node's kernel has exactly these next hops.
func (r *rig) hasDefaults(node string, v4, v6 []string) {
	r.t.Helper()
	took := eventually(r.t, patience, func() error {
		for family, want := range map[string][]string{"-4": v4, "-6": v6} {
			if got, routes := r.defaultHops(node, family); !slices.Equal(got, want) || routes > 1 {
				return fmt.Errorf("%d default routes of %s by ip %s over %v, want %v", routes, node, family, got, want)
			}
		}
		return nil
	})
	r.t.Logf("default routes over %v after %s", v4, ms(took))
}

// TestDefaultRoutesComeAndGoWithTheSessions uses a server that has no other way
// to the client than what its ToRs give it.
func TestDefaultRoutesComeAndGoWithTheSessions(t *testing.T) {
	t.Parallel()
	r := up(t, "defaults.clab.yml", options{})
	r.sh("s1", "ip route add default via 10.1.1.1 metric 4000") // an administrator's
	both4, both6 := []string{"10.1.1.1", "10.2.1.1"}, []string{"fd00:1:1::1", "fd00:2:1::1"}
	r.hasDefaults("s1", both4, both6)
	for _, target := range []string{"http://192.0.2.10/", "http://[2001:db8:10::10]/"} {
		eventually(t, patience, func() error { return r.reaches(target) })
	}

	for _, name := range tors {
		r.kill(name)
		keep := 1
		if name == "tor-b" {
			keep = 0
		}
		r.hasDefaults("s1", both4[keep:keep+1], both6[keep:keep+1])
		r.start(name)
		r.hasDefaults("s1", both4, both6)
	}

	for _, name := range tors {
		r.kill(name)
	}
	r.hasDefaults("s1", nil, nil)
	if foreign := r.sh("s1", "ip route show default"); !strings.Contains(foreign, "metric 4000") {
		t.Errorf("the administrator's default route is gone: %q", foreign)
	}
	for _, name := range tors {
		r.start(name)
	}
	r.hasDefaults("s1", both4, both6)

	// A crash leaves the routes, and the next start takes them over: what needs
	// them for its answers is answered all the time.
	load := client{follow(r, load.Decode, "client", "anyvip-lab", "load", "--target", "http://10.1.1.2/", "--rate", "200", "--each")}
	load.answered(50, time.Time{}, "s1")
	r.kill("s1")
	load.answered(200, time.Now(), "s1")
	r.hasDefaults("s1", both4, both6)
	r.start("s1")
	r.statusShows("s1", "both sessions", agentStatus.established)
	load.answered(200, time.Now(), "s1")
	r.hasDefaults("s1", both4, both6)
	if sum := load.stop(); sum.Failed > 0 {
		t.Errorf("%d of %d requests failed around the restart: %v", sum.Failed, sum.Requests, sum.Failures)
	}

	if all := r.sh("s1", "ip route show table all; ip -6 route show table all"); strings.Contains(all, "203.0.113.0") {
		t.Errorf("something else than a default route was imported:\n%s", all)
	}
	if out := r.sh("tor-a", "vtysh -c 'show bgp ipv4 unicast neighbors 10.1.1.2 advertised-routes'"); !strings.Contains(out, "203.0.113.0") {
		t.Errorf("tor-a sends no route that could have been imported:\n%s", out)
	}
	for _, name := range tors {
		other := map[string]string{"tor-a": "65002", "tor-b": "65001"}[name]
		text := r.sh(name, "vtysh -c 'show bgp ipv4 unicast' 2>/dev/null || birdc show route all")
		if !strings.Contains(text, "192.0.2.10") {
			t.Errorf("%s does not say what it has:\n%s", name, text)
		}
		if strings.Contains(text, "65101 "+other) {
			t.Errorf("%s hears of the other's routes from the server:\n%s", name, text)
		}
	}

	r.signal("s1", syscall.SIGTERM)
	r.hasDefaults("s1", nil, nil)
	if foreign := r.sh("s1", "ip route show default"); !strings.Contains(foreign, "metric 4000") {
		t.Errorf("the administrator's default route is gone: %q", foreign)
	}
}

// reaches opens some connections from the client, all of which must be answered.
func (r *rig) reaches(target string) error {
	c := follow(r, load.Decode, "client", "anyvip-lab", "load", "--target", target, "--spread", "20")
	sum := c.wait(patience, "the client's summary", func(e load.Event) bool { return e.Kind == load.Summed }).Summary
	if sum.OK < 20 {
		return fmt.Errorf("%d of %d requests to %s failed: %v", sum.Failed, sum.Requests, target, sum.Failures)
	}
	return nil
}
