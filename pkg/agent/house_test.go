package agent

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"golang.org/x/sync/errgroup"

	"github.com/anyvip/anyvip/bgp"
	"github.com/anyvip/anyvip/checks"
	"github.com/anyvip/anyvip/pkg/api"
	"github.com/anyvip/anyvip/pkg/config"
	"github.com/anyvip/anyvip/pkg/durable"
	"github.com/anyvip/anyvip/pkg/hint"
	"github.com/anyvip/anyvip/pkg/hook"
	"github.com/anyvip/anyvip/pkg/kernel/lease"
	"github.com/anyvip/anyvip/pkg/memory"
	"github.com/anyvip/anyvip/pkg/policy"
	"github.com/anyvip/anyvip/pkg/status"
	"github.com/anyvip/anyvip/pkg/vip"
	"github.com/anyvip/anyvip/vrrp"
)

var update = flag.Bool("update", false, "rewrite what the house scripts expect")

// TestHouse runs each script in testdata/house: the real loop, policy, health,
// check runner and bgp engine over a fake speaker, host and checks, on fake
// time. A script is a txtar archive of config.yaml, more configurations to
// reload, script and want. A line of the script is a time since the start and
// a command:
//
//	check NAME OUTCOME [DETAIL]    what probes of NAME find from now on; a detail of refused or timed out is a class too
//	peer NAME up|down [v4]         whether the peer is there; v4: it takes IPv4 alone
//	peer NAME gives [ADDR...]      the next hops of the default routes that it gives
//	link NAME up|down|v4|mtuN      v4: it loses its IPv6 addresses; eth0 has 10.0.1.2/24, eth1 no address but a link-local one
//	router LINK ADDR [ODD]         whose advertisements are heard on the link, and what is odd there
//	address ADDR lost [DURATION]   someone removes it; it is back after DURATION, or never
//	address ADDR refused|tentative|present   what the kernel engine says of it
//	speaker fails|works|restarts   its calls fail; it lost all it knew
//	speaker slow DURATION          it takes so long to take sessions
//	status                         shows peers with which something is wrong, and what keeps VIPs from anybody
//	reload FILE                    a file of the archive; a bad one is refused
//	gone CHECK | appears CHECK     the kernel says that its listener ended, or is there
//	wants probe CHECK              as a client; what it is answered is seen
//	wants drain|undrain NAME [force] [DURATION] [REASON]   node is all of it
//	drains full|work               no wish is taken any more
//	reports CHECK USER OUTCOME [DETAIL]   an application
//	drainfile there|gone [REASON]  the file that drains the node
//	flows N [still]                N connections to each VIP that is watched receive data, or no more
//	vrrp ADDR priority N ADDR...   another router of VRID 51 on eth0 advertises every second; 0: once
//	vrrp ADDR silent               it does not any more
//	arp ADDR MAC                   a host on eth0 says that it has an address
//	stop REASON                    as a signal would
//	agent killed|starts            kill -9, and another one over the same state directory
//	end                            the end of the script
//
// want lists what was seen, in order of time: log lines of the loop, calls to
// the speaker, changes on the host.
func TestHouse(t *testing.T) {
	files, err := filepath.Glob("testdata/house/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	reached := map[policy.Code]bool{}
	played := 0
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			parts := map[string]string{}
			for _, f := range archive.Files {
				parts[f.Name] = string(f.Data)
			}
			var got string
			synctest.Test(t, func(t *testing.T) { got = playHouse(t, parts, reached) })
			played++
			if *update {
				rewriteWant(t, file, archive, got)
				return
			}
			if diff := cmp.Diff(parts["want"], got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	for code := policy.CodeNone + 1; played == len(files) && code <= policy.CodeFallback; code++ {
		if code == policy.CodeNoPeer || code == policy.CodeRouter {
			continue // a file without peers is refused, and no fake refuses to send; Decide has words for them all the same
		}
		if !reached[code] {
			t.Errorf("no script reaches the reason %s", code)
		}
	}
}

func rewriteWant(t *testing.T, file string, archive *txtar.Archive, got string) {
	archive.Files = slices.DeleteFunc(archive.Files, func(f txtar.File) bool { return f.Name == "want" })
	archive.Files = append(archive.Files, txtar.File{Name: "want", Data: []byte(got)})
	if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
		t.Fatal(err)
	}
}

// house is one run of a script.
type house struct {
	t       *testing.T
	parts   map[string]string
	seen    *transcript
	world   *fakeWorld // what probes find
	speaker *fakeSpeaker
	host    *fakeHost
	segment *fakeSegment
	drains  *fakeDrains
	runner  *checks.Runner
	mail    *mailbox
	status  *status.Publisher
	reached map[policy.Code]bool
	state   string // directory
	kill    func() // ends the agent at once, and waits for that
}

func playHouse(t *testing.T, parts map[string]string, reached map[policy.Code]bool) string {
	h := &house{t: t, parts: parts, seen: &transcript{start: time.Now()}, world: newFakeWorld(), reached: reached, state: t.TempDir()}
	h.drains = &fakeDrains{}
	h.speaker = newFakeSpeaker(h.seen)
	h.host = newFakeHost(h.seen)
	h.segment = newFakeSegment(h.seen)
	h.start()
	h.play()
	h.checkSnapshot(h.status.Load())
	h.kill()
	return h.seen.String()
}

// start starts an agent in what is there already.
func (h *house) start() {
	c, err := h.load("config.yaml")
	if err != nil {
		h.t.Fatal(err)
	}
	h.mail, h.status = newMailbox(), status.NewPublisher()
	h.runner = checks.NewRunner(checks.Options{Report: h.mail.result, Rand: rand.New(rand.NewPCG(1, 2))})
	engine := bgp.New(bgp.Options{Speaker: h.speaker, Report: h.mail.bgp, Log: slog.New(slog.DiscardHandler)})
	h.speaker.begin(engine.Notify)
	h.host.begin(h.mail)
	left := memory.New(memory.Options{StateDir: h.state, Clock: h.clock, Log: slog.New(h.seen.handler())})
	segment := newSegment(h.segment.lease, func(vrrp.Link) announces { return &fakeAnnouncer{f: h.segment} })
	h.segment.found = func(r lease.Report) { segment.found(r); h.mail.leases(r) }
	routers := vrrp.New(vrrp.Options{Conn: h.segment, Host: segment, Alive: func() bool { return true }, Report: h.mail.routers, Log: slog.New(slog.DiscardHandler)})
	var l *loop
	see := func(d bgp.Desired) { // what was decided, in the loop's own goroutine
		for _, x := range l.desired.Decisions {
			for _, r := range x.Reasons {
				h.reached[r.Code] = true
			}
			for _, a := range x.Addresses {
				for _, r := range a.Reasons {
					h.reached[r.Code] = true
				}
			}
		}
		engine.Apply(d)
	}
	l = newLoop(c, "test", receivers{bgp: see, neighbors: h.host.find, kernel: h.host.apply, routers: func(list []vrrp.Candidacy) {
		segment.want(list)
		routers.Apply(vrrp.Desired{Routers: list})
	}, counts: routers.Counts, checks: h.runner.Apply,
		hints: func([]hint.Watch) {}, flows: h.host.watch, wake: h.runner.Wake, report: h.runner.Report, drain: h.drains.put, undrain: h.drains.remove,
		hooks: func([]hook.Config) {}, fire: h.fire, prepare: h.prepare, keep: left.Keep},
		h.mail, h.status, slog.New(h.seen.handler()))

	l.input.Booted = h.seen.start.Add(-time.Minute)
	l.takeIntents(h.drains.begin(h.mail))
	l.remember(left.Load())
	ctx, cancel := context.WithCancel(h.t.Context())
	parties := &errgroup.Group{}
	parties.Go(func() error { return h.runner.Run(ctx) })
	parties.Go(func() error { return engine.Run(ctx) })
	parties.Go(func() error { return left.Run(ctx) })
	parties.Go(func() error { return segment.run(ctx) })
	parties.Go(func() error { return routers.Run(ctx) })
	parties.Go(func() error {
		err := l.run(ctx)
		if err == nil {
			h.seen.add("agent", "stopped")
			cancel() // as Agent.Run does
		}
		return nil
	})
	h.kill = func() {
		cancel()
		if err := parties.Wait(); err != nil && !errors.Is(err, context.Canceled) {
			h.t.Error(err)
		}
	}
}

// clock is that of the bubble, in one boot.
func (h *house) clock() (durable.Moment, error) {
	return durable.Moment{Now: time.Now(), Boot: "boot", Up: time.Minute + time.Since(h.seen.start)}, nil
}

func (h *house) load(name string) (*config.Config, error) {
	c, _, err := config.Parse(name, []byte(h.parts[name]), "host")
	if err != nil {
		return nil, err
	}
	for i := range c.Checks {
		if _, told := c.Checks[i].Kind.(*checks.Heartbeat); told {
			continue
		}
		c.Checks[i].Kind = fakeKind{name: c.Checks[i].Name, takes: time.Duration(i+1) * time.Millisecond, world: h.world}
	}
	return c, nil
}

// play runs the script's lines at their times.
func (h *house) play() {
	start := time.Now()
	for n, line := range strings.Split(h.parts["script"], "\n") {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		at, err := time.ParseDuration(words[0])
		if err != nil || len(words) < 2 {
			h.t.Fatalf("script line %d: %q is not a time and a command", n+1, line)
		}
		time.Sleep(time.Until(start.Add(at)))
		synctest.Wait()
		if err := h.do(words[1:]); err != nil {
			h.t.Fatalf("script line %d: %q: %v", n+1, line, err)
		}
	}
	synctest.Wait()
}

func (h *house) do(words []string) error {
	verb, args := words[0], append(words[1:], "", "", "")
	switch verb {
	case "check":
		return h.world.set(args[0], args[1], strings.TrimSpace(strings.Join(args[2:], " ")))
	case "peer":
		if args[1] == "gives" {
			return h.speaker.gives(args[0], words[3:])
		}
		return h.speaker.peer(args[0], args[1], args[2] == "v4")
	case "link":
		return h.host.link(args[0], args[1])
	case "router":
		return h.host.router(args[0], args[1], strings.TrimSpace(strings.Join(args[2:], " ")))
	case "address":
		return h.host.address(args[0], args[1], args[2])
	case "speaker":
		return h.speaker.fault(args[0], args[1])
	case "status":
		h.showStatus(h.status.Load())
	case "gone", "appears":
		gone := verb == "gone"
		h.mail.hint(hint.Hint{Check: args[0], Source: hint.Listener, Gone: gone, Detail: "127.0.0.1:80 " + verb, At: time.Now()})
		h.runner.Wake(args[0], vip.TriggerListener, gone)
	case "wants":
		return h.wants(args[0], args[1], words[3:])
	case "reports":
		o := map[string]vip.Outcome{"pass": vip.Pass, "degraded": vip.Degraded, "fail": vip.Fail}[args[2]]
		h.mail.wish(wish{api.Heartbeat{Check: args[0], Outcome: o, Detail: strings.TrimSpace(strings.Join(args[3:], " ")), Actor: api.Actor{Name: args[1]}},
			func(_ api.Reply, err error) {
				h.seen.add("client", "%s reports %s to %s: error %v", args[1], args[2], args[0], err)
			}})
	case "drains":
		return h.drains.fault(args[0])
	case "drainfile":
		h.mail.drainFile(drainFile{there: args[0] == "there", reason: strings.TrimSpace(strings.Join(args[1:], " "))})
	case "flows":
		return h.host.flows(args[0], args[1] == "still")
	case "reload":
		c, err := h.load(args[0])
		h.mail.reload(reload{config: c, err: err})
	case "vrrp":
		return h.segment.other(h.t.Context(), args[0], args[1], words[3:])
	case "arp":
		return h.segment.claim(args[0], args[1])
	case "stop":
		h.mail.stop(strings.TrimSpace(strings.Join(args, " ")))
	case "agent":
		return h.agent(args[0])
	case "end":
	default:
		return fmt.Errorf("no such command")
	}
	return nil
}

// agent ends the agent, or starts another one.
func (h *house) agent(what string) error {
	switch what {
	case "killed":
		h.kill()
		h.speaker.begin(func(bgp.Event) {}) // its sessions end with it
	case "starts":
		h.kill() // waits for one that has stopped
		h.start()
	default:
		return fmt.Errorf("an agent cannot do that")
	}
	h.seen.add("agent", "%s", what)
	return nil
}

// fire is seen where the configuration has hooks.
func (h *house) fire(e hook.Event) {
	if strings.Contains(h.parts["config.yaml"], "hooks:") {
		h.seen.add("hook", "%s from %q to %q because of %s", e.Service, e.From, e.To, strings.Join(strings.Fields(e.Reason.Code+" "+e.Reason.Subject), " "))
	}
}

// prepare takes a second, or as long as it may where its program is /bin/false, and
// fails then.
func (h *house) prepare(argv []string, timeout time.Duration, e hook.Event, done func(error)) {
	h.seen.add("hook", "pre_drain of %s, from %q, because of %s", e.Service, e.From, e.Reason.Code)
	if argv[0] == "/bin/false" {
		time.AfterFunc(timeout, func() { done(errors.New("killed at the timeout")) })
		return
	}
	time.AfterFunc(time.Second, func() { done(nil) })
}

// wants is a client that asks for something.
func (h *house) wants(what, name string, rest []string) error {
	target := strings.TrimPrefix(name, "node")
	var c api.Command
	switch what {
	case "probe":
		c = api.Probe{Check: name}
	case "drain":
		d := api.Drain{Service: target, Actor: api.Actor{Name: "kim", Operator: true}}
		if len(rest) > 0 {
			if rest[0] == "force" {
				d.Force, rest = true, rest[1:]
			}
		}
		if len(rest) > 0 {
			if lasting, err := time.ParseDuration(rest[0]); err == nil {
				d.For, rest = lasting, rest[1:]
			}
		}
		d.Reason = strings.Join(rest, " ")
		c = d
	case "undrain":
		c = api.Undrain{Service: target, Actor: api.Actor{Name: "kim", Operator: true}}
	default:
		return fmt.Errorf("nobody wants that")
	}
	h.mail.wish(wish{c, func(r api.Reply, err error) {
		if _, there := h.status.Load().Input.Drains[target]; err == nil && what == "drain" && !there {
			h.t.Errorf("%s %s is answered before status shows it", what, name)
		}
		h.seen.add("client", "%s %s: replaced %t, warning %q, error %v", what, name, r.Replaced, r.Warning, err)
	}})
	return nil
}

// showStatus puts into the transcript what an operator would see now.
func (h *house) showStatus(s *status.Snapshot) {
	for _, p := range s.Peers {
		if x := s.Desired.Shown[p.Name]; x.State != vip.Established || x.Warning != "" {
			h.seen.add("status", "peer %s %s %s %q", p.Name, x.State, x.Cause, x.Detail+x.Warning)
		}
	}
	for _, d := range s.Desired.Decisions {
		if p := d.Drain; p != nil {
			h.seen.add("status", "service %s drain %q %s routed %t, %d of %d connections receive", d.Service, p.Service, p.Step, p.Routed, p.Receiving, p.Open)
		}
		for _, a := range d.Addresses {
			for _, r := range a.Reasons {
				h.seen.add("status", "service %s %s %s", d.Service, a.Prefix.Addr(), r)
			}
		}
	}
}

// checkSnapshot holds what must be true of every snapshot.
func (h *house) checkSnapshot(s *status.Snapshot) {
	if s.Serial == 0 || len(s.Checks) != len(s.Input.Checks) || len(s.Desired.Decisions) != len(s.Input.Services) {
		h.t.Errorf("snapshot %d has %d of %d checks, %d of %d decisions", s.Serial,
			len(s.Checks), len(s.Input.Checks), len(s.Desired.Decisions), len(s.Input.Services))
	}
	for _, d := range s.Desired.Decisions {
		if len(d.Reasons) == 0 {
			h.t.Errorf("service %s is %v without a reason", d.Service, d.Disposition)
		}
	}
}
