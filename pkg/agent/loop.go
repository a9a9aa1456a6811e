package agent

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/anyvip/anyvip/bgp"
	"github.com/anyvip/anyvip/bgp/neighbor"
	"github.com/anyvip/anyvip/checks"
	"github.com/anyvip/anyvip/pkg/config"
	"github.com/anyvip/anyvip/pkg/event"
	"github.com/anyvip/anyvip/pkg/health"
	"github.com/anyvip/anyvip/pkg/hint"
	"github.com/anyvip/anyvip/pkg/hook"
	"github.com/anyvip/anyvip/pkg/intent"
	"github.com/anyvip/anyvip/pkg/kernel"
	"github.com/anyvip/anyvip/pkg/policy"
	"github.com/anyvip/anyvip/pkg/status"
	"github.com/anyvip/anyvip/pkg/vip"
	"github.com/anyvip/anyvip/vrrp"
)

const (
	heartbeat    = 500 * time.Millisecond // the loop turns at least this often
	publishEvery = time.Second            // when nothing but records changed
	eventsKept   = 256
)

// receivers are what stands right of the loop. None of them may block.
type receivers struct {
	bgp       func(bgp.Desired)
	neighbors func(neighbor.Desired)
	kernel    func(kernel.Desired)
	routers   func([]vrrp.Candidacy)
	counts    func() (received map[vrrp.Drop]uint64, sent uint64) // of VRRP
	checks    func([]checks.Probe)
	hints     func([]hint.Watch)
	flows     func([]netip.Addr)
	wake      func(check string, t vip.Trigger, gone bool)
	report    func(check string, r checks.Report)
	drain     func(d intent.Drain, done func(error)) error
	undrain   func(service string, done func(error)) error
	hooks     func([]hook.Config)
	fire      func(hook.Event)
	prepare   func(argv []string, timeout time.Duration, ev hook.Event, done func(error))
	keep      func(map[string]*policy.ServiceMemory)
}

// loop owns all state. Only run's goroutine touches anything but beat.
type loop struct {
	out       receivers
	mail      *mailbox
	snapshots *status.Publisher
	log       *slog.Logger

	beat atomic.Pointer[time.Time] // the last turn, with its monotonic reading: the deadman must not obey the wall clock

	config    *config.Config
	checks    map[string]*check
	input     policy.Input
	desired   policy.Desired
	asked     map[string]policy.Drain // drains that operators asked for
	unsaved   string                  // what is wrong with them on disk; empty: nothing
	drainFile drainFile
	kept      map[netip.Addr]vip.Address // of package kernel
	leased    map[netip.Addr]vip.Address // of package lease
	preparing map[string]uint64          // by service: which pre_drain of all is under way, or has ended
	prepares  uint64                     // so many there were
	blind     map[string]string          // by check: what of it cannot be watched, and what to do
	snapshot  status.Snapshot            // the one being made; its parts are replaced, never changed
	ring      *event.Ring
	fresh     bool // records changed since the last publish
	urgent    bool // somebody waits for one of them
	at        time.Time
}

// check is one check as the loop knows it.
type check struct {
	config       checks.Config
	connects     netip.AddrPort // Config.Connects
	health       health.Check
	pendingUntil time.Time
	probes       uint64
	woken        status.Woken
	heard        map[vip.Trigger]heard // what no probe has answered
	told         map[told]*toldOf      // of which probes that were woken there are records
}

func newLoop(c *config.Config, version string, r receivers, m *mailbox, s *status.Publisher, log *slog.Logger) *loop {
	return &loop{out: r, mail: m, snapshots: s, log: log, config: c,
		checks: map[string]*check{}, preparing: map[string]uint64{}, ring: event.NewRing(eventsKept), snapshot: status.Snapshot{Version: version}}
}

// lastBeat is when the loop turned last; zero before it began.
func (l *loop) lastBeat() time.Time {
	if t := l.beat.Load(); t != nil {
		return *t
	}
	return time.Time{}
}

// run turns until a polite stop is complete or ctx ends.
func (l *loop) run(ctx context.Context) error {
	l.at = time.Now()
	l.snapshot.Started = l.at
	l.input.Phase = policy.Starting
	l.take(l.config)
	l.record(event.Record{Kind: event.KindAgent, Name: l.config.Node, To: policy.Starting.String()})
	l.decide()

	timer := time.NewTimer(heartbeat)
	defer timer.Stop()
	for l.desired.Phase != policy.Stopped {
		timer.Reset(l.nextTurn())
		select {
		case <-l.mail.ready:
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		l.turn()
	}
	l.record(event.Record{Kind: event.KindAgent, Name: l.config.Node, From: policy.Stopping.String(), To: policy.Stopped.String()})
	return nil
}

// nextTurn is how long the loop may sleep.
func (l *loop) nextTurn() time.Duration {
	wait := heartbeat
	if at := l.desired.DecideAt; !at.IsZero() {
		wait = min(wait, time.Until(at))
	}
	return max(wait, 0)
}

// turn empties the mailbox, decides once if anything asks for it, and publishes.
func (l *loop) turn() {
	l.at = time.Now()
	at := l.at
	l.beat.Store(&at)
	hangIfAsked()
	got := l.mail.take()
	l.takeHeard(got.heard)
	decide := l.takeResults(got.results)
	if got.bgp != nil {
		l.input.Sessions, l.input.Sent = got.bgp.Sessions, got.bgp.Sent
		decide = true
	}
	if got.kernel != nil {
		l.takeKernel(*got.kernel)
		decide = true
	}
	if got.found != nil {
		l.input.Neighbors = got.found.Neighbors
		decide = true
	}
	if got.routers != nil {
		l.takeRouters(*got.routers)
		decide = true
	}
	if got.leases != nil {
		l.takeLeases(*got.leases)
		decide = true
	}
	if got.flows != nil {
		l.input.Flows = got.flows
		decide = true
	}
	if got.intents != nil {
		l.takeIntents(*got.intents)
		decide = true
	}
	if got.drain != nil {
		l.takeDrainFile(*got.drain)
		decide = true
	}
	decide = l.takePrepared(got.prepared) || decide
	if got.hooks != nil {
		l.snapshot.Hooks, l.fresh = got.hooks, true
	}
	l.takeBlind(got.blind)
	for _, w := range got.wishes {
		l.grant(w)
	}
	if got.stop != "" && l.input.Phase < policy.Stopping {
		l.record(event.Record{Kind: event.KindAgent, Name: l.config.Node, From: l.input.Phase.String(), To: policy.Stopping.String(), Reason: got.stop})
		l.input.Phase = policy.Stopping
		decide = true
	}
	if got.reload != nil {
		decide = l.takeReload(*got.reload) || decide
	}
	if at := l.desired.DecideAt; !at.IsZero() && !l.at.Before(at) {
		decide = true
	}
	switch {
	case decide:
		l.decide()
	case l.urgent || l.fresh && l.at.Sub(l.snapshot.At) >= publishEvery:
		l.publish()
	}
	for _, answer := range got.answers {
		answer()
	}
}

// decide runs the one decision, hands its parts to the receivers and
// publishes.
func (l *loop) decide() {
	l.input.Now = l.at
	l.input.Prev = l.desired.Memory
	before := l.desired
	l.desired = policy.Decide(l.input)
	l.snapshot.Counters.Decisions++
	l.apply()
	l.prepare()
	l.recordDecisions(before)
	l.recordSessions(before.Shown, l.desired.Shown)
	if l.desired.Phase == policy.Running && l.input.Phase == policy.Starting {
		l.record(event.Record{Kind: event.KindAgent, Name: l.config.Node, From: policy.Starting.String(), To: policy.Running.String()})
	}
	used := l.input
	l.input.Phase = l.desired.Phase
	l.publishInput(used)
}

func (l *loop) publish() { l.publishInput(l.snapshot.Input) }

// publishInput publishes the state, with the input that the latest decision
// was made from.
func (l *loop) publishInput(used policy.Input) {
	s := &l.snapshot
	s.Serial++
	s.At, s.Node, s.Phase = l.at, l.config.Node, l.desired.Phase
	s.Input, s.Desired = used, l.desired
	s.Checks, s.Peers = l.checkRecords(), l.peerRecords()
	s.Events = l.ring.Records()
	if l.out.counts != nil {
		s.Counters.AdvertisementsReceived, s.Counters.AdvertisementsSent = counted(l.out.counts())
	}
	l.fresh, l.urgent = false, false
	published := *s
	l.snapshots.Publish(&published)
}

func (l *loop) checkRecords() []status.Check {
	out := make([]status.Check, 0, len(l.config.Checks))
	for _, c := range l.config.Checks {
		k := l.checks[c.Name]
		out = append(out, status.Check{Name: c.Name, Kind: c.KindName(), Target: c.Target(), Last: k.health.Last, Probes: k.probes,
			Woken: k.woken, Warning: l.blind[c.Name]})
	}
	return out
}

func (l *loop) peerRecords() []status.Peer {
	out := make([]status.Peer, 0, len(l.config.BGP.Peers))
	for _, p := range l.config.BGP.Peers {
		out = append(out, status.Peer{Name: p.Name, Address: p.Address, Interface: p.Interface, ASN: p.ASN.Number})
	}
	return out
}

// takeResults feeds results to their checks and says whether a verdict, or
// what to observe, changed.
func (l *loop) takeResults(results []vip.Result) (decide bool) {
	var changed map[string]policy.Check
	for _, r := range results {
		c := l.checks[r.Check]
		if c == nil {
			continue // of a check that a reload removed
		}
		l.fresh = true
		c.probes++
		c.woken[r.Trigger]++
		l.urgent = l.urgent || r.Trigger == vip.TriggerRequest
		before, pending := c.health.Verdict, c.health.Pending()
		verdict := c.health.Observe(r)
		l.recordWoken(c, r, verdict)
		if verdict {
			l.recordVerdict(r.Check, before, c.health.Verdict)
		}
		if !before.ErrorSince.IsZero() && c.health.Verdict.ErrorSince.IsZero() { // what it could not ask says nothing: its time begins now
			c.pendingUntil = l.at.Add(c.config.FirstVerdict())
		}
		if verdict || pending != c.health.Pending() {
			if changed == nil {
				changed = maps.Clone(l.input.Checks)
			}
			changed[r.Check] = c.facts()
		}
	}
	if changed != nil {
		l.input.Checks = changed
	}
	return changed != nil
}

func (l *loop) takeKernel(r kernel.Report) {
	l.kept = r.Addresses
	l.takeAddresses()
	l.recordDefaults(l.input.Defaults, r.Defaults)
	l.wakeNetwork(l.input.Links, r.Links)
	l.input.Links, l.input.Defaults = r.Links, r.Defaults
	l.snapshot.Counters.AddressAdds = r.Adds
}

// takeReload takes a configuration that was read again, or writes down why
// there is none. A bad file changes nothing, and a stop begins nothing new.
func (l *loop) takeReload(r reload) (decide bool) {
	l.snapshot.Reload = status.Reload{At: l.at}
	l.fresh = true
	if r.err == nil && l.input.Phase >= policy.Stopping {
		r.err = errors.New("the agent is stopping; the next start reads the file")
	}
	if r.err != nil {
		l.snapshot.Reload.Error = r.err.Error()
		l.record(event.Record{Kind: event.KindAgent, Name: l.config.Node, To: "reload refused", Reason: r.err.Error()})
	} else {
		l.take(r.config)
		l.record(event.Record{Kind: event.KindAgent, Name: l.config.Node, To: "reloaded"})
	}
	return true
}

// take makes c the configuration. Checks that stay keep their verdicts, also
// where their parameters changed.
func (l *loop) take(c *config.Config) {
	l.config = c
	facts := make(map[string]policy.Check, len(c.Checks))
	known := make(map[string]*check, len(c.Checks))
	local := localChecks(c, policy.ModeECMP, policy.ModeVRRP)
	overBGP := localChecks(c, policy.ModeECMP)
	for _, cc := range c.Checks {
		params := paramsOf(cc, local[cc.Name], overBGP[cc.Name])
		k := l.checks[cc.Name]
		if k == nil {
			k = &check{health: health.New(params, l.at)}
		}
		if !k.config.Equal(cc) { // it starts anew
			k.pendingUntil = l.at.Add(cc.FirstVerdict())
		}
		k.config, k.connects, k.health.Params = cc, cc.Connects(), params
		known[cc.Name], facts[cc.Name] = k, k.facts()
	}
	l.out.hooks(c.Hooks)
	l.checks, l.input.Checks = known, facts
	l.input.Services = slices.Clone(c.Services)
	l.input.Linger = c.BGP.Linger
	l.input.Peers, l.input.ImportDefault = policyPeers(c.BGP.Peers), c.BGP.ImportDefault
}

// localChecks are the checks that a service in one of the modes refers to as local.
func localChecks(c *config.Config, modes ...policy.Mode) map[string]bool {
	scopes := make(map[string]vip.Scope, len(c.Checks))
	for _, cc := range c.Checks {
		scopes[cc.Name] = cc.Scope
	}
	return policy.Local(c.Services, scopes, modes...)
}

func paramsOf(c checks.Config, local, overBGP bool) health.Params {
	p := health.Params{Rise: c.Rise, Fall: c.Fall, ErrorHold: c.ErrorHold, OnError: c.OnError,
		OnTimeout: c.OnTimeout, OnGone: c.OnGone, SlowAfter: c.SlowAfter}
	if p.OnGone == vip.OnGoneAuto {
		p.OnGone = vip.OnGoneProbe
		if overBGP {
			p.OnGone = vip.OnGoneDown
		}
	}
	if !local {
		p.OnGone = vip.OnGoneProbe // what others share, and what withdraws nothing, is not judged by one listener
	}
	return p
}

func (c *check) facts() policy.Check {
	return policy.Check{Scope: c.config.Scope, Params: c.health.Params, Verdict: c.health.Verdict,
		Pending: c.health.Pending(), PendingUntil: c.pendingUntil, TakesTime: c.config.Told(),
		Detection: time.Duration(c.config.Fall) * (c.config.Interval + c.config.Timeout)}
}
