package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/anyvip/anyvip/bgp"
	"github.com/anyvip/anyvip/bgp/gobgp"
	"github.com/anyvip/anyvip/bgp/neighbor"
	"github.com/anyvip/anyvip/checks"
	"github.com/anyvip/anyvip/pkg/api"
	"github.com/anyvip/anyvip/pkg/config"
	"github.com/anyvip/anyvip/pkg/durable"
	"github.com/anyvip/anyvip/pkg/flow"
	"github.com/anyvip/anyvip/pkg/hint"
	"github.com/anyvip/anyvip/pkg/hook"
	"github.com/anyvip/anyvip/pkg/intent"
	"github.com/anyvip/anyvip/pkg/kernel"
	"github.com/anyvip/anyvip/pkg/kernel/lease"
	"github.com/anyvip/anyvip/pkg/memory"
	"github.com/anyvip/anyvip/pkg/metrics"
	"github.com/anyvip/anyvip/pkg/status"
	"github.com/anyvip/anyvip/pkg/web"
	"github.com/anyvip/anyvip/vrrp"
	"github.com/anyvip/anyvip/vrrp/wire"
)

// Options are what an Agent needs.
type Options struct {
	Config   *config.Config
	Load     func() (*config.Config, error) // reads the file again, for Reload
	Socket   string                         // of the API
	StateDir string
	Version  string
	Log      *slog.Logger
	Exit     func(code int) // os.Exit; the deadman's last word
}

// Agent is one running daemon.
type Agent struct {
	options   Options
	log       *slog.Logger
	mail      *mailbox
	snapshots *status.Publisher
	guard     guard
	alive     alive

	loop    *loop
	checks  *checks.Runner
	bgp     *bgp.Engine
	speaker *gobgp.Speaker
	find    *neighbor.Engine
	kernel  *kernel.Engine
	vrrp    *vrrp.Engine
	conn    *wire.Conn // vrrp's; closed when it has ended
	segment *segment
	leases  *lease.Engine
	hints   *hint.Engine
	flows   *flow.Engine
	intents *intent.Store
	memory  *memory.Store
	hooks   *hook.Engine

	drainFile *drainLook
	api       *api.Server
	web       *web.Server
}

// endLimit bounds how long Run waits for its parts once they were told to end.
const endLimit = 5 * time.Second

// New wires the parts. It opens the API's socket and the HTTP port, and looks
// for the privilege to add addresses, so that whatever forbids a start is said
// before anything is announced. An Agent runs once.
func New(o Options) (*Agent, error) {
	a := &Agent{options: o, log: o.Log, mail: newMailbox(), snapshots: status.NewPublisher(), guard: newGuard()}
	if err := kernel.Check(); err != nil {
		return nil, err
	}
	a.checks = checks.NewRunner(checks.Options{Report: a.mail.result, Log: part(o.Log, "checks"), Go: a.guardedGo("check")})
	a.speaker = gobgp.New(part(o.Log, "gobgp"))
	a.bgp = bgp.New(bgp.Options{Speaker: a.speaker, Report: a.mail.bgp, Log: part(o.Log, "bgp")})
	a.kernel = kernel.New(kernel.Options{StateDir: o.StateDir, Alive: a.Alive, Report: a.mail.kernel, Log: part(o.Log, "kernel")})
	var err error
	if a.conn, err = wire.Open(); err != nil {
		return nil, err
	}
	a.leases = lease.New(lease.Options{StateDir: o.StateDir, Alive: a.Alive, Report: a.leasesFound, Added: a.leasesAdded, Log: part(o.Log, "lease")})
	a.segment = newSegment(a.leases.Apply, func(l vrrp.Link) announces { return wire.NewAnnouncer(l, a.Alive, part(o.Log, "announce")) })
	a.vrrp = vrrp.New(vrrp.Options{Conn: a.conn, Host: a.segment, Alive: a.Alive, Report: a.mail.routers, Log: part(o.Log, "vrrp")})
	a.find = neighbor.New(neighbor.Options{Report: a.mail.neighbors, Log: part(o.Log, "neighbor")})
	a.hints = hint.New(hint.Options{Hint: a.hint, Report: a.mail.blind, Log: part(o.Log, "hint")})
	a.flows = flow.New(flow.Options{Report: a.mail.flows, Log: part(o.Log, "flow")})
	a.intents = intent.New(intent.Options{StateDir: o.StateDir, Report: a.mail.intents, Log: part(o.Log, "intent")})
	a.memory = memory.New(memory.Options{StateDir: o.StateDir, Clock: durable.Now, Log: part(o.Log, "memory")})
	a.hooks = hook.New(hook.Options{Report: a.mail.hooks, Log: part(o.Log, "hook")})
	a.loop = newLoop(o.Config, o.Version, receivers{bgp: a.bgp.Apply, neighbors: a.find.Apply, kernel: a.kernel.Apply, routers: a.applyRouters, counts: a.vrrp.Counts, checks: a.checks.Apply,
		hints: a.hints.Apply, flows: a.flows.Apply, wake: a.checks.Wake, report: a.checks.Report, drain: a.intents.Put, undrain: a.intents.Remove,
		hooks: a.hooks.Apply, fire: a.hooks.Fire, prepare: a.hooks.Prepare, keep: a.memory.Keep},
		a.mail, a.snapshots, o.Log)
	a.loop.input.Booted = booted()
	a.drainFile = newDrainLook(o.Config.DrainFile, lookAtDrainFile, a.mail.drainFile)
	a.loop.drainFile = a.drainFile.told
	a.loop.drainFile.since = time.Now()
	a.loop.takeIntents(a.intents.Load()) // before the first decision: what is drained is never announced in between
	a.loop.remember(a.memory.Load())
	a.alive = alive{pulses: []pulse{{"agent loop", a.loop.lastBeat}, {"check runner", a.checks.LastTick}, {"bgp engine", a.bgp.LastPass}}}

	a.api = api.NewServer(api.Options{Socket: o.Socket, Snapshots: a.snapshots, Commander: commander{a.mail},
		Group: o.Config.API.Group, Operators: o.Config.API.Operators, Log: part(o.Log, "api")})
	a.web = web.NewServer(web.Options{Listen: o.Config.HTTP.Listen, Snapshots: a.snapshots, Metrics: metrics.Handler(a.snapshots),
		Alive: a.alive.health, Log: part(o.Log, "web")})
	if err := a.api.Listen(); err != nil {
		return nil, err
	}
	if err := a.web.Listen(); err != nil {
		return nil, errors.Join(err, a.api.Close())
	}
	return a, nil
}

// applyRouters hands the virtual routers over: their addresses first, since the engine
// may need them at once.
func (a *Agent) applyRouters(list []vrrp.Candidacy) {
	a.segment.want(list)
	a.vrrp.Apply(vrrp.Desired{Routers: list})
}

// leasesFound hands on which leased addresses are here: what they are announced by, and
// what they are shown by.
func (a *Agent) leasesFound(r lease.Report) {
	a.segment.found(r)
	a.mail.leases(r)
}

// leasesAdded hands on what has come since, which need not wait for the rest.
func (a *Agent) leasesAdded(list []netip.Addr) { a.segment.added(list) }

func (a *Agent) runVRRP(ctx context.Context) error {
	if err := wire.Realtime(); err != nil {
		a.log.Info("no real-time priority", "part", "vrrp", "reason", err.Error())
	}
	err := a.vrrp.Run(ctx)
	return errors.Join(err, a.conn.Close())
}

// booted is when this host booted, as its clock without jumps has it; zero where the
// kernel does not say.
func booted() time.Time {
	up, err := durable.SinceBoot()
	if err != nil {
		return time.Time{}
	}
	return time.Now().Add(-up)
}

func part(log *slog.Logger, name string) *slog.Logger { return log.With("part", name) }

// Alive is the alive gate. Any goroutine may ask.
func (a *Agent) Alive() bool { return a.alive.ok() }

// Stop asks for a polite end: withdraw, wait, close, remove. It does not
// block; Run returns when all is done.
func (a *Agent) Stop(reason string) { a.mail.stop(reason) }

// Reload reads the configuration again and hands it to the loop. A bad file
// changes nothing and is logged and shown in status. It blocks for the file's
// reading.
func (a *Agent) Reload() {
	c, err := a.options.Load()
	if err == nil {
		a.warnRestart(c)
		a.drainFile.path.Store(&c.DrainFile)
	}
	a.mail.reload(reload{config: c, err: err})
	a.drainFile.ask()
}

// warnRestart says what a reload cannot change.
func (a *Agent) warnRestart(c *config.Config) {
	if was := a.options.Config.API; !c.API.Equal(was) {
		a.log.Warn("api changed: takes effect at the next restart", "running", was.Socket, "file", c.API.Socket)
	}
	if was := a.options.Config.HTTP; c.HTTP != was {
		a.log.Warn("http changed: takes effect at the next restart", "running", was.Listen, "file", c.HTTP.Listen)
	}
}

// Run runs every part until a polite stop is complete, or ends them at once
// when ctx ends. A part that fails makes the agent stop politely and Run
// return its error.
func (a *Agent) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	parts := &errgroup.Group{}
	start := func(name string, run func(context.Context) error) {
		parts.Go(func() error {
			err := a.guard.run(name, func() error { return run(ctx) })
			if err == nil || ctx.Err() != nil {
				return nil
			}
			a.mail.stop(name + " failed: " + err.Error())
			return fmt.Errorf("%s: %w", name, err)
		})
	}
	ended := make(chan struct{})
	start("deadman", deadman{alive: a.alive, panic: a.guard.panics, cease: a.speaker.Abort, exit: a.options.Exit, log: a.log, ended: ended}.run)
	start("checks", a.checks.Run)
	start("speaker", func(ctx context.Context) error { return a.speaker.Run(ctx, a.bgp.Notify) })
	start("bgp", a.bgp.Run)
	start("neighbor", a.find.Run)
	start("kernel", a.kernel.Run)
	start("lease", a.leases.Run)
	start("announce", a.segment.run)
	start("vrrp", a.runVRRP)
	start("hint", a.hints.Run)
	start("flow", a.flows.Run)
	start("intent", a.intents.Run)
	start("memory", a.memory.Run)
	start("drain file", a.drainFile.run)
	start("hook", a.hooks.Run)
	start("api", a.api.Run)
	start("web", a.web.Run)
	start("notify", (&notifier{snapshots: a.snapshots, alive: a.alive, log: a.log}).run)

	err := a.guard.run("loop", func() error { return a.loop.run(ctx) })
	close(ended)
	if errors.Is(err, errPanicked) {
		return errors.Join(err, a.wait(parts)) // the deadman closes the sessions and ends the process meanwhile
	}
	if ctx.Err() != nil {
		err = errors.New("ended at once; VIPs stay on this host until the next start takes them over")
	}
	cancel()
	return errors.Join(err, a.wait(parts))
}

// wait waits for every part, for endLimit at most.
func (a *Agent) wait(parts *errgroup.Group) error {
	ended := make(chan error, 1)
	go func() { ended <- parts.Wait() }()
	select {
	case err := <-ended:
		return err
	case <-time.After(endLimit):
		return fmt.Errorf("a part did not end within %s of being told to", endLimit)
	}
}

// guardedGo starts goroutines whose panics reach the deadman.
func (a *Agent) guardedGo(name string) func(func()) {
	return func(f func()) {
		go func() { _ = a.guard.run(name, func() error { f(); return nil }) }()
	}
}
