package integration

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// segment is examples/fallback, as it stands: s1, s2 and s3 with BGP and, without it, VRRP.
type segment struct {
	*rig
	tor tor
}

// segmentVIPs are its addresses.
var segmentVIPs = []netip.Prefix{netip.MustParsePrefix("10.0.5.100/32"), netip.MustParsePrefix("2001:db8:5::100/128")}

// TestFallback: one of three servers loses its session, then all do, and then they have
// it again.
func TestFallback(t *testing.T) {
	t.Parallel()
	r := up(t, "../../../examples/fallback/fallback.clab.yml", options{})
	s := segment{r, r.watchRoutes("tor", segmentVIPs)}
	servers := []string{"s1", "s2", "s3"}
	for _, p := range segmentVIPs {
		s.tor.route(time.Time{}, p, 3)
	}
	for _, n := range servers {
		s.routersAre(n, "INITIALIZE")
	}

	t.Log("one loses its session: it is alone on the segment, and the others have the routes")
	s.sh("tor", "birdc disable s3")
	s.routersAre("s3", "ACTIVE")
	for _, n := range servers[:2] {
		s.routersAre(n, "INITIALIZE")
	}
	loads := s.loads()
	for host, c := range loads {
		c.answered(100, time.Now(), "s1")
		if sum := c.stop(); sum.Failed > 0 {
			t.Errorf("%s: %d of %d requests failed", host, sum.Failed, sum.Requests)
		}
	}

	t.Log("all lose it: the best of them is Active, and all connections go there")
	s.sh("tor", "birdc disable s1; birdc disable s2")
	s.routersAre("s1", "ACTIVE")
	for _, n := range servers[1:] {
		s.routersAre(n, "BACKUP")
	}
	loads, since := s.loads(), time.Now()
	for _, c := range loads {
		c.answered(100, since, "s1")
	}
	s.statusShows("s2", "why", func(a agentStatus) bool {
		return a.Services[0].Disposition == "STANDBY" && a.Services[0].Reasons[0].Code == "FALLBACK" && a.Services[0].Reasons[1].Code == "BACKUP"
	})

	t.Log("they have it again, one after the other: nothing new is lost on the way")
	for _, n := range []string{"s2", "s1", "s3"} {
		at := time.Now()
		s.sh("tor", "birdc enable "+n)
		s.statusShows(n, "a session", func(a agentStatus) bool { return len(a.Sessions) == 1 && a.Sessions[0].State == "ESTABLISHED" })
		s.routersAre(n, "INITIALIZE")
		t.Logf("%s: by BGP alone after %s", n, ms(time.Since(at)))
	}
	at := time.Now()
	for _, c := range loads {
		for _, n := range servers {
			c.answered(20, at, n)
		}
	}
	moves := s.moves(since)
	for host, c := range loads {
		sum := c.stop()
		lost := c.lost(moves)
		t.Logf("%s: %d of %d requests failed (%v), %d of them were not open when the router spread anew", host, sum.Failed, sum.Requests, sum.Failures, len(lost))
		for _, e := range lost {
			t.Errorf("%s: %+v", host, e.Request)
		}
	}
	for _, n := range servers { // the address is on lo throughout, and on the link no more
		for link, want := range map[string]int{"lo": 2, "eth1": 0} {
			if got := s.vipsOn(n, link); got != want {
				t.Errorf("%s has %d VIPs on %s, want %d", n, got, link, want)
			}
		}
	}
}

// routersAre waits until both virtual routers of a server are in a state, and those that
// are not Active answer for nothing any more.
func (s segment) routersAre(node, state string) {
	s.t.Helper()
	s.statusShows(node, "routers that are "+state, func(a agentStatus) bool {
		for _, r := range a.Routers {
			if r.State != state || r.Answers != (state == "ACTIVE") {
				return false
			}
		}
		return len(a.Routers) == 2
	})
}

// loads begins to ask both addresses.
func (s segment) loads() map[string]client {
	s.t.Helper()
	return s.rig.loads("10.0.5.100", "[2001:db8:5::100]")
}

// moves are the changes of the router's next hops since then. From when it was told is
// not watched: a little before its kernel had it.
func (s segment) moves(since time.Time) (list []move) {
	for _, e := range s.tor.moved(since) {
		list = append(list, move{e.Time.Add(-movesWithin), e.Time})
	}
	return list
}

// vipsOn counts the VIPs on a link.
func (s segment) vipsOn(node, link string) (n int) {
	s.t.Helper()
	for _, a := range s.addresses(node, link) {
		for _, p := range segmentVIPs {
			if a == fmt.Sprint(p) {
				n++
			}
		}
	}
	return n
}
