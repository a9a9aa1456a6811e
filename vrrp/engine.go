package vrrp

import (
	"cmp"
	"container/heap"
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
	fault  string // why it cannot listen
	unsent string // why it cannot send
	held   bool   // the host has the addresses
	speaks bool   // and announces them
	count  uint64 // how often it was to announce them
	next   time.Time
	index  int // in deadlines; -1: in none

	shown vip.RouterState // as last logged
	cause vip.RouterCause
}

// New makes an engine that does nothing until Run.
func New(o Options) *Engine {
	return &Engine{options: o, desired: latest.Make[Desired](), routers: map[string]*router{}, byKey: map[key]*router{}, byAddr: map[place]*router{}}
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
		arrivals, err := e.options.Conn.Wait(earlier(e.due.first(), e.again))
		if ctx.Err() != nil {
			return ctx.Err()
		}
		e.complain(err)
		e.turn(arrivals, time.Now())
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
	if r.others.forget(now) {
		e.changed = true
	}
	e.schedule(r)
	if r.going && r.State() == vip.RouterInitialize && !r.Answers() {
		e.drop(r)
	}
}

func (e *Engine) schedule(r *router) {
	next := r.Deadline()
	if t := r.others.expiry(); !t.IsZero() && (next.IsZero() || t.Before(next)) {
		next = t
	}
	e.due.set(r, next)
}

// perform does what a machine wants.
func (e *Engine) perform(r *router, do []Do) {
	for _, d := range do {
		switch d.Act {
		case Send:
			e.send(r, d.Priority)
		case Take:
			r.held = true
			e.answer(r)
		case Announce:
			e.announce(r)
		case Hush:
			r.speaks = false
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
	e.answer(r)
}

func (e *Engine) answer(r *router) {
	a := Answer{Router: r.wish.Name, Interface: r.wish.Interface, Addresses: r.wish.addresses(), Held: r.held, Interval: r.wish.Router.Interval}
	if r.speaks {
		a.Announce = r.count
	}
	e.options.Host.Answer(a)
}

func (c Candidacy) addresses() []netip.Addr {
	return append(slices.Clip(c.Router.Addresses), c.Rides...)
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
		if err := e.options.Conn.Send(r.wish.Interface.Name, r.wish.Source, dst, e.out); err != nil {
			failed = fmt.Errorf("send an advertisement to %s on %s: %w", dst, r.wish.Interface.Name, err)
			continue
		}
		e.sent.Add(1)
	}
	e.trouble(r, &r.unsent, failed)
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
	if state == r.shown && cause == r.cause {
		return
	}
	attrs := []any{"router", r.wish.Name, "vrid", r.wish.Router.VRID, "interface", r.wish.Interface.Name, "from", r.shown.String(), "to", state.String(), "reason", cause.String()}
	if by.IsValid() {
		attrs = append(attrs, "by", by.String())
	}
	e.options.Log.Info("virtual router changed", attrs...)
	r.shown, r.cause = state, cause
	e.changed = true
}

// receive takes an advertisement.
func (e *Engine) receive(a *Arrival, now time.Time) {
	drop := e.packet.Parse(a.Packet, a.Src, a.Dst)
	r := e.byKey[key{a.Link, vip.FamilyOf(a.Src), e.packet.VRID}]
	switch {
	case r == nil && drop == Accepted:
		drop = DropVRID
		e.strange(a, now)
	case r == nil:
	default:
		var do []Do
		if drop == Accepted {
			drop = r.wish.admits(a)
		}
		if drop == Accepted {
			do, drop = r.Receive(a.At, a.Src, &e.packet)
		}
		// What it is worth is told before what it changes.
		e.meet(r, a, atOdds(r, a, &e.packet, drop), now)
		e.perform(r, do)
	}
	e.counts[drop].Add(1)
}

// admits is what the IP header has to be like. keepalived sends over IPv6 to unicast
// peers with hop limit 64.
func (c Candidacy) admits(a *Arrival) Drop {
	unicast := !a.Dst.IsMulticast()
	if unicast && !slices.Contains(c.Peers, a.Src) {
		return DropSender
	}
	if a.HopLimit != HopLimit && (!unicast || a.Src.Is4()) {
		return DropHopLimit
	}
	return Accepted
}

// strange looks whether an advertisement under none of our VRIDs is about an address
// of ours.
func (e *Engine) strange(a *Arrival, now time.Time) {
	for _, addr := range e.packet.Addresses {
		if r := e.byAddr[place{a.Link, addr}]; r != nil {
			e.meet(r, a, vip.TroubleOtherVRID, now)
			return
		}
	}
}

// claimed takes that somebody claims an address of ours: a successor, another router
// that we know, or one who has no right to.
func (e *Engine) claimed(a *Arrival, now time.Time) {
	r := e.byAddr[place{a.Link, a.Claim}]
	if r == nil {
		return
	}
	e.perform(r, r.Claimed(a.At))
	if r.others.speaks(a.MAC) {
		return
	}
	e.packet = Advertisement{Addresses: e.packet.Addresses[:0]}
	claim := *a
	claim.Src = a.Claim
	e.meet(r, &claim, vip.TroubleClaim, now)
	if r.wish.Defend && r.State() == vip.RouterActive && r.others.mayDefend(now) {
		e.announce(r)
	}
}

// meet notes somebody else on the link, and tells once of each change.
func (e *Engine) meet(r *router, a *Arrival, t vip.RouterTrouble, now time.Time) {
	before, priority := r.others.meet(a, &e.packet, t, now)
	e.schedule(r)
	e.changed = e.changed || before != t || priority != e.packet.Priority
	if t != 0 && before != t {
		e.options.Log.Warn("another router or host is at odds with this one", "router", r.wish.Name, "vrid", r.wish.Router.VRID,
			"interface", r.wish.Interface.Name, "trouble", t.String(), "from", a.Src.String(), "mac", mac(a.MAC))
	}
}

// apply brings the routers in line with what is wanted.
func (e *Engine) apply(d Desired, now time.Time) {
	wanted := map[string]bool{}
	var links []Link
	for _, c := range d.Routers {
		wanted[c.Name] = true
		if !slices.Contains(links, c.Interface) {
			links = append(links, c.Interface)
		}
	}
	for _, r := range e.routers {
		if !slices.Contains(links, r.wish.Interface) {
			links = append(links, r.wish.Interface)
		}
	}
	faults := e.options.Conn.Listen(links)
	if e.again = (time.Time{}); len(faults) > 0 {
		e.again = now.Add(listenFor)
	}
	for _, c := range d.Routers {
		e.want(c, faults[c.Interface.Name], now)
	}
	for name, r := range e.routers {
		if !wanted[name] {
			r.going = true
			e.stance(r, Out, now)
			e.due.set(r, now)
		}
	}
	clear(e.byAddr)
	for _, r := range e.routers {
		for _, addr := range r.wish.addresses() {
			e.byAddr[place{r.wish.Interface.Name, addr}] = r
		}
	}
}

// want makes a router, or changes the one that is there.
func (e *Engine) want(c Candidacy, fault error, now time.Time) {
	r := e.routers[c.Name]
	if r != nil && r.wish.key() != c.key() {
		// Another virtual router: the old one has no time to leave politely.
		e.perform(r, r.Shutdown(now))
		e.drop(r)
		r = nil
	}
	if old := e.byKey[c.key()]; r == nil && old != nil {
		r = e.rename(old, c)
	}
	if r == nil {
		r = &router{Machine: NewMachine(c.Router, c.Source), wish: c, index: -1}
		e.routers[c.Name], e.byKey[c.key()] = r, r
		e.changed = true
	}
	old := r.wish
	r.going = false
	r.wish = c
	e.trouble(r, &r.fault, fault)
	if r.held && (old.Interface != c.Interface || old.Router.Interval != c.Router.Interval || !slices.Equal(old.addresses(), c.addresses())) {
		if r.speaks {
			e.announce(r)
		} else {
			e.answer(r)
		}
	}
	e.perform(r, r.Configure(now, c.Router, c.Source))
	stance := c.Stance
	if fault != nil {
		stance = Out
	}
	e.stance(r, stance, now)
}

// rename gives a virtual router another name: its service was renamed, and the
// routers on the link must not notice.
func (e *Engine) rename(r *router, c Candidacy) *router {
	old := r.wish.Name
	delete(e.routers, old)
	r.wish.Name = c.Name
	e.routers[c.Name] = r
	if r.held {
		e.answer(r)
		e.options.Host.Answer(Answer{Router: old, Interface: r.wish.Interface, Addresses: r.wish.addresses()})
	}
	e.changed = true
	return r
}

// stance tells the machine how far to take part. Each call is idempotent.
func (e *Engine) stance(r *router, s Stance, now time.Time) {
	var do []Do
	switch s {
	case In:
		do = r.Startup(now)
	case Last:
		do = r.Drain(now)
	case Out:
		do = r.Shutdown(now)
	}
	e.perform(r, do)
}

func (c Candidacy) key() key { return key{c.Interface.Name, vip.FamilyOf(c.Source), c.Router.VRID} }

// drop forgets a router.
func (e *Engine) drop(r *router) {
	if r.held {
		r.held, r.speaks = false, false
		e.answer(r)
	}
	e.due.set(r, time.Time{})
	delete(e.routers, r.wish.Name)
	delete(e.byKey, r.wish.key()) // two never share one
	e.changed = true
}

func (e *Engine) report() Report {
	list := make([]vip.VirtualRouter, 0, len(e.routers))
	for _, r := range e.routers {
		since, cause, by := r.Why()
		list = append(list, vip.VirtualRouter{Name: r.wish.Name, Interface: r.wish.Interface.Name, VRID: r.wish.Router.VRID, Family: vip.FamilyOf(r.wish.Source),
			State: r.State(), Since: since, Cause: cause, By: by, Priority: r.priority(), Answers: r.Answers(), Others: r.others.list(), Detail: cmp.Or(r.fault, r.unsent)})
	}
	slices.SortFunc(list, func(a, b vip.VirtualRouter) int { return cmp.Compare(a.Name, b.Name) })
	return Report{Routers: list}
}

// earlier is the first of two times, of which zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// deadlines are routers by when they are to be looked at, the next first.
type deadlines []*router

func (d deadlines) first() time.Time {
	if len(d) == 0 {
		return time.Time{}
	}
	return d[0].next
}

// set moves a router to its time; zero takes it out.
func (d *deadlines) set(r *router, at time.Time) {
	switch {
	case at.IsZero():
		if r.index >= 0 {
			heap.Remove(d, r.index)
		}
	case r.index >= 0:
		r.next = at
		heap.Fix(d, r.index)
	default:
		r.next = at
		heap.Push(d, r)
	}
}

func (d deadlines) Len() int           { return len(d) }
func (d deadlines) Less(i, j int) bool { return d[i].next.Before(d[j].next) }
func (d deadlines) Swap(i, j int)      { d[i], d[j] = d[j], d[i]; d[i].index, d[j].index = i, j }

// Push is heap.Interface's.
func (d *deadlines) Push(x any) {
	r := x.(*router)
	r.index = len(*d)
	*d = append(*d, r)
}

// Pop is heap.Interface's.
func (d *deadlines) Pop() any {
	r := (*d)[len(*d)-1]
	*d = (*d)[:len(*d)-1]
	r.index = -1
	return r
}
