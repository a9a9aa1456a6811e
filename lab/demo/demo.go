package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/anyvip/anyvip/lab"
	"github.com/anyvip/anyvip/lab/feed"
	"github.com/anyvip/anyvip/lab/load"
	"github.com/anyvip/anyvip/lab/watch"
)

var (
	vip4    = netip.MustParsePrefix("192.0.2.10/32")
	vip6    = netip.MustParsePrefix("2001:db8:10::10/128")
	servers = []string{"s1", "s2", "s3"}
)

const (
	url  = "http://192.0.2.10/"
	rate = "200" // new connections per second while something happens
)

// Options say what to run and where to tell it.
type Options struct {
	File     string // lab/ecmp.clab.yml
	Binaries string // where anyvip and anyvip-lab are
	Out      io.Writer
	Colour   bool
}

// Run tells the story and takes the lab down. It returns nil only if all of it
// was seen. It needs no privilege where user namespaces are allowed.
func Run(ctx context.Context, o Options) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	s := &story{teller: teller{w: o.Out, colour: o.Colour, start: time.Now()}, ctx: ctx}
	defer s.feedsEnd() // after Down and cancel, which end their commands
	defer cancel()
	topo, err := lab.Load(o.File)
	if err != nil {
		return err
	}
	s.chapter("A ToR router, three servers that announce one VIP, a client: five hosts as network namespaces, %s.", who())
	s.lab, err = lab.Up(ctx, topo, lab.Options{Binaries: o.Binaries})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.lab.Down()) }()
	s.seen("lab", "%d hosts run; each server has a web service and an agent", len(topo.Nodes))
	if err := s.instruments(); err != nil {
		return err
	}
	for _, chapter := range []func() error{s.threeNextHops, s.spread, s.serviceDies, s.serviceReturns, s.agentStops} {
		if err := chapter(); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return errors.Join(err, s.evidence())
		}
	}
	s.chapter("All of it was seen, in %.0f s.", time.Since(s.start).Seconds())
	return nil
}

func who() string {
	if os.Geteuid() == 0 {
		return "made by root"
	}
	return fmt.Sprintf("made by user %d without privilege", os.Geteuid())
}

// story is one run.
type story struct {
	teller
	ctx context.Context //nolint:containedctx // of the one run that a story is
	lab *lab.Lab
	tor *feed.Feed[watch.Event]

	feeds []<-chan struct{} // each closed when that feed has ended
}

// instruments watch the ToR: BGP on each server's link, and the kernel's routes.
func (s *story) instruments() (err error) {
	_, s.tor, err = follow(s, watch.Decode, "tor", "anyvip-lab", "watch",
		"--wire", "eth1", "--wire", "eth2", "--wire", "eth3", "--fib", vip4.String()+","+vip6.String())
	if err != nil {
		return err
	}
	_, err = s.tor.Wait(s.ctx, 5*time.Second, "the instruments at the ToR are ready", func(e watch.Event) bool { return e.Kind == watch.Ready })
	return err
}

func (s *story) threeNextHops() error {
	s.chapter("Each agent checks its web service and announces the VIP to the ToR.")
	for _, p := range []netip.Prefix{vip4, vip6} {
		e, err := s.route(time.Time{}, p, 3, 15*time.Second)
		if err != nil {
			return err
		}
		s.seen("ToR", "kernel route %s has 3 next hops: %s", p, list(e.Route.Addrs()))
	}
	return nil
}

func (s *story) spread() error {
	s.chapter("A client opens 300 connections.")
	sum, err := s.load("--spread", "300")
	if err != nil {
		return err
	}
	if sum.Failed > 0 || len(sum.Servers) != len(servers) {
		return fmt.Errorf("not seen: 300 connections over three servers: %d failed, answers from %v", sum.Failed, sum.Servers)
	}
	s.seen("client", "300 connections, none failed: s1 %d, s2 %d, s3 %d", sum.Servers["s1"], sum.Servers["s2"], sum.Servers["s3"])
	return nil
}

func (s *story) serviceDies() error {
	s.chapter("The web service of s2 is killed, while the client opens %s connections a second.", rate)
	client, err := s.startLoad()
	if err != nil {
		return err
	}
	killed := time.Now()
	if err := s.sh("s2", "kill -9 $(cat /run/web.pid)"); err != nil {
		return err
	}
	wire, err := s.update(killed, "eth2", "the withdraw of s2", 5*time.Second, func(m *watch.Message) bool { return m.Withdraws(vip4) })
	if err != nil {
		return err
	}
	fib, err := s.route(killed, vip4, 2, 2*time.Second)
	if err != nil {
		return err
	}
	s.seen("s2", "agent withdrew %s after the kill (the kernel told of it; its check looks every 1 s)", ms(wire.Time.Sub(killed)))
	s.seen("ToR", "out of the kernel %s later: %s", ms(fib.Time.Sub(wire.Time)), list(fib.Route.Addrs()))
	why, err := s.why("s2")
	if err != nil {
		return err
	}
	s.seen("s2", "anyvip status says why: %s", why)
	if err := s.settle(); err != nil {
		return err
	}
	sum, err := client.end(s)
	if err != nil {
		return err
	}
	if late := sum.LastFailure.Sub(fib.Time); late > 20*time.Millisecond {
		return fmt.Errorf("a request of %s after the route was gone failed: %s", ms(late), failures(sum))
	}
	s.seen("client", "%d of %d requests failed (%s), none that began after the route was gone", sum.Failed, sum.Requests, failures(sum))
	return nil
}

func (s *story) serviceReturns() error {
	s.chapter("The web service of s2 returns.")
	back := time.Now()
	if err := s.lab.Command(s.ctx, "s2", "anyvip-lab", "web", "-d", "--pidfile", "/run/web.pid", "--name", "s2").Run(); err != nil {
		return err
	}
	fib, err := s.route(back, vip4, 3, 15*time.Second)
	if err != nil {
		return err
	}
	s.seen("ToR", "3 next hops again after %s (2 good checks, then recovery_delay 2 s)", ms(fib.Time.Sub(back)))
	return nil
}

// agentStops shows that a polite stop loses nothing. What it cannot help is a
// connection that is open in the very moment in which the ToR's kernel spreads
// anew: the hash may send its next packet elsewhere. At some 1 ms a request
// that is rare; when it happens it is said, and the chapter is told again.
func (s *story) agentStops() error {
	const tries = 3
	s.chapter("The agent of s3 stops politely, while the client opens %s connections a second.", rate)
	for try := 1; ; try++ {
		moved, sum, err := s.stopOnce()
		if err != nil {
			return err
		}
		if sum.Failed == 0 {
			s.seen("client", "%d requests, none failed", sum.Requests)
			return nil
		}
		if try == tries || !onlyAt(moved, sum) {
			return fmt.Errorf("%d of %d requests failed at a polite stop: %s", sum.Failed, sum.Requests, failures(sum))
		}
		s.seen("client", "%d of %d requests failed (%s), open in the moment in which the ToR spread anew; once more", sum.Failed, sum.Requests, failures(sum))
		again := time.Now()
		if err := s.lab.Daemon("s3").Start(s.ctx); err != nil {
			return err
		}
		if _, err := s.route(again, vip4, 3, 15*time.Second); err != nil {
			return err
		}
	}
}

// stopOnce stops the agent of s3 under load, and returns when the ToR's kernel
// spread anew, and what became of the requests.
func (s *story) stopOnce() (moved time.Time, sum load.Summary, err error) {
	client, err := s.startLoad()
	if err != nil {
		return moved, sum, err
	}
	asked := time.Now()
	if err := s.lab.Daemon("s3").Signal(syscall.SIGTERM); err != nil {
		return moved, sum, err
	}
	const limit = 8 * time.Second
	shift, err := s.update(asked, "eth3", "GRACEFUL_SHUTDOWN from s3", limit, func(m *watch.Message) bool {
		return m.Announces(vip4) && slices.Contains(m.Attributes.Communities, "65535:0")
	})
	if err != nil {
		return moved, sum, err
	}
	fib, err := s.route(asked, vip4, 2, limit)
	if err != nil {
		return moved, sum, err
	}
	s.seen("s3", "after %s GRACEFUL_SHUTDOWN: use another way (RFC 8326)", ms(shift.Time.Sub(asked)))
	s.seen("ToR", "after %s no new connection goes to s3: %s", ms(fib.Time.Sub(asked)), list(fib.Route.Addrs()))
	gone, err := s.update(asked, "eth3", "the withdraw of s3", limit, func(m *watch.Message) bool { return m.Withdraws(vip4) })
	if err != nil {
		return moved, sum, err
	}
	cease, err := s.update(asked, "eth3", "the Cease of s3", limit, func(m *watch.Message) bool { return m.Notified != nil && m.Notified.Code == 6 })
	if err != nil {
		return moved, sum, err
	}
	s.seen("s3", "after %s the withdraw; after %s the session closes: %q", ms(gone.Time.Sub(asked)), ms(cease.Time.Sub(asked)), cease.Message.Notified.Text)
	if _, err := s.lab.Daemon("s3").Wait(s.ctx); err != nil {
		return moved, sum, err
	}
	s.seen("s3", "after %s the agent has ended", ms(time.Since(asked)))
	sum, err = client.end(s)
	return fib.Time, sum, err
}

// onlyAt says whether every request that failed was due about when.
func onlyAt(when time.Time, sum load.Summary) bool {
	const about = 20 * time.Millisecond
	return sum.FirstFailure.After(when.Add(-about)) && sum.LastFailure.Before(when.Add(about))
}

// route waits for the ToR's kernel to have a route with n next hops, at or
// after since.
func (s *story) route(since time.Time, p netip.Prefix, n int, limit time.Duration) (watch.Event, error) {
	what := fmt.Sprintf("%d next hops for %s in the ToR's kernel", n, p)
	return s.tor.Wait(s.ctx, limit, what, func(e watch.Event) bool {
		return e.Kind == watch.FIB && !e.Time.Before(since) && e.Route.Prefix == p && len(e.Route.Addrs()) == n
	})
}

// update waits for a BGP message from the server on one of the ToR's links.
func (s *story) update(since time.Time, link, what string, limit time.Duration, match func(*watch.Message) bool) (watch.Event, error) {
	return s.tor.Wait(s.ctx, limit, what+" on the wire", func(e watch.Event) bool {
		return e.Kind == watch.Wire && !e.Time.Before(since) && e.Message.Interface == link &&
			e.Message.Src.Addr().As4()[3] == 2 && match(e.Message) // servers are .2 of their link
	})
}

// why is what an agent says of its service: disposition and root cause.
func (s *story) why(node string) (string, error) {
	out, err := s.lab.Command(s.ctx, node, "anyvip", "status", "-o", "json").Output()
	if err != nil {
		return "", err
	}
	var status struct {
		Services []struct {
			Disposition string
			Reasons     []struct{ Code, Subject, Detail string }
		}
	}
	if err := json.Unmarshal(out, &status); err != nil {
		return "", fmt.Errorf("read the status of %s: %w", node, err)
	}
	if len(status.Services) != 1 || len(status.Services[0].Reasons) == 0 {
		return "", fmt.Errorf("the status of %s has no service with a reason", node)
	}
	service := status.Services[0]
	r := service.Reasons[0]
	return strings.ToLower(fmt.Sprintf("%s, %s %s: ", service.Disposition, r.Code, r.Subject)) + r.Detail, nil
}

// settle lets the load run on, so that late failures are counted too.
func (s *story) settle() error {
	select {
	case <-time.After(time.Second):
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

func (s *story) sh(node, line string) error {
	return s.lab.Command(s.ctx, node, "sh", "-c", line).Run()
}

// client is a load that runs.
type client struct {
	cmd  *lab.Cmd
	feed *feed.Feed[load.Event]
}

func (s *story) startLoad() (client, error) {
	cmd, f, err := follow(s, load.Decode, "client", "anyvip-lab", "load", "--target", url, "--rate", rate)
	if err != nil {
		return client{}, err
	}
	_, err = f.Wait(s.ctx, 5*time.Second, "the client is ready", func(e load.Event) bool { return e.Kind == load.Ready })
	return client{cmd, f}, err
}

// end stops the load and returns its summary.
func (c client) end(s *story) (load.Summary, error) {
	if err := c.cmd.Signal(syscall.SIGTERM); err != nil {
		return load.Summary{}, err
	}
	return c.summary(s)
}

func (c client) summary(s *story) (load.Summary, error) {
	e, err := c.feed.Wait(s.ctx, 10*time.Second, "the client's summary", func(e load.Event) bool { return e.Kind == load.Summed })
	if err != nil {
		return load.Summary{}, err
	}
	<-c.feed.Done()
	if n := e.Summary.Failures[load.Local]; n > 0 {
		return load.Summary{}, fmt.Errorf("the client itself could not ask %d times: the measurement is void", n)
	}
	return *e.Summary, nil
}

// load runs a load to its end.
func (s *story) load(args ...string) (load.Summary, error) {
	cmd, f, err := follow(s, load.Decode, "client", append([]string{"anyvip-lab", "load", "--target", url}, args...)...)
	if err != nil {
		return load.Summary{}, err
	}
	return client{cmd, f}.summary(s)
}

// evidence is what to look at when a chapter did not come true.
func (s *story) evidence() error {
	var b strings.Builder
	for _, n := range append([]string{"tor"}, servers...) {
		fmt.Fprintf(&b, "--- log of %s\n%s", n, tail(s.lab.Logs(n), 15))
		if n == "tor" {
			continue
		}
		out, err := s.lab.Command(s.ctx, n, "anyvip", "status").CombinedOutput()
		fmt.Fprintf(&b, "--- status of %s (%v)\n%s", n, err, out)
	}
	return errors.New(b.String())
}

func tail(text string, n int) string {
	lines := strings.SplitAfter(text, "\n")
	return strings.Join(lines[max(0, len(lines)-n-1):], "")
}

func list(as []netip.Addr) string {
	var out []string
	for _, a := range as {
		out = append(out, a.String())
	}
	return strings.Join(out, " ")
}

func failures(sum load.Summary) string {
	var out []string
	for class, n := range sum.Failures {
		out = append(out, fmt.Sprintf("%s %d", class, n))
	}
	slices.Sort(out)
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, ", ")
}
