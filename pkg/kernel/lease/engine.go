package lease

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anyvip/anyvip/pkg/latest"
	"github.com/anyvip/anyvip/pkg/vip"
)

const (
	idlePass   = time.Second            // without anything to do: LastPass must move
	lookEvery  = 5 * time.Second        // without any hint: notifications can be lost
	lookGap    = 10 * time.Millisecond  // between looks that hints ask for
	gatePoll   = 50 * time.Millisecond  // while Options.Alive says no
	firstRetry = 10 * time.Millisecond  // after something failed; doubles
	lastRetry  = time.Second            // up to this
	early      = 250 * time.Millisecond // a renewal takes along what is due so soon
	stands     = time.Second            // what is taken away sooner after it was put there, somebody fights for
	sameLoss   = 100 * time.Millisecond // one act: "ip addr flush" removes an address up to ten times in a row
	keptLosses = 5
)

// Lease is an address that this host may have to have.
type Lease struct {
	Addr     netip.Addr    // a link-local one has its link's name as zone if another Lease has the same on another link
	Link     string        // where it is to be
	Index    int           // of that link; one that was made anew has another; 0: there is no such link
	Interval time.Duration // the virtual router's Advertisement_Interval: the lifetime follows from it
	Held     bool          // it is to be there; otherwise it is only written down, so that taking it needs no disk

	// Going says that a held address will go within moments, another router's already or
	// soon: it is renewed only when it would expire before. The kernel reports all multicast
	// groups of a link whenever it is told of an IPv6 address there (ipv6_find_idev calls
	// ipv6_mc_up), on a macvlan from the MAC that neighbours should by then find elsewhere.
	Going bool

	// MAC is what neighbours are to know it by, a virtual router's: then it is on a
	// macvlan over Link. Zero: it is on Link, and has its MAC. One of IPv4 and one of
	// IPv6 never have the same.
	MAC [6]byte

	perch *perch // the macvlan, once the engine has it; then Link and Index are that one's
}

func (l Lease) spot() spot { return spot{l.Addr.WithZone(""), l.Index} }

// Options are what an Engine needs. All are required.
type Options struct {
	StateDir string       // leases.json is kept here; made if missing
	Alive    func() bool  // asked before addresses are added or renewed: false while the agent is stuck
	Report   func(Report) // called from Run's goroutine; must not block

	// Added is told of addresses as soon as they are there, before the Report that has
	// them: many take the kernel a while, and who announces them need not wait for the
	// last. Called from Run's goroutine; must not block.
	Added func([]netip.Addr)

	Log *slog.Logger
}

// Report is what the engine tells its owner: a whole value, replaced not merged, and
// never changed after it was handed over.
type Report struct {
	// Addresses are all that were applied, and ours that are still to be removed, by
	// Lease.Addr. A candidate that is not on this host is absent, without a Detail if
	// it could be taken at once.
	Addresses map[netip.Addr]vip.Address
}

// Engine keeps leases.
type Engine struct {
	options Options
	desired latest.Value[[]Lease]
	beat    atomic.Pointer[time.Time]

	// From here on owned by Run's goroutine.
	host    host
	links   links
	mark    string // of our macvlans
	disk    *disk
	started bool    // the first desired set has come; before, leftovers are not judged
	wished  []Lease // the latest desired set
	tenures map[spot]*tenure
	perches map[macvlan]*perch
	strays  []station // macvlans of ours that nobody wants
	spare   time.Time // until then those of an earlier run stay, down
	look    looking
	closed  bool // Options.Alive said no to something
	more    bool // there is more to do than the latest pass did
	facts   map[netip.Addr]vip.Address
	failing string // the error of the disk that was logged last
	chat    chat
}

// New prepares an engine. It touches nothing before Run.
func New(o Options) *Engine {
	return &Engine{
		options: o,
		desired: latest.Make[[]Lease](),
		mark:    markOf(o.StateDir),
		disk:    newDisk(filepath.Join(o.StateDir, "leases.json")),
		tenures: make(map[spot]*tenure),
		chat:    newChat(o.Log),
	}
}

// Apply replaces the desired set. It does not block, and any goroutine may call it,
// before Run as well. What an earlier run left behind is not removed by it, unless it was
// held in between.
func (e *Engine) Apply(leases []Lease) {
	w := make([]Lease, 0, len(leases))
	for _, l := range leases {
		if l.Addr = l.Addr.Unmap(); l.Addr.IsValid() {
			w = append(w, l)
		}
	}
	e.desired.Put(w)
}

// LastPass is when the engine last went through its work; zero before Run. It reads an
// atomic: a deadman may call it. It is at most a second old, unless the kernel or
// Options.Report holds the engine up.
func (e *Engine) LastPass() time.Time {
	if t := e.beat.Load(); t != nil {
		return *t
	}
	return time.Time{}
}

// Run keeps addresses as desired until ctx ends. It leaves them where they are then,
// and they expire; who wants them gone at once applies them as not held, and waits for
// the Report. An error means that it could not start.
func (e *Engine) Run(ctx context.Context) error {
	k, err := openKernel()
	if err != nil {
		return fmt.Errorf("lease: %w", err)
	}
	defer k.close()
	e.disk.life = k.life
	w, err := openWatch(e.options.Log)
	if err != nil {
		return fmt.Errorf("lease: %w", err)
	}
	var watching sync.WaitGroup
	watching.Go(w.run)
	defer watching.Wait()
	defer w.close()
	e.run(ctx, k, k, w.hints)
	return nil
}

// run is Run over any host.
func (e *Engine) run(ctx context.Context, h host, l links, hints <-chan struct{}) {
	e.host, e.links = h, l
	defer e.disk.end()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		began := time.Now()
		e.pass(began)
		now := time.Now()
		e.beat.Store(&now)
		timer.Reset(e.rest(began).Sub(now))
		e.wait(ctx, hints, timer)
	}
}

// wait returns when there is a reason for a pass. A hint that comes too soon after a
// look is none yet: a storm of them must not keep us busy.
func (e *Engine) wait(ctx context.Context, hints <-chan struct{}, timer *time.Timer) {
	for {
		select {
		case <-ctx.Done():
		case w := <-e.desired:
			e.want(w)
		case <-hints:
			if soon := time.Until(e.look.notBefore); soon > 0 {
				if !e.look.hinted {
					e.look.hinted = true
					timer.Reset(soon) // what is due sooner can wait so long
				}
				continue
			}
			e.look.hinted = true
		case o := <-e.disk.done:
			e.diskDone(o)
		case <-timer.C:
		}
		return
	}
}

// want takes over a desired set.
func (e *Engine) want(list []Lease) {
	if !e.started {
		e.spare = time.Now().Add(spareTime)
	}
	e.started = true
	e.wished = list
	e.wantMacvlans(list)
	e.place()
}

// place brings every lease of the desired set to its spot.
func (e *Engine) place() {
	w := make(map[spot]Lease, len(e.wished))
	for _, l := range e.wished {
		if p := e.perches[l.macvlan()]; p != nil {
			l.perch, l.Link, l.Index = p, p.name(), p.index
		}
		w[l.spot()] = l
	}
	for s, t := range e.tenures {
		if _, ok := w[s]; !ok && t.wanted {
			t.drop()
		}
	}
	for s, l := range w {
		t := e.tenures[s]
		if t == nil {
			t = &tenure{}
			e.tenures[s] = t
			e.look.next = time.Time{} // nobody looked for it yet
		}
		t.want(l)
	}
}

// pass does what is to be done now.
func (e *Engine) pass(now time.Time) {
	e.disk.read(now)
	e.complain(e.disk.problem(now))
	if e.started {
		e.lookIfDue(now)
		e.act(now)
		e.forget()
		e.disk.write(e.books(), now)
		e.publish()
	}
	e.chat.flush(time.Now())
}

// forget drops what is neither wanted nor ours.
func (e *Engine) forget() {
	for s, t := range e.tenures {
		if !t.wanted && !t.ours && !t.claim {
			delete(e.tenures, s)
		}
	}
}

// books are what the ledger has to say: what may be added, and what was.
func (e *Engine) books() map[spot]string {
	b := make(map[spot]string, len(e.tenures))
	for s, t := range e.tenures {
		if s.index > 0 {
			b[s] = t.lease.Link
		}
	}
	return b
}

// diskDone takes over what the ledger says, or that it was written.
func (e *Engine) diskDone(o outcome) {
	left := e.disk.took(o, time.Now())
	if o.corrupt != nil {
		e.options.Log.Error("file of leases is corrupt, moved aside; addresses that an earlier run added are left alone and expire",
			"file", e.disk.path, "aside", o.aside, "error", o.corrupt)
	}
	for s, link := range left {
		t := e.tenures[s]
		if t == nil {
			t = &tenure{lease: Lease{Addr: s.addr, Link: link, Index: s.index}}
			e.tenures[s] = t
		}
		t.claim, t.left = true, !t.held()
	}
	if len(left) > 0 {
		e.look.next = time.Time{} // to see which of them are there
	}
}

// complain logs that the disk does not work, once until that changes.
func (e *Engine) complain(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text == e.failing {
		return
	}
	e.failing = text
	if err != nil {
		e.options.Log.Error("file of leases does not work; no address is added that it does not have", "error", err)
		return
	}
	e.options.Log.Info("file of leases works again")
}

// rest is until when there is nothing to do, after a pass that began at a moment. What
// was due then and is still to be done waits for something that wakes us.
func (e *Engine) rest(began time.Time) time.Time {
	if e.more && !e.closed {
		return began
	}
	next := began.Add(idlePass)
	sooner := func(t time.Time) {
		if t.After(began) && t.Before(next) {
			next = t
		}
	}
	sooner(e.disk.deadline())
	if e.closed {
		sooner(began.Add(gatePoll))
	}
	if e.started {
		sooner(e.look.deadline())
		for _, p := range e.perches {
			sooner(p.retry)
		}
		if len(e.strays) > 0 {
			sooner(e.spare)
		}
		for _, t := range e.tenures {
			t.deadlines(sooner)
		}
	}
	return next
}
