package integration

import (
	"maps"
	"testing"
	"time"

	"github.com/anyvip/anyvip/lab/load"
)

// crossed is examples/vrrp-crossed, as it stands: s1 owns web-a, s2 web-b.
type crossed struct{ *rig }

var (
	webA = []string{"10.0.5.101", "[2001:db8:5::101]"}
	webB = []string{"10.0.5.102", "[2001:db8:5::102]"}
)

// is waits until the routers of both services, in both families, are in these states.
func (c crossed) is(node, a, b string) agentStatus {
	c.t.Helper()
	want := map[string]string{"web-a/ipv4": a, "web-a/ipv6": a, "web-b/ipv4": b, "web-b/ipv6": b}
	return c.statusShows(node, "web-a "+a+", web-b "+b, func(s agentStatus) bool {
		got := map[string]string{}
		for _, r := range s.Routers {
			got[r.Name] = r.State
		}
		return maps.Equal(got, want)
	})
}

// stays ends loads on addresses that did not move, of which one server answered every
// request.
func (c crossed) stays(loads map[string]client, server string) {
	c.t.Helper()
	for host, l := range loads {
		sum := l.stop()
		others := l.all(func(e load.Event) bool { return e.Kind == load.Result && e.Request.Server != server })
		if len(others) > 0 {
			c.t.Errorf("%s: %s did not answer %d of %d requests: %v, %v", host, server, len(others), sum.Requests, sum.Servers, sum.Failures)
		}
		c.t.Logf("%s: %s answered all of %d requests", host, server, sum.Requests)
	}
}

// TestVRRPCrossed tells the story of the example: both servers work, one dies with all
// that it runs, and comes back.
func TestVRRPCrossed(t *testing.T) {
	t.Parallel()
	c := crossed{up(t, "../../../examples/vrrp-crossed/vrrp-crossed.clab.yml", options{})}
	c.is("s1", "ACTIVE", "BACKUP")
	before := c.is("s2", "BACKUP", "ACTIVE")

	t.Log("each answers for its own")
	a, b, at := c.loads(webA...), c.loads(webB...), time.Now()
	for _, l := range a {
		l.answered(100, at, "s1")
	}
	for _, l := range b {
		l.answered(100, at, "s2")
	}

	t.Log("agent and service of s1 are killed")
	at = time.Now()
	c.kill("s1")
	c.sh("s1", "kill -9 $(cat /run/web.pid)")
	if gap, _ := c.moves(a, at, "s2"); gap > 10*time.Second {
		t.Errorf("nobody answered for %s", ms(gap)) // Active_Down_Interval of priority 190 is 3.26 s
	}
	c.stays(b, "s2")
	c.is("s2", "ACTIVE", "ACTIVE")

	t.Log("s1 returns, and takes over what is its own")
	a, b, at = c.loads(webA...), c.loads(webB...), time.Now()
	c.sh("s1", "anyvip-lab web -d --pidfile /run/web.pid --name s1")
	c.start("s1")
	if _, failed := c.moves(a, at, "s1"); failed > 0 {
		t.Errorf("%d requests failed on the way back", failed)
	}
	c.is("s1", "ACTIVE", "BACKUP")
	after := c.is("s2", "BACKUP", "ACTIVE")
	c.stays(b, "s2")
	for i, r := range after.Routers {
		if r.State == "ACTIVE" && !r.Since.Equal(before.Routers[i].Since) {
			t.Errorf("%s of s2 is Active since %s, not since %s: it has been something else", r.Name, r.Since, before.Routers[i].Since)
		}
	}
}
