package container

import (
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// The VIP of docker-compose.yml, as a route and as a web service.
var vip = netip.MustParsePrefix("192.0.2.10/32")

const url = "http://192.0.2.10/"

// The servers of docker-compose.yml.
var servers = []netip.Addr{netip.MustParseAddr("198.51.100.11"), netip.MustParseAddr("198.51.100.12"), netip.MustParseAddr("198.51.100.13")}

const patience = 20 * time.Second

func TestContainers(t *testing.T) {
	e := startEngine(t)
	t.Run("docker-compose.yml", func(t *testing.T) { testCompose(e.in(t)) })
	t.Run("lab/ecmp.clab.yml", func(t *testing.T) { testLabFile(e.in(t)) })
}

// testCompose does what examples/compose/README.md tells a newcomer to do.
func testCompose(e *engine) {
	t := e.t
	e.importFRR(frrImage(t))
	e.composed("up", "-d")
	tor := e.watchTor()
	tor.route(time.Time{}, servers...)
	kernel := e.composed("exec", "-T", "tor", "ip", "route", "show", vip.Addr().String())
	if n := strings.Count(kernel, "nexthop via"); n != 3 {
		t.Errorf("%d next hops in the kernel of the ToR, want 3: %s", n, kernel)
	}
	if status := e.composed("exec", "-T", "s1", "anyvip", "status"); !strings.Contains(status, "Established") {
		t.Errorf("anyvip status of s1:\n%s", status)
	}

	sum := e.summaryOf(e.composed("exec", "-T", "client", "anyvip-lab", "load", "--target", url, "--spread", "300"))
	if sum.Failed > 0 || len(sum.Servers) != 3 {
		t.Errorf("a client's 300 connections: %d failed %v, servers %v", sum.Failed, sum.Failures, sum.Servers)
	}
	t.Logf("300 connections: %v", sum.Servers)

	testServiceDies(e, tor)
	testAgentStops(e, tor)

	eventually(t, patience, func() error {
		health := e.run("docker", "inspect", "--format", "{{.State.Health.Status}}", e.id("s1"))
		if strings.TrimSpace(health) != "healthy" {
			return fmt.Errorf("the health of s1 is %s", health)
		}
		return nil
	})
	tor.end()
	e.composed("down")
	if left := e.run("docker", "ps", "--all", "--format", "{{.Names}}") + e.run("docker", "network", "ls", "--filter", "type=custom", "--format", "{{.Name}}"); left != "" {
		t.Errorf("left after down:\n%s", left)
	}
}

// testServiceDies kills a web service and starts it again.
func testServiceDies(e *engine, tor tor) {
	client := e.startLoad()
	killed := time.Now()
	e.composed("kill", "web2")
	out := tor.route(killed, servers[0], servers[2])
	e.t.Logf("kill web2: out of the ToR's kernel %s after the call of compose", out.Sub(killed).Round(time.Millisecond))
	status := e.composed("exec", "-T", "s2", "anyvip", "status")
	e.t.Logf("anyvip status on s2:\n%s", status)
	if !strings.Contains(status, "withdrawn") {
		e.t.Errorf("anyvip status of s2:\n%s", status)
	}
	sum := client.end()
	if late := sum.LastFailure.Sub(out); late > 20*time.Millisecond {
		e.t.Errorf("a request failed that was due %s after the route was gone: %v", late, sum.Failures)
	}
	e.t.Logf("%d of %d requests failed: %v", sum.Failed, sum.Requests, sum.Failures)
	started := time.Now()
	e.composed("start", "web2")
	tor.route(started, servers...)
}

// testAgentStops stops an agent politely: nothing fails. A request that is open
// in the very moment in which the ToR spreads anew may be lost, whatever the agent
// does; then the stop is repeated.
func testAgentStops(e *engine, tor tor) {
	const tries = 3
	for try := 1; ; try++ {
		client := e.startLoad()
		asked := time.Now()
		e.composed("stop", "s2")
		stopped := time.Since(asked)
		moved := tor.route(asked, servers[0], servers[2])
		sum := client.end()
		e.t.Logf("stop s2: took %s, out of the ToR's kernel %s after the call of compose, %d of %d requests failed, servers %v",
			stopped.Round(time.Millisecond), moved.Sub(asked).Round(time.Millisecond), sum.Failed, sum.Requests, sum.Servers)
		if sum.Servers["s2"] == 0 {
			e.t.Error("s2 answered nothing before its stop, so this shows little")
		}
		if status := e.run("docker", "inspect", "--format", "{{.State.ExitCode}}", e.id("s2")); strings.TrimSpace(status) != "0" {
			e.t.Errorf("the agent ended with %s", status)
		}
		started := time.Now()
		e.composed("start", "s2")
		tor.route(started, servers...)
		const about = 20 * time.Millisecond
		onlyThen := sum.FirstFailure.After(moved.Add(-about)) && sum.LastFailure.Before(moved.Add(about))
		if sum.Failed == 0 || !onlyThen || try == tries {
			if sum.Failed > 0 {
				e.t.Errorf("%d requests failed at a polite stop: %v", sum.Failed, sum.Failures)
			}
			return
		}
	}
}

// frrImage is the image that docker-compose.yml takes for FRR.
func frrImage(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`image: (quay\.io/frrouting/frr:\S+)`).FindSubmatch(text)
	if name == nil {
		t.Fatal("docker-compose.yml has no image quay.io/frrouting/frr with a tag")
	}
	return string(name[1])
}

// in is the engine for a subtest.
func (e *engine) in(t *testing.T) *engine {
	of := *e
	of.t = t
	return &of
}

// composed runs compose and returns what it printed.
func (e *engine) composed(args ...string) string {
	e.t.Helper()
	return e.run(slices.Concat(e.compose, args)...)
}

// id is the container of a service.
func (e *engine) id(service string) string {
	e.t.Helper()
	return strings.TrimSpace(e.composed("ps", "-q", service))
}
