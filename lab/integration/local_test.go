package integration

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/anyvip/anyvip/lab/labtest"
	"github.com/anyvip/anyvip/lab/load"
	"github.com/anyvip/anyvip/lab/watch"
)

// The examples in which anyvip gives its VIPs to the host's own routing daemon,
// as they stand: FRR and BIRD, each with a ToR of its own make.
func TestLocalFRRAnnouncesToTheToR(t *testing.T)  { testLocalDaemon(t, "frr") }
func TestLocalBIRDAnnouncesToTheToR(t *testing.T) { testLocalDaemon(t, "bird") }

// theDaemonsView shows what the host's routing daemon knows.
var theDaemonsView = map[string]string{
	"frr":  "vtysh -c 'show bgp summary' -c 'show bgp ipv4 unicast' -c 'show bgp neighbors' -c 'show bgp update-groups'",
	"bird": "birdc show protocols all; birdc show route all",
}

func testLocalDaemon(t *testing.T, daemon string) {
	t.Parallel()
	state := map[string]string{"ANYVIP_STATE_DIR": "/run/anyvip-state"} // as the file has it
	r := up(t, fmt.Sprintf("../../../examples/local-%s/local-%[1]s.clab.yml", daemon), options{
		env: map[string]map[string]string{"s1": state, "s2": state},
	})
	l := local{rig: r, tor: r.watchTor("tor", "eth1", "eth2")}
	t.Cleanup(func() {
		labtest.Explain(t, r.Lab, "s1", "sh", "-c", theDaemonsView[daemon]+"; ss -tanpi; ps ax")
	})
	for _, p := range vips {
		l.tor.route(time.Time{}, p, 2)
	}
	l.serverKernelHasNoRoute(daemon)
	if daemon == "frr" {
		l.noWithdrawIsForgotten()
	}
	l.attributesReachTheToR()
	l.healthMovesTheRoute()
	l.daemonRestarts()
	l.killTakesTheRouteAway()
	l.politeStopLosesNothing()
}

// local is such a lab: servers s1 and s2 with the daemon and anyvip, one ToR.
type local struct {
	*rig
	tor tor
}

// heard waits until the ToR has heard a message on a link.
func (l local) heard(since time.Time, link, what string, match func(*watch.Message) bool) watch.Event {
	l.t.Helper()
	return l.tor.wait(patience, what+" on "+link, func(e watch.Event) bool {
		return e.Kind == watch.Wire && !e.Time.Before(since) && e.Message.Interface == link && match(e.Message)
	})
}

// agent is the process id of a server's anyvip, or empty.
func (l local) agent(node string) string {
	l.t.Helper()
	return strings.TrimSpace(l.sh(node, "pgrep -x anyvip || true"))
}

// signalAgent signals a server's anyvip, which is not the node's daemon here.
func (l local) signalAgent(node string, sig syscall.Signal) {
	l.t.Helper()
	l.sh(node, fmt.Sprintf("kill -%d %s", sig, l.agent(node)))
}

// agentEnds waits until a server's anyvip is no more.
func (l local) agentEnds(node string) {
	l.t.Helper()
	eventually(l.t, patience, func() error {
		if l.agent(node) != "" {
			return errors.New("the agent of " + node + " still runs")
		}
		return nil
	})
}

func (l local) startAgent(node string) {
	l.t.Helper()
	l.sh(node, "anyvip run >>/proc/1/fd/1 2>&1 &")
}

// serverKernelHasNoRoute checks that the daemon keeps the VIPs to itself: they
// are on lo, and a route to elsewhere would wait for the day they are not.
func (l local) serverKernelHasNoRoute(daemon string) {
	l.t.Helper()
	for _, line := range strings.Split(l.sh("s1", "ip route show table main; ip -6 route show table main"), "\n") {
		for _, p := range vips {
			if strings.Contains(line, p.Addr().String()) && !strings.Contains(line, "dev lo proto kernel") {
				l.t.Errorf("the kernel of s1 has the route %q", line)
			}
		}
	}
	if daemon != "frr" {
		return
	}
	// While the address is there zebra does not install the route in any case.
	for _, show := range []string{"show ip route bgp", "show ipv6 route bgp"} {
		if text := l.sh("s1", "vtysh -c '"+show+"'"); strings.Contains(text, "via ") {
			l.t.Errorf("zebra of s1 has routes of bgpd:\n%s", text)
		}
	}
}

// noWithdrawIsForgotten checks that FRR does not coalesce: a withdraw meanwhile
// would never reach the router.
func (l local) noWithdrawIsForgotten() {
	l.t.Helper()
	for _, node := range []string{"s1", "s2"} {
		groups := l.sh(node, "vtysh -c 'show bgp update-groups'")
		if !strings.Contains(groups, "Coalesce Time: 0\n") || strings.Count(groups, "Coalesce Time:") != strings.Count(groups, "Coalesce Time: 0\n") {
			l.t.Errorf("FRR of %s coalesces:\n%s", node, groups)
		}
	}
}

func (l local) attributesReachTheToR() {
	l.t.Helper()
	begin := time.Now()
	l.replace("s1", "{med: 10, communities:", `{med: 30, prepend: 2, large_communities: ["4200000000:1:2"], communities:`)
	l.signalAgent("s1", syscall.SIGHUP)
	for p, nextHop := range map[netip.Prefix]string{vip4: "10.0.1.11", vip6: "2001:db8:1::11"} {
		e := l.heard(begin, "eth1", "MED 30 for "+p.String(), func(m *watch.Message) bool { // the daemon may say the old ones once more
			return m.Announces(p) && m.Attributes.MED != nil && *m.Attributes.MED == 30
		})
		l.t.Logf("%s: SIGHUP to the ToR's wire %s", p, ms(e.Time.Sub(begin)))
		a := e.Message.Attributes
		if !slices.Equal(a.ASPath, []uint32{65101, 65110, 65110, 65110}) || a.Origin != "igp" ||
			!slices.Equal(a.Communities, []string{"65000:100"}) || !slices.Equal(a.LargeCommunities, []string{"4200000000:1:2"}) {
			l.t.Errorf("the ToR hears for %s %s", p, asJSON(a))
		}
		i := slices.IndexFunc(e.Message.Announced, func(n watch.NLRI) bool { return n.Prefix == p })
		if got := e.Message.Announced[i].NextHop.String(); got != nextHop {
			l.t.Errorf("the next hop of %s is %s, want %s", p, got, nextHop)
		}
		l.tor.route(begin, p, 1) // the longer path
	}
	changed := time.Now()
	l.replace("s1", "med: 30, prepend: 2,", "med: 10,")
	l.signalAgent("s1", syscall.SIGHUP)
	for _, p := range vips {
		l.tor.route(changed, p, 2)
	}
	for _, e := range l.tor.all(func(e watch.Event) bool {
		return e.Kind == watch.Wire && e.Time.After(begin) && len(e.Message.Withdrawn) > 0
	}) {
		l.t.Errorf("a withdraw: %s", asJSON(e))
	}
}

func (l local) healthMovesTheRoute() {
	l.t.Helper()
	killed := time.Now()
	l.sh("s1", "kill -9 $(cat /run/web.pid)")
	for _, p := range vips {
		wire := l.heard(killed, "eth1", "the withdraw of "+p.String(), withdraws(p)).Time
		fib := l.tor.route(killed, p, 1)
		l.t.Logf("%s: death of the service to the ToR's wire %s, wire to its kernel %s", p, ms(wire.Sub(killed)), ms(fib.Sub(wire)))
	}
	returned := time.Now()
	l.sh("s1", "anyvip-lab web -d --pidfile /run/web.pid --name s1")
	for _, p := range vips {
		l.t.Logf("%s: return of the service to the ToR's kernel %s (recovery_delay 2 s)", p, ms(l.tor.route(returned, p, 2).Sub(returned)))
	}
}

// daemonRestarts ends the daemon, not anyvip, and starts it again.
func (l local) daemonRestarts() {
	l.t.Helper()
	killed := time.Now()
	l.kill("s1")
	for _, p := range vips {
		l.tor.route(killed, p, 1)
	}
	l.statusShows("s1", "the lost session", func(s agentStatus) bool { return !s.established() })
	started := time.Now()
	l.start("s1")
	for _, p := range vips {
		l.t.Logf("%s: start of the daemon to the ToR's kernel %s", p, ms(l.tor.route(started, p, 2).Sub(started)))
	}
}

func (l local) killTakesTheRouteAway() {
	l.t.Helper()
	killed := time.Now()
	l.signalAgent("s1", syscall.SIGKILL)
	for _, p := range vips {
		wire := l.heard(killed, "eth1", "the withdraw of "+p.String(), withdraws(p)).Time
		fib := l.tor.route(killed, p, 1)
		l.t.Logf("%s: kill -9 of anyvip to the ToR's wire %s, wire to its kernel %s", p, ms(wire.Sub(killed)), ms(fib.Sub(wire)))
		if d := wire.Sub(killed); d > 4*time.Second { // the hold time is 9 s
			l.t.Errorf("%s: the daemon noticed after %s that anyvip had died", p, ms(d))
		}
	}
	started := time.Now()
	l.startAgent("s1")
	for _, p := range vips {
		l.t.Logf("%s: start of anyvip to the ToR's kernel %s", p, ms(l.tor.route(started, p, 2).Sub(started)))
	}
}

func (l local) politeStopLosesNothing() {
	l.t.Helper()
	loads := map[netip.Prefix]client{vip4: l.startLoad(), vip6: l.startLoad6()}
	for _, c := range loads {
		c.answered(50, time.Time{}, "s1")
	}
	asked := time.Now()
	l.signalAgent("s1", syscall.SIGTERM)
	shift, moved := map[netip.Prefix]time.Time{}, map[netip.Prefix]time.Time{}
	for _, p := range vips {
		shift[p] = l.heard(asked, "eth1", "GRACEFUL_SHUTDOWN for "+p.String(), func(m *watch.Message) bool {
			return m.Announces(p) && slices.Contains(m.Attributes.Communities, "65535:0")
		}).Time
		moved[p] = l.tor.route(asked, p, 1)
		gone := l.heard(asked, "eth1", "the withdraw of "+p.String(), withdraws(p)).Time
		l.t.Logf("%s: after SIGTERM GRACEFUL_SHUTDOWN at the ToR %s, out of its kernel %s, withdraw %s", p, ms(shift[p].Sub(asked)), ms(moved[p].Sub(asked)), ms(gone.Sub(asked)))
		if d := gone.Sub(shift[p]); d < 500*time.Millisecond {
			l.t.Errorf("%s: the withdraw came %s after GRACEFUL_SHUTDOWN, want about 1 s", p, ms(d))
		}
		if !moved[p].Before(gone) {
			l.t.Errorf("%s: the route moved only with the withdraw", p)
		}
	}
	l.agentEnds("s1")
	ended := time.Now()
	if !strings.Contains(l.Logs("s1"), `"to":"stopped"`) {
		l.t.Error("the agent's log does not say that it stopped")
	}
	for p, c := range loads {
		c.answered(50, ended, "s2")
		sum := c.stop()
		l.t.Logf("%s: %d of %d requests failed, answers from %v", p, sum.Failed, sum.Requests, sum.Servers)
		for _, e := range c.all(func(e load.Event) bool { return e.Kind == load.Result && !fineOrCut(e.Request, shift[p], moved[p]) }) {
			l.t.Errorf("%s: lost %s after SIGTERM: %s", p, ms(e.Request.Started.Sub(asked)), asJSON(e))
		}
	}
}

// fineOrCut says whether a request succeeded, or was open when its route moved:
// the other server resets it then, and nobody can help that. The route moved
// between the UPDATE and the report that it has.
func fineOrCut(r *load.Request, update, reported time.Time) bool {
	return fine(r) || r.Failure == load.Reset && r.Started.Before(reported) && r.Ended.After(update)
}

// startLoad6 is startLoad over IPv6.
func (l local) startLoad6() client {
	l.t.Helper()
	c := client{follow(l.rig, load.Decode, "client", "anyvip-lab", "load", "--target", "http://[2001:db8:10::10]/", "--rate", "200", "--each")}
	c.wait(patience, "the client is ready", func(e load.Event) bool { return e.Kind == load.Ready })
	return c
}
