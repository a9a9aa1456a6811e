package vrrp

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/anyvip/anyvip/pkg/latest"
	"github.com/anyvip/anyvip/pkg/vip"
)

const (
	stuck     = 10 * time.Millisecond // how long the engine does nothing before it asks Alive again
	listenFor = time.Second           // how often a link is tried again that could not be listened on
)

// Options are what an Engine needs; all are required.
type Options struct {
	Conn   Conn
	Host   Host
	Alive  func() bool  // asked before anything is sent or taken over: false while the agent is stuck
	Report func(Report) // called from Run's goroutine when something changed; must not block
	Log    *slog.Logger
}

// Engine runs virtual routers: one goroutine drives all of them.
type Engine struct {
	options Options
	desired latest.Value[Desired]
	counts  [len(dropNames)]atomic.Uint64 // packets that came, by what became of them
	sent    atomic.Uint64

	// From here on owned by Run's goroutine.
	latest  Desired
	again   time.Time          // when to try again to listen; zero: all is well
	routers map[string]*router // by name
	byKey   map[key]*router
	byAddr  map[place]*router // by what they protect
	byGroup map[string][]*router
	due     deadlines
	packet  Advertisement // the latest that was read
	out     []byte        // the latest that was written
	changed bool          // since the last report
	failing string        // the error of Wait that was logged last
}

// key is what an advertisement finds its virtual router by.
type key struct {
	link   string
	family vip.Family
	vrid   uint8
}

// place is an address on a link.
type place struct {
	link string
	addr netip.Addr
}

// router is a virtual router at work.
type router struct {
	*Machine
	wish   Candidacy
	going  bool // not wanted any more
	others others
	fault  string    // why it cannot listen
	unsent string    // why it cannot send
	held   bool      // the host has the addresses
	speaks bool      // and announces them
	count  uint64    // how often it was to announce them
	heir   Heir      // the router that it has yielded to, if that has the virtual MAC
	probes bool      // and asks who else has them: the first time, when no other router was heard
	listen time.Time // since when it can hear others; zero: it cannot
	next   time.Time
	index  int // in deadlines; -1: in none

	shown vip.RouterState // as last logged
	cause vip.RouterCause
	said  uint8 // the priority that was reported last
}

// New makes an engine that does nothing until Run.
func New(o Options) *Engine {
	return &Engine{options: o, desired: latest.Make[Desired](), routers: map[string]*router{}, byKey: map[key]*router{}, byAddr: map[place]*router{}, byGroup: map[string][]*router{}}
}

// Apply replaces everything that is wanted. It never blocks and may be called from any
// goroutine, also before Run; of several calls in a row the last wins. The caller must
// not change d's slices afterwards.
func (e *Engine) Apply(d Desired) {
	e.desired.Put(d)
	e.options.Conn.Wake()
}

// Counts says how many advertisements came, by what became of them, and how many were
// sent. It reads atomics: any goroutine may call it.
func (e *Engine) Counts() (received map[Drop]uint64, sent uint64) {
	received = make(map[Drop]uint64, len(dropNames))
	for i := range e.counts {
		received[Drop(i)] = e.counts[i].Load()
	}
	return received, e.sent.Load()
}

// Run works until ctx ends. It sends nothing then: that routers leave is asked for with
// Apply before.
func (e *Engine) Run(ctx context.Context) error {
	defer context.AfterFunc(ctx, e.options.Conn.Wake)()
	for {
		arrivals, now, err := e.options.Conn.Wait(earlier(e.due.first(), e.again))
		if ctx.Err() != nil {
			return ctx.Err()
		}
		e.complain(err)
		e.turn(arrivals, now)
	}
}

// complain logs an error of Wait once.
func (e *Engine) complain(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != "" && text != e.failing {
		e.options.Log.Warn("links cannot be listened on", "error", text)
	}
	e.failing = text
}

// turn takes what came, in order, before any timer: after a stall a timer may be long
// over that an advertisement in the queue has set anew.
func (e *Engine) turn(arrivals []Arrival, now time.Time) {
	select {
	case e.latest = <-e.desired:
		e.apply(e.latest, now)
	default:
		if due(e.again, now) {
			e.apply(e.latest, now)
		}
	}
	for i := range arrivals {
		if a := &arrivals[i]; a.Claim.IsValid() {
			e.claimed(a, now)
		} else {
			e.receive(a, now)
		}
	}
	for len(e.due) > 0 && !e.due[0].next.After(now) {
		e.tick(e.due[0], now)
	}
	e.groups(now)
	if e.changed {
		e.changed = false
		e.options.Report(e.report())
	}
}

func (e *Engine) tick(r *router, now time.Time) {
	if d := r.Deadline(); due(d, now) {
		if !e.options.Alive() {
			e.due.set(r, now.Add(stuck))
			return
		}
		e.perform(r, r.Tick(now))
	}
	for _, s := range r.others.judged(now) {
		e.judge(r, s, now)
	}
	if r.others.forget(now) {
		e.changed = true
	}
	e.schedule(r)
	if r.going && r.State() == vip.RouterInitialize && !r.Answers() {
		e.drop(r)
	}
}

func (e *Engine) schedule(r *router) {
	e.due.set(r, earlier(r.Deadline(), r.others.expiry()))
}

// perform does what a machine wants.
func (e *Engine) perform(r *router, do []Do) {
	for _, d := range do {
		switch d.Act {
		case Send:
			e.send(r, d.Priority)
		case Take:
			r.held, r.heir = true, Heir{}
			e.answer(r)
		case Announce:
			if e.options.Alive() {
				e.announce(r)
			}
		case Hush:
			if r.speaks = false; r.heir != (Heir{}) {
				r.count++
			}
			e.answer(r)
		case Release:
			r.held, r.speaks = false, false
			e.answer(r)
			e.changed = true // it answers no more
		}
	}
	e.note(r)
	e.schedule(r)
}

func (e *Engine) announce(r *router) {
	r.speaks = true
	r.count++
	r.probes = r.count == 1 && !r.others.heard()
	e.answer(r)
}

func (e *Engine) answer(r *router) {
	a := Answer{Router: r.wish.Name, Addresses: r.wish.Addresses(), Held: r.held, Going: r.held && r.State() != vip.RouterActive,
		Interval: r.wish.Router.Interval, Refresh: r.wish.Refresh}
	switch {
	case r.speaks:
		a.Announce, a.Probe = r.count, r.probes
	case r.held && r.heir != Heir{}:
		a.Announce, a.Heir = r.count, r.heir
	}
	e.options.Host.Answer(a)
}

// Addresses are all that the virtual router answers for: advertised ones first.
func (c Candidacy) Addresses() []Address {
	all := make([]Address, 0, len(c.Router.Addresses)+len(c.Rides))
	for _, a := range c.Router.Addresses {
		all = append(all, Address{Addr: a, Interface: c.Interface})
	}
	all = append(all, c.Rides...)
	for i, a := range all {
		// On another link the VRID may be another router's.
		if a.Interface == c.Interface && a.Is4() == c.Source.Is4() {
			all[i].MAC = c.MAC()
		}
	}
	return all
}

// send sends one advertisement, to the group or to each peer.
func (e *Engine) send(r *router, priority uint8) {
	if !e.options.Alive() {
		return
	}
	ad := r.wish.Router.Advertisement
	ad.Priority = priority
	var failed error
	for _, dst := range r.wish.destinations() {
		e.out = ad.Append(e.out[:0], r.wish.Source, dst)
		if err := e.options.Conn.Send(r.wish.Interface.Name, r.mac(), r.wish.Source, dst, e.out); err != nil {
			failed = fmt.Errorf("send an advertisement to %s on %s: %w", dst, r.wish.Interface.Name, err)
			continue
		}
		e.sent.Add(1)
	}
	e.trouble(r, &r.unsent, failed)
}

// mac is what advertisements come from; zero: the link's own. A switch sends the traffic
// to where it heard the virtual MAC last: so it must not hear it here before the
// addresses are announced, nor when others are to be believed.
func (r *router) mac() [6]byte {
	if !r.speaks {
		return [6]byte{}
	}
	return r.wish.MAC()
}

var groups4, groups6 = []netip.Addr{Group4}, []netip.Addr{Group6}

func (c Candidacy) destinations() []netip.Addr {
	switch {
	case len(c.Peers) > 0:
		return c.Peers
	case c.Source.Is4():
		return groups4
	}
	return groups6
}

// trouble notes why a router cannot do its work, and logs it once.
func (e *Engine) trouble(r *router, why *string, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text == *why {
		return
	}
	*why = text
	e.changed = true
	if text != "" {
		e.options.Log.Warn("virtual router cannot do its work", "router", r.wish.Name, "vrid", r.wish.Router.VRID, "interface", r.wish.Interface.Name, "error", text)
	}
}

// note logs a transition and has it reported.
func (e *Engine) note(r *router) {
	_, cause, by := r.Why()
	state := r.State()
	if p := r.priority(); p != r.said {
		r.said, e.changed = p, true
	}
	if state == vip.RouterBackup || state == vip.RouterInitialize {
		e.trouble(r, &r.unsent, nil) // it has nothing to send
	}
	if state == r.shown && cause == r.cause {
		return
	}
	attrs := []any{"router", r.wish.Name, "vrid", r.wish.Router.VRID, "interface", r.wish.Interface.Name, "from", r.shown.String(), "to", state.String(), "reason", cause.String()}
	if by.IsValid() {
		attrs = append(attrs, "by", by.String())
	}
	e.options.Log.Debug("virtual router changed", attrs...) // who gets the report logs it for people
	r.shown, r.cause = state, cause
	e.changed = true
}

func (e *Engine) report() Report {
	list := make([]vip.VirtualRouter, 0, len(e.routers))
	for _, r := range e.routers {
		since, cause, by := r.Why()
		addresses := make([]netip.Addr, 0, len(r.wish.Router.Addresses)+len(r.wish.Rides))
		for _, a := range r.wish.Addresses() {
			addresses = append(addresses, a.Addr)
		}
		list = append(list, vip.VirtualRouter{Name: r.wish.Name, Interface: r.wish.Interface.Name, VRID: r.wish.Router.VRID, Family: vip.FamilyOf(r.wish.Source),
			State: r.State(), Since: since, Cause: cause, By: by, Priority: r.priority(), Answers: r.Answers(), Addresses: addresses,
			Others: r.others.list(), Detail: cmp.Or(r.fault, r.unsent)})
	}
	slices.SortFunc(list, func(a, b vip.VirtualRouter) int { return cmp.Compare(a.Name, b.Name) })
	return Report{Routers: list}
}
