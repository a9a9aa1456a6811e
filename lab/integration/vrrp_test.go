package integration

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/anyvip/anyvip/lab/load"
)

// movesWithin is how long before a server's first answer a request may have begun that
// was still open when the address came there: on a busy machine one takes that long.
const movesWithin = 100 * time.Millisecond

// pair is examples/vrrp-pair, as it stands: s1 with priority 150, s2 with 100.
type pair struct{ *rig }

const (
	pairVIP4 = "10.0.5.100"
	pairVIP6 = "2001:db8:5::100"
)

func upPair(t *testing.T) pair {
	t.Helper()
	p := pair{up(t, "../../../examples/vrrp-pair/vrrp-pair.clab.yml", options{})}
	p.is("s1", "ACTIVE")
	p.is("s2", "BACKUP")
	return p
}

// is waits until both routers of a server are in a state.
func (p pair) is(node, state string) agentStatus {
	p.t.Helper()
	return p.statusShows(node, "routers that are "+state, func(s agentStatus) bool {
		return len(s.Routers) == 2 && s.Routers[0].State == state && s.Routers[1].State == state
	})
}

// loads begins to ask both addresses.
func (p pair) loads() map[string]client {
	p.t.Helper()
	return p.rig.loads(pairVIP4, "["+pairVIP6+"]")
}

// moves waits until a server answers to all, ends the loads, and returns the longest
// time in which none was answered, and how many failed that were not open when the
// address moved: the other server knows nothing of those.
func (r *rig) moves(loads map[string]client, since time.Time, server string) (gap time.Duration, failed int) {
	r.t.Helper()
	for host, c := range loads {
		c.answered(100, since, server)
		sum := c.stop()
		first := c.all(func(e load.Event) bool {
			return e.Kind == load.Result && by(e.Request, server) && e.Request.Started.After(since)
		})[0].Request
		before := since // until here the address had not moved: another server answered a request that began here
		for _, e := range c.all(func(e load.Event) bool { return e.Kind == load.Result && fine(e.Request) && !by(e.Request, server) }) {
			if e.Request.Started.After(before) && e.Request.Started.Before(first.Ended) {
				before = e.Request.Started
			}
		}
		lost := c.all(func(e load.Event) bool {
			if e.Kind != load.Result || fine(e.Request) {
				return false
			}
			// Only the other server resets what was open: that one lives, and a service that died refuses.
			reset := e.Request.Failure == load.Reset && e.Request.Ended.After(before)
			return !e.Request.Started.Before(first.Ended) || !reset && !e.Request.Started.After(first.Started.Add(-movesWithin))
		})
		var last time.Time
		for _, e := range c.all(func(e load.Event) bool { return e.Kind == load.Result && fine(e.Request) }) {
			if !last.IsZero() {
				gap = max(gap, e.Request.Ended.Sub(last))
			}
			last = e.Request.Ended
		}
		failed += len(lost)
		r.t.Logf("%s: %d of %d requests failed (%v), longest gap %s", host, sum.Failed, sum.Requests, sum.Failures, ms(gap))
	}
	return gap, failed
}

// TestVRRPPair tells the story of the example: each way of losing the Active server,
// seen by a client.
func TestVRRPPair(t *testing.T) {
	t.Parallel()
	p := upPair(t)

	t.Log("the service of the Active server dies")
	loads := p.loads()
	at := time.Now()
	p.sh("s1", "kill -9 $(cat /run/web.pid)")
	if gap, _ := p.moves(loads, at, "s2"); gap > 2*time.Second {
		t.Errorf("nobody answered for %s", ms(gap)) // Skew_Time of priority 100 is 610 ms
	}
	p.statusShows("s1", "why it does not take part", func(s agentStatus) bool {
		return len(s.Services) == 1 && s.Services[0].Disposition == "WITHDRAWN" && s.Services[0].Reasons[0].Code == "CHECK_FAILED"
	})

	t.Log("it returns, and takes over again")
	loads, at = p.loads(), time.Now()
	p.sh("s1", "anyvip-lab web -d --pidfile /run/web.pid --name s1")
	p.is("s1", "ACTIVE")
	if _, failed := p.moves(loads, at, "s1"); failed > 0 {
		t.Errorf("%d requests failed on the way back", failed)
	}
	p.is("s2", "BACKUP")

	t.Log("a drain")
	loads, at = p.loads(), time.Now()
	p.sh("s1", "anyvip drain web --reason test")
	if _, failed := p.moves(loads, at, "s2"); failed > 0 {
		t.Errorf("%d requests failed", failed)
	}
	p.statusShows("s1", "the drain", func(s agentStatus) bool { return s.Services[0].Disposition == "DRAINED" })
	p.sh("s1", "anyvip undrain web")
	p.is("s1", "ACTIVE")
	p.is("s2", "BACKUP")

	t.Log("a polite stop")
	loads, at = p.loads(), time.Now()
	p.signal("s1", syscall.SIGTERM)
	if _, failed := p.moves(loads, at, "s2"); failed > 0 {
		t.Errorf("%d requests failed", failed)
	}
	if state, err := p.Daemon("s1").Wait(t.Context()); err != nil || state.Ended != "anyvip: exit status 0" {
		t.Errorf("s1 ended as %q, %v", state.Ended, err)
	}
	p.gone("s1", at, 10*time.Second)
	p.start("s1")
	p.is("s1", "ACTIVE")
	p.is("s2", "BACKUP")

	t.Log("kill -9 of the agent: its service lives")
	loads, at = p.loads(), time.Now()
	p.kill("s1")
	gap, failed := p.moves(loads, at, "s2")
	if failed > 0 || gap > time.Second {
		t.Errorf("%d requests failed, nobody answered for %s", failed, ms(gap))
	}
	p.gone("s1", at, 7*time.Second) // 4 x 1 s + 3 s
	p.start("s1")
	p.is("s1", "ACTIVE")
	p.is("s2", "BACKUP")

	t.Log("kill -9 of the agent, and another one at once: what was left answers until s2 does")
	loads, at = p.loads(), time.Now()
	p.kill("s1")
	p.start("s1")
	p.is("s1", "ACTIVE") // s2 may have been for a moment
	p.is("s2", "BACKUP")
	if gap, _ := p.moves(loads, at, "s1"); gap > time.Second {
		t.Errorf("nobody answered for %s", ms(gap))
	}

	t.Log("the link of the Active server is cut")
	loads, at = p.loads(), time.Now()
	if err := p.SetLink("s1:eth1", false); err != nil {
		t.Fatal(err)
	}
	if gap, _ := p.moves(loads, at, "s2"); gap > 5*time.Second {
		t.Errorf("nobody answered for %s", ms(gap)) // Active_Down_Interval is 3.61 s
	}
	p.statusShows("s1", "that the link is down", func(s agentStatus) bool {
		return s.Services[0].Disposition == "WITHDRAWN" && s.Services[0].Reasons[0].Code == "LINK"
	})
	if err := p.SetLink("s1:eth1", true); err != nil {
		t.Fatal(err)
	}
	p.is("s1", "ACTIVE")
	p.is("s2", "BACKUP")
}

// gone waits until a server has none of the addresses, wherever, and says when.
func (p pair) gone(node string, since time.Time, limit time.Duration) {
	p.t.Helper()
	eventually(p.t, limit+time.Second, func() error {
		text := p.sh(node, "ip -brief address")
		for _, a := range []string{pairVIP4, pairVIP6, "fe80::5:100"} {
			if strings.Contains(text, a+"/") {
				return fmt.Errorf("%s still has %s", node, a)
			}
		}
		return nil
	})
	if d := time.Since(since); d > limit {
		p.t.Errorf("%s had the addresses for %s, want %s at most", node, ms(d), limit)
	} else {
		p.t.Logf("%s: the addresses were gone after %s", node, ms(d))
	}
}

// TestVRRPLastOneStays: a drain of the last server does not take the service away.
func TestVRRPLastOneStays(t *testing.T) {
	t.Parallel()
	p := upPair(t)
	p.signal("s2", syscall.SIGTERM)
	if _, err := p.Daemon("s2").Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	loads, at := p.loads(), time.Now()
	p.sh("s1", "anyvip drain web --reason test")
	s := p.statusShows("s1", "that no other took over", func(s agentStatus) bool {
		return s.Services[0].Disposition == "LEAVING" && s.Services[0].Reasons[0].Code == "NO_SUCCESSOR"
	})
	if s.Routers[0].State != "ACTIVE" {
		t.Errorf("%+v", s.Routers)
	}
	if _, failed := p.moves(loads, at, "s1"); failed > 0 {
		t.Errorf("%d requests failed", failed)
	}
	p.start("s2") // with priority 100 it relieves one of priority 1
	p.is("s2", "ACTIVE")
	p.is("s1", "INITIALIZE")
	p.statusShows("s1", "the drain", func(s agentStatus) bool { return s.Services[0].Disposition == "DRAINED" })
}
