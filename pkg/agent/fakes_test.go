package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/anyvip/anyvip/bgp"
	"github.com/anyvip/anyvip/bgp/neighbor"
	"github.com/anyvip/anyvip/checks"
	"github.com/anyvip/anyvip/pkg/intent"
	"github.com/anyvip/anyvip/pkg/kernel"
	"github.com/anyvip/anyvip/pkg/vip"
)

// transcript collects what was seen, with the bubble's time. Lines of the same
// moment are put in the order of their sources, and log lines in that of their
// messages, since goroutines that wake at the same moment run in any order.
type transcript struct {
	start time.Time
	mu    sync.Mutex
	lines []seenLine
}

type seenLine struct {
	at                 time.Duration
	source, kind, text string
}

func (s *transcript) add(source, format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := seenLine{at: time.Since(s.start), source: source, text: fmt.Sprintf(format, args...)}
	if source == "log" {
		l.kind, _, _ = strings.Cut(l.text, " ")
	}
	s.lines = append(s.lines, l)
}

func (s *transcript) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.SortStableFunc(s.lines, func(a, b seenLine) int {
		if a.at != b.at {
			return int(a.at - b.at)
		}
		c := cmp.Or(strings.Compare(a.source, b.source), strings.Compare(a.kind, b.kind))
		if c == 0 && a.kind == "session" {
			c = strings.Compare(a.text, b.text) // sessions that change in one report, or in two of the same moment
		}
		return c
	})
	var b strings.Builder
	for _, l := range s.lines {
		fmt.Fprintf(&b, "%8.3fs %-7s %s\n", l.at.Seconds(), l.source, l.text)
	}
	return b.String()
}

// handler turns the loop's log lines into lines of the transcript.
func (s *transcript) handler() slog.Handler { return logLines{s} }

type logLines struct{ seen *transcript }

func (logLines) Enabled(context.Context, slog.Level) bool { return true }
func (h logLines) WithAttrs([]slog.Attr) slog.Handler     { return h }
func (h logLines) WithGroup(string) slog.Handler          { return h }
func (h logLines) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(a slog.Attr) bool { text += fmt.Sprintf(" %s=%q", a.Key, a.Value); return true })
	h.seen.add("log", "%s", text)
	return nil
}

// fakeWorld is what the probes find.
type fakeWorld struct {
	mu      sync.Mutex
	results map[string]vip.Result
}

func newFakeWorld() *fakeWorld { return &fakeWorld{results: map[string]vip.Result{}} }

func (w *fakeWorld) set(check, outcome, detail string) error {
	for o := vip.Pass; o <= vip.Error; o++ {
		if o.String() == outcome {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.results[check] = vip.Result{Outcome: o, Class: classes[detail], Detail: detail}
			return nil
		}
	}
	return fmt.Errorf("no outcome %q", outcome)
}

// classes are the details that mean more than a text.
var classes = map[string]vip.Class{"refused": vip.ClassRefused, "timed out": vip.ClassTimeout}

// fakeKind finds what the script says; a check of which it says nothing hangs
// until its timeout.
type fakeKind struct {
	name  string
	takes time.Duration // another for each check: no two results at the same moment
	world *fakeWorld
}

func (k fakeKind) Describe() (name, target string)  { return "fake", k.name }
func (fakeKind) Validate() []vip.Problem            { return nil }
func (k fakeKind) Checker() (checks.Checker, error) { return k, nil }
func (k fakeKind) Probe(ctx context.Context) vip.Result {
	time.Sleep(k.takes)
	k.world.mu.Lock()
	r, ok := k.world.results[k.name]
	k.world.mu.Unlock()
	if !ok {
		<-ctx.Done()
		return vip.Result{Outcome: vip.Fail, Class: vip.ClassTimeout, Detail: "no answer"}
	}
	return r
}

// fakeSpeaker is a speaker whose peers answer at once, when they are there.
type fakeSpeaker struct {
	seen   *transcript
	notify func(bgp.Event)

	mu         sync.Mutex
	generation uint64
	failing    bool
	slow       time.Duration // how long Sessions takes
	complained bool          // its failure is in the transcript, which shows it once
	booting    bool          // just restarted: no session yet
	reachable  map[string][]vip.Family
	defaults   map[string][]vip.Default // what peers give, by peer
	sessions   bgp.Sessions
	up         map[string]bool
	table      map[netip.Prefix]vip.Announcement
}

func newFakeSpeaker(s *transcript) *fakeSpeaker {
	return &fakeSpeaker{seen: s, generation: 1, reachable: map[string][]vip.Family{}, defaults: map[string][]vip.Default{},
		up: map[string]bool{}, table: map[netip.Prefix]vip.Announcement{}}
}

// begin is the speaker of an agent that starts: its peers know nothing from it.
func (f *fakeSpeaker) begin(notify func(bgp.Event)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.notify = notify
	f.sessions, f.up, f.table = bgp.Sessions{}, map[string]bool{}, map[netip.Prefix]vip.Announcement{}
}

var errSpeaker = errors.New("speaker does not answer")

func (f *fakeSpeaker) Sessions(_ context.Context, s bgp.Sessions) (uint64, error) {
	f.mu.Lock()
	slow := f.slow
	f.mu.Unlock()
	time.Sleep(slow)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failing {
		return 0, f.complain()
	}
	for _, p := range s.Peers {
		if i := slices.IndexFunc(f.sessions.Peers, func(q bgp.Peer) bool { return q.Name == p.Name }); i < 0 || f.sessions.Peers[i].Up != p.Up || p.Up && f.sessions.Peers[i].Address != p.Address {
			state := "down"
			if p.Up {
				state = "up"
			}
			if p.Up && p.Address.Zone() != "" {
				state += " " + p.Address.String()
			}
			f.seen.add("speaker", "session %s wanted %s", p.Name, strings.TrimSpace(state+" "+p.Text))
		}
	}
	f.sessions = s
	f.settle()
	return f.generation, nil
}

func (f *fakeSpeaker) Set(_ context.Context, add []vip.Announcement, remove []netip.Prefix) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failing {
		return f.complain()
	}
	for _, a := range add {
		f.table[a.Prefix] = a
		weight := ""
		if a.Weight > 0 {
			weight = fmt.Sprintf(" weight %d", a.Weight)
		}
		f.seen.add("speaker", "announce %s med %d local_pref %d prepend %d communities %v%s", a.Prefix, a.MED, a.LocalPref, a.Prepend, a.Communities, weight)
	}
	for _, p := range remove {
		delete(f.table, p)
		f.seen.add("speaker", "withdraw %s", p)
	}
	return nil
}

func (f *fakeSpeaker) Sent(_ context.Context, peer string) (map[netip.Prefix]vip.Announcement, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failing {
		return nil, errSpeaker
	}
	sent := maps.Clone(f.table)
	maps.DeleteFunc(sent, func(p netip.Prefix, _ vip.Announcement) bool {
		return !slices.Contains(f.reachable[peer], vip.FamilyOf(p.Addr()))
	})
	return sent, nil
}

func (f *fakeSpeaker) complain() error {
	if !f.complained {
		f.complained = true
		f.seen.add("speaker", "fails")
	}
	return errSpeaker
}

// settle brings each session to the state that the script and the agent want.
func (f *fakeSpeaker) settle() {
	for _, p := range f.sessions.Peers {
		families := f.reachable[p.Name]
		up := p.Up && families != nil && !f.booting
		s := vip.Session{Peer: p.Name, Since: time.Now(), Remote: p.Address}
		switch {
		case up:
			s.State, s.Families, s.Local, s.RemoteAS = vip.Established, families, netip.MustParseAddr("10.0.1.2"), 65000
			if f.sessions.ImportDefault {
				s.Defaults = f.defaults[p.Name]
			}
		case f.booting:
		case p.Up:
			s.State, s.Cause, s.Detail = vip.Active, vip.CauseRefused, "connection refused"
		}
		f.up[p.Name] = up
		f.notify(bgp.Event{Generation: f.generation, Session: s})
	}
}

func (f *fakeSpeaker) peer(name, state string, v4 bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case state == "down":
		delete(f.reachable, name)
	case v4:
		f.reachable[name] = []vip.Family{vip.IPv4}
	default:
		f.reachable[name] = []vip.Family{vip.IPv4, vip.IPv6}
	}
	f.settle()
	return nil
}

// gives makes a peer give default routes with these next hops, and no others.
func (f *fakeSpeaker) gives(name string, hops []string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.defaults[name] = nil
	for _, text := range hops {
		hop, err := netip.ParseAddr(text)
		if err != nil {
			return err
		}
		f.defaults[name] = append(f.defaults[name], vip.Default{Family: vip.FamilyOf(hop), NextHop: hop})
	}
	f.settle()
	return nil
}

func (f *fakeSpeaker) fault(what, duration string) (err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch what {
	case "fails":
		f.failing = true
	case "works":
		f.failing, f.complained = false, false
	case "restarts":
		f.generation++
		f.table = map[netip.Prefix]vip.Announcement{}
		f.sessions = bgp.Sessions{}
		f.notify(bgp.Event{Generation: f.generation})
		f.booting = true
		time.AfterFunc(time.Second, func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.booting = false
			f.settle()
		})
	case "slow":
		f.slow, err = time.ParseDuration(duration)
	default:
		err = fmt.Errorf("no fault %q", what)
	}
	return err
}

// fakeHost is a host that does at once what it is asked.
type fakeHost struct {
	seen *transcript
	mail *mailbox

	mu        sync.Mutex
	addresses map[netip.Addr]vip.Address
	links     []vip.Link
	defaults  []vip.DefaultRoute
	searched  []neighbor.Link         // links whose router is to be found
	routers   map[string]vip.Neighbor // by link: the router that is heard there
	watched   []netip.Addr            // VIPs whose connections are watched
}

func newFakeHost(s *transcript) *fakeHost {
	return &fakeHost{seen: s, addresses: map[netip.Addr]vip.Address{}, routers: map[string]vip.Neighbor{},
		links: []vip.Link{
			{Name: "eth0", Index: 2, Up: true, Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.1.2/24"), netip.MustParsePrefix("2001:db8:1::2/64")}},
			{Name: "eth1", Index: 3, Up: true},
		}}
}

// begin has an agent hear of the host, which has what an earlier one left there.
func (h *fakeHost) begin(m *mailbox) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mail, h.searched, h.watched = m, nil, nil
	if len(h.addresses) > 0 {
		h.tell()
	}
}

func (h *fakeHost) apply(d kernel.Desired) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before := maps.Clone(h.addresses)
	for _, a := range d.Addresses {
		if _, ok := h.addresses[a]; !ok {
			h.seen.add("host", "add %s", a)
			h.addresses[a] = vip.Address{Addr: a, State: vip.AddressPresent, Ours: true, Link: "lo", Since: time.Now()}
		}
	}
	for _, a := range slices.SortedFunc(maps.Keys(h.addresses), netip.Addr.Compare) {
		if !slices.Contains(d.Addresses, a) {
			h.seen.add("host", "remove %s", a)
			delete(h.addresses, a)
		}
	}
	routed := !slices.EqualFunc(h.defaults, d.Defaults, vip.DefaultRoute.Equal)
	if routed {
		h.seen.add("host", "default routes %v", d.Defaults)
		h.defaults = d.Defaults
	}
	if routed || !maps.EqualFunc(before, h.addresses, func(a, b vip.Address) bool { return a.State == b.State }) || len(before) == 0 && len(d.Addresses) > 0 {
		h.tell()
	}
}

func (h *fakeHost) tell() {
	h.mail.kernel(kernel.Report{Addresses: maps.Clone(h.addresses), Links: slices.Clone(h.links), Defaults: h.defaults})
}

// find takes the links whose router is to be found, as the neighbor engine does.
func (h *fakeHost) find(d neighbor.Desired) {
	h.mu.Lock()
	defer h.mu.Unlock()
	same := func(a, b neighbor.Link) bool { return a.Name == b.Name && a.Up == b.Up }
	if slices.EqualFunc(h.searched, d.Links, same) {
		return
	}
	h.searched = d.Links
	time.AfterFunc(routerDelay, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.tellRouters()
	})
}

// routerDelay is how long a router takes to answer a solicitation.
const routerDelay = 10 * time.Millisecond

func (h *fakeHost) tellRouters() {
	found := map[string]vip.Neighbor{}
	for _, l := range h.searched {
		n := vip.Neighbor{}
		switch r := h.routers[l.Name]; {
		case !l.Up:
		case r.Address.IsValid():
			n = r
		default:
			n.Detail = "no router advertisement heard on " + l.Name
		}
		found[l.Name] = n
	}
	h.mail.neighbors(neighbor.Report{Neighbors: found})
}

// router is what is heard on a link from now on.
func (h *fakeHost) router(link, addr, odd string) error {
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.routers[link] = vip.Neighbor{Address: a.WithZone(link), Detail: odd}
	h.tellRouters()
	return nil
}

// link changes the state of a link.
func (h *fakeHost) link(name, state string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := slices.IndexFunc(h.links, func(l vip.Link) bool { return l.Name == name })
	mtu, err := strconv.Atoi(strings.TrimPrefix(state, "mtu"))
	if i < 0 || err != nil && state != "up" && state != "down" && state != "v4" {
		return fmt.Errorf("no link %q, or no state %q", name, state)
	}
	h.links = slices.Clone(h.links)
	switch {
	case err == nil:
		h.links[i].MTU = mtu
	case state == "v4":
		h.links[i].Prefixes = slices.DeleteFunc(slices.Clone(h.links[i].Prefixes), func(p netip.Prefix) bool { return p.Addr().Is6() })
	default:
		h.links[i].Up = state == "up"
	}
	h.tell()
	return nil
}

func (h *fakeHost) address(addr, what, back string) error {
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.addresses[a]
	f.Since = time.Now()
	switch what {
	case "lost":
		f.State, f.Detail = vip.AddressAbsent, "removed by someone else"
		f.Lost = append(slices.Clone(f.Lost), f.Since)
		f.Lost = f.Lost[max(0, len(f.Lost)-5):]
	case "tentative":
		f.State, f.Detail = vip.AddressTentative, ""
	case "refused":
		f.State, f.Detail = vip.AddressRefused, "inside a link's subnet"
	case "present":
		f.State, f.Detail = vip.AddressPresent, ""
	default:
		return fmt.Errorf("no fact %q", what)
	}
	h.addresses[a] = f
	h.tell()
	if back == "" {
		return nil
	}
	d, err := time.ParseDuration(back)
	if err == nil {
		time.AfterFunc(d, func() { _ = h.address(addr, "present", "") })
	}
	return err
}

// watch takes the VIPs whose connections are wanted.
func (h *fakeHost) watch(set []netip.Addr) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !slices.Equal(set, h.watched) {
		h.seen.add("host", "watches connections to %v", set)
	}
	h.watched = set
}

// flows tells how many connections there are, which receive data or are silent.
func (h *fakeHost) flows(open string, silent bool) error {
	n, err := strconv.Atoi(open)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	found := map[netip.Addr]vip.Flows{}
	for _, a := range h.watched {
		f := vip.Flows{At: now, Open: n, Receiving: n, Received: now}
		if silent {
			f.Receiving, f.Received = 0, now.Add(-time.Minute)
		}
		found[a] = f
	}
	h.mail.flows(found)
	return nil
}

// fakeDrains is a store without a disk.
type fakeDrains struct {
	mu   sync.Mutex
	mail *mailbox
	set  []intent.Drain
	full bool // it refuses everything
}

// begin has an agent hear of drains, first of those that an earlier one heard of.
func (f *fakeDrains) begin(m *mailbox) intent.Report {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mail = m
	return intent.Report{Drains: slices.Clone(f.set)}
}

func (f *fakeDrains) put(d intent.Drain, done func(error)) error {
	if err := f.remove(d.Service, func(error) {}); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if d.Left > 0 {
		d.Until = d.At.Add(d.Left)
	}
	f.set = append(f.set, d)
	f.mail.intents(intent.Report{Drains: slices.Clone(f.set)})
	done(nil)
	return nil
}

func (f *fakeDrains) remove(service string, done func(error)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.full {
		return intent.ErrRefused
	}
	f.set = slices.DeleteFunc(f.set, func(d intent.Drain) bool { return d.Service == service })
	f.mail.intents(intent.Report{Drains: slices.Clone(f.set)})
	done(nil)
	return nil
}

// fault makes it refuse, or take, what it is asked.
func (f *fakeDrains) fault(what string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.full = what == "full"
	return nil
}
