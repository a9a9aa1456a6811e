package integration

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/anyvip/anyvip/lab/load"
	"github.com/anyvip/anyvip/lab/watch"
)

// The VIPs of every topology.
var (
	vip4 = netip.MustParsePrefix("192.0.2.10/32")
	vip6 = netip.MustParsePrefix("2001:db8:10::10/128")
	vips = []netip.Prefix{vip4, vip6}
)

// tors are the ToRs of tors.clab.yml.
var tors = []string{"tor-a", "tor-b"}

const patience = 20 * time.Second

// tor is the instrument at a ToR: BGP on the links to s1 (eth1) and s2 (eth2),
// and the kernel's routes to the VIPs.
type tor struct {
	*instrument[watch.Event]
	name string
}

// watchTor starts the instrument and waits until it misses nothing.
func (r *rig) watchTor(name string, links ...string) tor {
	r.t.Helper()
	return r.watchRoutes(name, vips, links...)
}

// watchRoutes is watchTor for other VIPs.
func (r *rig) watchRoutes(name string, vips []netip.Prefix, links ...string) tor {
	r.t.Helper()
	argv := []string{"anyvip-lab", "watch", "--fib", fmt.Sprintf("%s,%s", vips[0], vips[1])}
	for _, link := range links {
		argv = append(argv, "--wire", link)
	}
	w := tor{follow(r, watch.Decode, name, argv...), name}
	w.wait(patience, "the instrument at "+name, func(e watch.Event) bool { return e.Kind == watch.Ready })
	r.t.Cleanup(func() {
		for _, e := range w.all(func(e watch.Event) bool { return e.Kind == watch.Lost }) {
			r.t.Errorf("the instrument at %s missed something: %s", name, e.Lost)
		}
	})
	return w
}

// watchTors starts the instruments at both ToRs of tors.clab.yml and waits until
// all routes have two next hops.
func (r *rig) watchTors() map[string]tor {
	r.t.Helper()
	watched := map[string]tor{}
	for _, name := range tors {
		watched[name] = r.watchTor(name, "eth1", "eth2")
	}
	for _, w := range watched {
		for _, p := range vips {
			w.route(time.Time{}, p, 2)
		}
	}
	return watched
}

// route waits until the ToR's kernel has a route with n next hops, at or after
// since, and returns when it had.
func (w tor) route(since time.Time, p netip.Prefix, n int) time.Time {
	w.t.Helper()
	what := fmt.Sprintf("%d next hops for %s in the kernel of %s", n, p, w.name)
	return w.wait(patience, what, func(e watch.Event) bool {
		return e.Kind == watch.FIB && !e.Time.Before(since) && e.Route.Prefix == p && len(e.Route.Addrs()) == n
	}).Time
}

// moved returns the changes of the kernel's routes since then.
func (w tor) moved(since time.Time) []watch.Event {
	return w.all(func(e watch.Event) bool { return e.Kind == watch.FIB && e.Time.After(since) })
}

// message waits for a BGP message of the server behind a link.
func (w tor) message(since time.Time, link, what string, match func(*watch.Message) bool) watch.Event {
	w.t.Helper()
	return w.wait(patience, what+" on "+link+" of "+w.name, func(e watch.Event) bool {
		return fromServer(e, since, link) && match(e.Message)
	})
}

// updates are the UPDATEs of the server behind a link that name a prefix.
func (w tor) updates(since time.Time, link string) []watch.Event {
	return w.all(func(e watch.Event) bool {
		return fromServer(e, since, link) && len(e.Message.Announced)+len(e.Message.Withdrawn) > 0
	})
}

// busy is all that the agent behind a link did, but for KEEPALIVEs. A reset from
// port 179 is its kernel's answer to a ToR that dials: agents do not listen.
func (w tor) busy(since time.Time, link string) []watch.Event {
	return w.all(func(e watch.Event) bool {
		return fromServer(e, since, link) && e.Message.Type != watch.Keepalive &&
			(e.Message.Type != watch.RST || e.Message.Src.Port() != 179)
	})
}

// fromServer says whether e is a message that came in on link. Servers are .2 and
// ::2 of their links.
func fromServer(e watch.Event, since time.Time, link string) bool {
	if e.Kind != watch.Wire || e.Time.Before(since) || e.Message.Interface != link {
		return false
	}
	octets := e.Message.Src.Addr().AsSlice()
	return octets[len(octets)-1] == 2
}

func announces(p netip.Prefix) func(*watch.Message) bool {
	return func(m *watch.Message) bool { return m.Announces(p) }
}

func withdraws(p netip.Prefix) func(*watch.Message) bool {
	return func(m *watch.Message) bool { return m.Withdraws(p) }
}

func isLeaving(m *watch.Message) bool {
	return m.Announces(vip4) && slices.Contains(m.Attributes.Communities, "65535:0")
}

func isCease(m *watch.Message) bool { return m.Notified != nil && m.Notified.Code == 6 }

// client opens 200 connections a second.
type client struct{ *instrument[load.Event] }

func (r *rig) startLoad() client {
	r.t.Helper()
	c := client{follow(r, load.Decode, "client", "anyvip-lab", "load", "--target", "http://192.0.2.10/", "--rate", "200", "--each")}
	c.wait(patience, "the client is ready", func(e load.Event) bool { return e.Kind == load.Ready })
	return c
}

// loads begins to ask each host, 200 times a second.
func (r *rig) loads(hosts ...string) map[string]client {
	r.t.Helper()
	all := map[string]client{}
	for _, host := range hosts {
		c := client{follow(r, load.Decode, "client", "anyvip-lab", "load", "--target", "http://"+host+"/", "--rate", "200", "--each")}
		c.wait(patience, "the client is ready", func(e load.Event) bool { return e.Kind == load.Ready })
		all[host] = c
	}
	return all
}

// answered waits for n answers of a server to requests that began after since.
func (c client) answered(n int, since time.Time, server string) {
	c.t.Helper()
	c.wait(patience, fmt.Sprintf("%d answers of %s", n, server), func(e load.Event) bool {
		if e.Kind == load.Result && by(e.Request, server) && e.Request.Started.After(since) {
			n--
		}
		return n == 0
	})
}

// stop ends the load and returns its summary.
func (c client) stop() load.Summary {
	c.t.Helper()
	if err := c.cmd.Signal(syscall.SIGTERM); err != nil {
		c.t.Fatal(err)
	}
	sum := c.wait(patience, "the client's summary", func(e load.Event) bool { return e.Kind == load.Summed }).Summary
	if n := sum.Failures[load.Local]; n > 0 {
		c.t.Fatalf("the client itself could not ask %d times: the measurement is void", n)
	}
	return *sum
}

// move is a change of a ToR's next hops: when it was told, and when its kernel was seen
// to have it.
type move struct{ update, seen time.Time }

// lost are the requests that failed, but for those that were open when a ToR spread
// anew: the other server resets these, and nobody can help that.
func (c client) lost(moves []move) []load.Event {
	return c.all(func(e load.Event) bool {
		return e.Kind == load.Result && !fine(e.Request) && !slices.ContainsFunc(moves, func(m move) bool { return fineOrCut(e.Request, m.update, m.seen) })
	})
}

func fine(r *load.Request) bool { return r.Failure == "" }

// by says whether a server answered, or a gateway by that name.
func by(r *load.Request, server string) bool {
	return r.Server == server || strings.HasSuffix(r.Server, " via "+server)
}

// frrPath is what FRR says about one path.
type frrPath struct {
	MED       json.Number `json:"metric"`
	LocalPref json.Number `json:"locPrf"`
	Origin    string
	ASPath    struct{ String string }
	Community struct{ String string }
	Large     struct{ String string } `json:"largeCommunity"`
	NextHops  []struct{ IP string }
	Multipath bool
}

// frr asks a node's FRR for its paths to p.
func (r *rig) frr(node string, p netip.Prefix) []frrPath {
	r.t.Helper()
	family := "ipv4"
	if p.Addr().Is6() {
		family = "ipv6"
	}
	var answer struct{ Paths []frrPath }
	text := r.sh(node, fmt.Sprintf("vtysh -c 'show bgp %s unicast %s json'", family, p))
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		r.t.Fatalf("FRR of %s says %q: %v", node, text, err)
	}
	return answer.Paths
}

// birdPath is what BIRD says about one path: its attributes by name, such as
// BGP.med, and how it reaches the next hop.
type birdPath map[string]string

// bird asks a node's BIRD for its paths to p.
func (r *rig) bird(node string, p netip.Prefix) (paths []birdPath) {
	r.t.Helper()
	out, err := r.Command(r.t.Context(), node, "birdc", "show", "route", "all", "for", p.String()).Output()
	if err != nil && !strings.Contains(string(out), "not found") {
		r.t.Fatalf("birdc: %v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSpace(line)
		switch key, value, ok := strings.Cut(line, ":"); {
		case strings.Contains(line, "unicast ["):
			paths = append(paths, birdPath{})
		case len(paths) > 0 && strings.HasPrefix(line, "via "):
			paths[len(paths)-1]["via"] = strings.Fields(line)[1]
		case len(paths) > 0 && ok:
			paths[len(paths)-1][key] = strings.TrimSpace(value)
		}
	}
	return paths
}
