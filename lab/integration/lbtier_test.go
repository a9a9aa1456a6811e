package integration

import (
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/anyvip/anyvip/lab/labtest"
	"github.com/anyvip/anyvip/lab/load"
)

// tier is examples/lb-tier, as it stands: lb1 is HAProxy with priority 150, lb2 NGINX
// with 100. Its addresses are those of pair.
type tier struct{ pair }

// TestLoadBalancerTier tells the story of the example, seen by a client. It is not
// parallel: its balancers would be too busy for clients that wait a second.
func TestLoadBalancerTier(t *testing.T) {
	labtest.Need(t, "haproxy", "nginx")
	b := tier{pair{up(t, "../../../examples/lb-tier/lb-tier.clab.yml", options{})}}
	t.Cleanup(func() { labtest.Explain(t, b.Lab, "lb2", "cat", "/var/log/nginx-error.log") })
	b.is("lb1", "ACTIVE")
	b.is("lb2", "BACKUP")

	t.Log("the balancer that waits dies, and returns")
	loads, at := b.loads(), time.Now()
	b.sh("lb2", "kill -9 $(pgrep nginx)")
	b.dead("lb2")
	b.sh("lb2", "nginx")
	b.is("lb2", "BACKUP")
	if _, failed := b.moves(loads, at, "lb1"); failed > 0 {
		t.Errorf("%d requests failed", failed)
	}
	b.bothBackendsBy(loads, "lb1")

	t.Log("the balancer that works dies")
	loads, at = b.loads(), time.Now()
	b.sh("lb1", "kill -9 $(cat /run/haproxy.pid)")
	if gap, _ := b.moves(loads, at, "lb2"); gap > 2*time.Second {
		t.Errorf("nobody answered for %s", ms(gap)) // Skew_Time of priority 100 is 610 ms
	}
	b.bothBackendsBy(loads, "lb2")
	b.dead("lb1")

	t.Log("it returns, and takes over again")
	loads, at = b.loads(), time.Now()
	b.sh("lb1", "haproxy -D -f /etc/haproxy/haproxy.cfg -p /run/haproxy.pid")
	b.is("lb1", "ACTIVE")
	if _, failed := b.moves(loads, at, "lb1"); failed > 0 {
		t.Errorf("%d requests failed on the way back", failed)
	}
	b.is("lb2", "BACKUP")

	b.allBackendsDie()
	b.oneLosesItsBackends()

	t.Log("a polite stop of the agent")
	loads, at = b.loads(), time.Now()
	b.signal("lb1", syscall.SIGTERM)
	if _, failed := b.moves(loads, at, "lb2"); failed > 0 {
		t.Errorf("%d requests failed", failed)
	}
	b.gone("lb1", at, 10*time.Second)
}

// dead waits until a balancer's agent knows from the kernel that the balancer has ended.
func (b tier) dead(node string) {
	b.t.Helper()
	b.statusShows(node, "that its balancer has ended", func(s agentStatus) bool {
		why := s.Services[0].Reasons[0]
		return s.Services[0].Disposition == "WITHDRAWN" && why.Code == "CHECK_FAILED" && why.Subject == "balancer" && strings.HasPrefix(why.Detail, "the listener ended: ")
	})
}

// bothBackendsBy checks that a balancer balances. Both addresses together: two clients in
// step can take turns as the balancer does.
func (b tier) bothBackendsBy(loads map[string]client, node string) {
	b.t.Helper()
	for _, web := range []string{"web1", "web2"} {
		n := 0
		for _, c := range loads {
			n += len(c.all(func(e load.Event) bool { return e.Kind == load.Result && e.Request.Server == web+" via "+node }))
		}
		if n == 0 {
			b.t.Errorf("no request went to %s through %s", web, node)
		}
	}
}

// degraded waits until a balancer that reaches no backend says so, and its routers have a
// priority and a state.
func (b tier) degraded(node string, priority int, state string) agentStatus {
	b.t.Helper()
	return b.statusShows(node, "that it has no backend", func(s agentStatus) bool {
		for _, r := range s.Routers {
			if r.Priority != priority || r.State != state {
				return false
			}
		}
		why := slices.ContainsFunc(s.Services[0].Reasons, func(r reason) bool { return r.Code == "CHECK_DEGRADED" && r.Subject == "backends" })
		return why && s.Services[0].Level == "DEGRADED" && len(s.Routers) == 2
	})
}

// allBackendsDie: what both balancers share takes the address off neither.
func (b tier) allBackendsDie() {
	b.t.Helper()
	b.t.Log("every backend dies, and returns")
	loads, at := b.loads(), time.Now()
	for _, web := range []string{"web1", "web2"} {
		b.sh(web, "kill -9 $(cat /run/web.pid)")
	}
	b.degraded("lb2", 20, "BACKUP")
	for _, r := range b.degraded("lb1", 70, "ACTIVE").Routers {
		if r.Since.After(at) {
			b.t.Errorf("router %s is Active since %s only", r.Name, r.Since)
		}
	}
	returned := time.Now()
	for _, web := range []string{"web1", "web2"} {
		b.sh(web, "anyvip-lab web -d --pidfile /run/web.pid --name "+web)
	}
	b.moves(loads, returned, "lb1")
	for host, c := range loads {
		if n := len(c.all(func(e load.Event) bool { return e.Kind == load.Result && by(e.Request, "lb2") })); n > 0 {
			b.t.Errorf("%s: %d requests were answered through lb2", host, n)
		}
	}
	for node, priority := range map[string]int{"lb1": 150, "lb2": 100} {
		b.statusShows(node, "that it has backends", func(s agentStatus) bool {
			return s.Routers[0].Priority == priority && s.Routers[1].Priority == priority
		})
	}
}

// oneLosesItsBackends: the other one has some.
func (b tier) oneLosesItsBackends() {
	b.t.Helper()
	b.t.Log("one balancer's link to the backends is cut")
	loads, at := b.loads(), time.Now()
	if err := b.SetLink("lb1:eth2", false); err != nil {
		b.t.Fatal(err)
	}
	b.moves(loads, at, "lb2")
	b.degraded("lb1", 70, "BACKUP")
	loads, at = b.loads(), time.Now()
	if err := b.SetLink("lb1:eth2", true); err != nil {
		b.t.Fatal(err)
	}
	b.is("lb1", "ACTIVE")
	if _, failed := b.moves(loads, at, "lb1"); failed > 0 {
		b.t.Errorf("%d requests failed on the way back", failed)
	}
	b.is("lb2", "BACKUP")
}
