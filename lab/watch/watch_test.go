package watch

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/anyvip/anyvip/lab/labtest"
	"github.com/anyvip/anyvip/lab/watch/nstest"
)

// watcher is a watch in a namespace.
type watcher struct {
	t      *testing.T
	cmd    *exec.Cmd
	events chan Event
}

func newWatcher(t *testing.T, host *nstest.Host, args ...string) *watcher {
	t.Helper()
	w := &watcher{t: t, cmd: host.Command(append([]string{os.Args[0]}, args...)...), events: make(chan Event, 1000)}
	w.cmd.Env = append(os.Environ(), "WATCH_TEST_ROLE=watch")
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	host.Start(w.cmd)
	go func() {
		defer close(w.events)
		for e, err := range Decode(out) {
			if err != nil {
				return
			}
			w.events <- e
		}
	}()
	if e := w.next(); e.Kind != Ready {
		t.Fatalf("first event %+v", e)
	}
	return w
}

func (w *watcher) next() Event {
	w.t.Helper()
	select {
	case e, ok := <-w.events:
		if !ok {
			w.t.Fatal("the watcher ended")
		}
		return e
	case <-time.After(5 * time.Second):
		w.t.Fatal("no event in five seconds")
	}
	return Event{}
}

// stop ends the watch and returns what it still had to say.
func (w *watcher) stop() (rest []Event) {
	w.t.Helper()
	if err := w.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		w.t.Fatal(err)
	}
	for e := range w.events {
		rest = append(rest, e)
	}
	if err := w.cmd.Wait(); err != nil {
		w.t.Errorf("watch ended with %v", err)
	}
	return rest
}

// text is an event as a short line.
func text(e Event) string {
	if e.Kind != FIB {
		return fmt.Sprintf("%s %s", e.Kind, e.Lost)
	}
	r := e.Route
	words := []string{r.Prefix.String()}
	for _, h := range r.NextHops {
		words = append(words, strings.TrimSuffix(h.Addr.String()+"%"+h.Interface, "%"))
		if h.Weight > 0 {
			words = append(words, fmt.Sprintf("x%d", h.Weight))
		}
	}
	for _, flag := range []struct {
		is   bool
		text string
	}{{r.Removed, "removed"}, {r.Initial, "initial"}, {r.Type != "", r.Type}} {
		if flag.is {
			words = append(words, flag.text)
		}
	}
	return strings.Join(words, " ")
}

func TestFIBFollowsTheKernel(t *testing.T) {
	labtest.Need(t, "root", "ip")
	for _, family := range []struct {
		ip, vip, a, b, c string
	}{
		{"-4", "192.0.2.10/32", "10.0.1.2", "10.0.2.2", "10.0.3.2"},
		{"-6", "2001:db8:10::10/128", "fd00:1::2", "fd00:2::2", "fd00:3::2"},
	} {
		t.Run("ip "+family.ip, func(t *testing.T) {
			tor := nstest.NewHost(t, "tor")
			for n := 1; n <= 3; n++ {
				nstest.Join(tor, fmt.Sprintf("10.0.%d.1/30 fd00:%d::1/64", n, n), nstest.NewHost(t, fmt.Sprintf("s%d", n)), "")
			}
			route := func(args string) { tor.Run(strings.Fields("ip " + family.ip + " route " + args)...) }
			vip, a, b, c := family.vip, family.a, family.b, family.c
			all := "nexthop via " + a + " nexthop via " + b + " nexthop via " + c

			route("add " + vip + " proto bgp metric 20 " + all)
			w := newWatcher(t, tor, vip)
			steps := []struct {
				do   func()
				want string
			}{
				{func() {}, vip + " " + a + "%s1 " + b + "%s2 " + c + "%s3 initial"},
				{func() { route("replace " + vip + " proto bgp metric 20 nexthop via " + a + " nexthop via " + c) }, vip + " " + a + "%s1 " + c + "%s3"},
				{func() { route("replace " + vip + " proto bgp metric 20 via " + c) }, vip + " " + c + "%s3"},
				{func() {
					route("replace " + vip + " proto bgp metric 20 nexthop via " + a + " weight 3 nexthop via " + b)
				}, vip + " " + a + "%s1 x3 " + b + "%s2"},
				// A better metric hides it, a worse one changes nothing.
				{func() { route("add " + vip + " metric 10 via " + c) }, vip + " " + c + "%s3"},
				{func() { route("del " + vip + " metric 10") }, vip + " " + a + "%s1 x3 " + b + "%s2"},
				{func() {
					route("add blackhole " + vip + " metric 30")
					route("del " + vip + " metric 20")
				}, vip + " blackhole"},
				{func() { route("del " + vip + " metric 30") }, vip + " removed"},
				// The kernel drops next hops of a link that goes, IPv4 without a word.
				{func() { route("add " + vip + " metric 20 " + all) }, vip + " " + a + "%s1 " + b + "%s2 " + c + "%s3"},
				{func() { tor.Run("ip", "link", "set", "s2", "down") }, vip + " " + a + "%s1 " + c + "%s3"},
				{func() { route("del " + vip + " metric 20") }, vip + " removed"},
				// Next hop objects, as zebra uses them: a group that changes underneath the route.
				{func() {
					tor.Run("ip", "nexthop", "add", "id", "1", "via", a, "dev", "s1")
					tor.Run("ip", "nexthop", "add", "id", "3", "via", c, "dev", "s3")
					tor.Run("ip", "nexthop", "add", "id", "9", "group", "1/3")
					route("add " + vip + " metric 20 nhid 9")
				}, vip + " " + a + "%s1 " + c + "%s3"},
				{func() { tor.Run("ip", "nexthop", "del", "id", "3") }, vip + " " + a + "%s1"},
				{func() { route("del " + vip + " metric 20") }, vip + " removed"},
			}
			for i, step := range steps {
				before := time.Now()
				step.do()
				e := w.next()
				if got := text(e); got != step.want {
					t.Fatalf("step %d: %s, want %s\n%s", i, got, step.want, tor.Run("ip", family.ip, "route"))
				}
				if i > 0 && (e.Time.Before(before) || e.Time.After(time.Now()) || e.UnixNano != e.Time.UnixNano()) {
					t.Errorf("step %d: time %v is not between %v and now", i, e.Time, before)
				}
			}
			if family.ip == "-6" { // next hops one by one
				route("add " + vip + " metric 20 via " + a)
				route("append " + vip + " metric 20 via " + c)
				route("del " + vip + " metric 20 via " + a)
				for _, want := range []string{vip + " " + a + "%s1", vip + " " + a + "%s1 " + c + "%s3", vip + " " + c + "%s3"} {
					if got := text(w.next()); got != want {
						t.Fatalf("%s, want %s", got, want)
					}
				}
			}
			// Outside of what is watched.
			route("add " + strings.NewReplacer(".10/", ".77/", "::10/", "::77/").Replace(vip) + " via " + a)
			if rest := w.stop(); len(rest) > 0 {
				t.Errorf("more events: %v", text(rest[0]))
			}
		})
	}
}

func TestWireSeesBothDirectionsAndSurvivesALinkThatGoes(t *testing.T) {
	labtest.Need(t, "root", "ip", "bird")
	tor, server := nstest.NewHost(t, "tor"), nstest.NewHost(t, "s1")
	nstest.Join(tor, "10.0.1.1/30", server, "10.0.1.2/30")
	w := newWatcher(t, tor, "s1")
	startBIRD(t, tor, "10.0.1.1", "65000", "10.0.1.2", "65101", "")
	control := startBIRD(t, server, "10.0.1.2", "65101", "10.0.1.1", "65000", "protocol static { ipv4; route 192.0.2.10/32 blackhole; }")

	before := time.Now()
	until := func(is func(*Message) bool) *Message {
		t.Helper()
		for {
			e := w.next()
			if e.Kind != Wire {
				t.Fatalf("event %s", text(e))
			}
			if e.Time.Before(before.Add(-time.Second)) || e.Time.After(time.Now()) {
				t.Errorf("time stamp %v", e.Time)
			}
			if is(e.Message) {
				return e.Message
			}
		}
	}
	until(func(m *Message) bool {
		return m.Type == Open && m.Src.Addr().String() == "10.0.1.1" && m.Opened.ASN == 65000
	})
	m := until(func(m *Message) bool { return len(m.Announced) > 0 })
	if n := m.Announced[0]; n.Prefix.String() != "192.0.2.10/32" || n.NextHop.String() != "10.0.1.2" || m.Attributes.ASPath[0] != 65101 {
		t.Errorf("announced %+v with %+v", n, m.Attributes)
	}
	tor.Run("ip", "link", "set", "s1", "down")
	tor.Run("ip", "link", "set", "s1", "up")
	until(func(m *Message) bool { return m.Type == Open })
	until(func(m *Message) bool { return len(m.Announced) > 0 })
	server.Run("birdc", "-s", control, "disable", "static1")
	until(func(m *Message) bool { return len(m.Withdrawn) > 0 })
	server.Run("birdc", "-s", control, "disable", "peer", "\"switch\"")
	n := until(func(m *Message) bool { return m.Type == Notification }).Notified
	if n.Code != 6 || n.Subcode != 2 || n.Text != "switch" {
		t.Errorf("notification %+v", n)
	}
	until(func(m *Message) bool { return m.Type == FIN || m.Type == RST })
	w.stop()
}

// startBIRD starts a BIRD with one neighbor, called peer, and returns its control socket.
func startBIRD(t *testing.T, host *nstest.Host, local, localAS, remote, remoteAS, more string) (control string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "bird") // short: a socket's path must be
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	config := fmt.Sprintf(`
		router id %[1]s;
		protocol device {}
		%[5]s
		protocol bgp peer {
			local %[1]s as %[2]s; neighbor %[3]s as %[4]s;
			hold time 90; connect delay time 0; connect retry time 1; error wait time 1, 2;
			ipv4 { import all; export where source = RTS_STATIC; };
		}`, local, localAS, remote, remoteAS, more)
	if err := os.WriteFile(dir+"/conf", []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	host.Start(host.Command("bird", "-f", "-c", dir+"/conf", "-s", dir+"/ctl", "-P", dir+"/pid"))
	return dir + "/ctl"
}

func TestRunSaysWhatIsMissing(t *testing.T) {
	labtest.Need(t, "root", "ip")
	host := nstest.NewHost(t, "h")
	cmd := host.Command(os.Args[0], "eth7")
	cmd.Env = append(os.Environ(), "WATCH_TEST_ROLE=watch")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "watch eth7") {
		t.Errorf("%v: %s", err, out)
	}
}
