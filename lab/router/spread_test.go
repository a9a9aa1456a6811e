package router

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/anyvip/anyvip/lab/labtest"
	"github.com/anyvip/anyvip/lab/load"
	"github.com/anyvip/anyvip/lab/watch/nstest"
)

// What the demo shows, in small: a client's connections spread over three servers through the router; a server whose
// route goes first and whose service ends later costs no new request; one whose service dies first costs some, for as
// long as its route is there.
func TestConnectionsFollowTheRoutes(t *testing.T) {
	labtest.Need(t, "root", "ip", "bird")
	r := newRack(t, 3, threePeers)
	client := nstest.NewHost(t, "client")
	nstest.Join(r.tor, "10.0.9.1/30 fd00:9::1/64", client, "10.0.9.2/30 fd00:9::2/64")
	client.Run("ip", "route", "add", "default", "via", "10.0.9.1")
	client.Run("ip", "-6", "route", "add", "default", "via", "fd00:9::1")
	var webs []*exec.Cmd
	for n, s := range r.servers {
		s.Run("ip", "addr", "add", vip4.String(), "dev", "lo")
		s.Run("ip", "addr", "add", vip6.String(), "dev", "lo", "nodad")
		s.Run("ip", "route", "add", "default", "via", fmt.Sprintf("10.0.%d.1", n+1))
		s.Run("ip", "-6", "route", "add", "default", "via", fmt.Sprintf("fd00:%d::1", n+1))
		webs = append(webs, s.Start(role(s, "web", s.Name)))
		r.announce(n+1, "")
	}
	r.route(vip4, "10.0.1.2", "10.0.2.2", "10.0.3.2")
	r.route(vip6, "fd00:1::2", "fd00:2::2", "fd00:3::2")

	for _, target := range []string{"http://192.0.2.10/", "http://[2001:db8:10::10]/"} {
		nstest.Eventually(t, func() string { // the web servers start at their own pace
			if s := startLoad(t, client, target, "30").summary(); s.Failed > 0 {
				return fmt.Sprintf("%s: %v", target, s.Failures)
			}
			return ""
		})
		s := startLoad(t, client, target, "300").summary()
		t.Logf("%s: 300 connections went %v", target, s.Servers)
		for n := 1; n <= 3; n++ {
			// One in three is 100, give or take 8; 50 is six times that away.
			if got := s.Servers[fmt.Sprintf("s%d", n)]; got < 50 || got > 150 {
				t.Errorf("%s: s%d answered %d of 300: %v, failed %v", target, n, got, s.Servers, s.Failures)
			}
		}
	}

	l := startLoad(t, client, "http://192.0.2.10/", "120", "200") // 0.6 s
	r.announce(3, "reject;")
	out := r.route(vip4, "10.0.1.2", "10.0.2.2")
	// One that moved in that moment is open at s3 still, whose client has been reset: it says nothing.
	nstest.Eventually(t, func() string {
		held := peers(r.servers[2].Run("ss", "-Htn", "state", "established", "sport", "=", ":80"), 3)
		return strings.Join(common(held, peers(client.Run("ss", "-Htn", "state", "established", "dport", "=", ":80"), 2)), " ")
	})
	kill(t, webs[2], syscall.SIGTERM)
	s := l.summary()
	// The kernel hashes anew when the set changes, so a connection that was open at that moment may have moved.
	if s.LastFailure.After(out.Time) {
		t.Errorf("withdrawn at %v, then stopped: %+v", out.Time, s)
	}
	t.Logf("withdrawn, then stopped: %d of %d requests failed", s.Failed, s.Requests)

	l = startLoad(t, client, "http://192.0.2.10/", "120", "200")
	kill(t, webs[1], syscall.SIGKILL)
	l.next(load.Result) // the first failure
	r.announce(2, "reject;")
	out = r.route(vip4, "10.0.1.2")
	s = l.summary()
	if s.Failed == 0 || s.LastFailure.After(out.Time) {
		t.Errorf("killed, withdrawn at %v: %+v", out.Time, s)
	}
	t.Logf("killed, then withdrawn: %d of %d requests failed", s.Failed, s.Requests)
}

// peers are the ports in a column of what ss printed.
func peers(table string, column int) (ports []string) {
	for line := range strings.Lines(table) {
		if f := strings.Fields(line); len(f) > column {
			ports = append(ports, f[column][strings.LastIndex(f[column], ":")+1:])
		}
	}
	return ports
}

func common(a, b []string) []string {
	return slices.DeleteFunc(a, func(x string) bool { return !slices.Contains(b, x) })
}

// running is a load generator in a namespace.
type running struct {
	t      *testing.T
	cmd    *exec.Cmd
	events chan load.Event
}

// startLoad returns when the first request is about to start.
func startLoad(t *testing.T, host *nstest.Host, target string, numbers ...string) *running {
	t.Helper()
	l := &running{t: t, cmd: role(host, "load", append([]string{target}, numbers...)...), events: make(chan load.Event, 10000)}
	out, err := l.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	host.Start(l.cmd)
	go func() {
		defer close(l.events)
		for e, err := range load.Decode(out) {
			if err != nil {
				return
			}
			l.events <- e
		}
	}()
	l.next(load.Ready)
	return l
}

// next waits for an event of this kind.
func (l *running) next(kind load.Kind) load.Event {
	l.t.Helper()
	for deadline := time.After(10 * time.Second); ; {
		select {
		case e, ok := <-l.events:
			if ok && e.Kind == kind {
				return e
			}
			if !ok {
				l.t.Fatalf("load ended without %s", kind)
			}
		case <-deadline:
			l.t.Fatalf("no %s from load", kind)
		}
	}
}

func (l *running) summary() load.Summary { return *l.next(load.Summed).Summary }
