package kernel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anyvip/anyvip/pkg/kernel/sysctl"
	"github.com/anyvip/anyvip/pkg/latest"
	"github.com/anyvip/anyvip/pkg/vip"
)

// errStuck is why nothing is added while Options.Alive says no.
var errStuck = errors.New("the agent is stuck; the VIP is set right once it runs again")

// errStuckRoute is the same of default routes.
var errStuckRoute = errors.New("the agent is stuck; the route is set right once it runs again")

const (
	lookEvery  = 30 * time.Second       // without any hint: notifications can be lost, and sysctls send none
	firstRetry = 10 * time.Millisecond  // after something could not be set right; doubles
	lastRetry  = time.Second            // up to this
	longRest   = 20 * time.Millisecond  // longest pause after a look
	sameLoss   = 100 * time.Millisecond // one act: "ip addr flush" removes an address up to ten times in a row
	maxRounds  = 3                      // looks and actions in one go; a fight with somebody continues after a rest
	keptLosses = 5
)

// Options are what an Engine needs. All but Link are required.
type Options struct {
	StateDir string       // addresses.json is kept here; made if missing
	Link     string       // where VIPs are added; default lo
	Alive    func() bool  // asked before each address or route that is added: false while the agent is stuck
	Report   func(Report) // called from Run's goroutine; must not block
	Log      *slog.Logger
}

// Desired is everything the engine should bring about.
type Desired struct {
	Addresses []netip.Addr          // VIPs that should be on this host
	Leased    map[netip.Addr]string // VIPs that somebody else brings to a link and takes away: they are not its own
	Defaults  []vip.DefaultRoute    // default routes that should be on this host, at most one for each family

	// AdoptDefaults are families in which one that an earlier run left behind stays
	// as it is, although none is wanted: until it is known whether one will be.
	AdoptDefaults []vip.Family
}

// Report is what the engine tells its owner: whole values, replaced not
// merged, and never changed after they were handed over.
type Report struct {
	Addresses map[netip.Addr]vip.Address // every wanted VIP, and ours that are still to be removed
	Links     []vip.Link                 // by index
	Defaults  []vip.DefaultRoute         // default routes of ours, or wanted: what is there, and in Detail why it is not as wanted; by family
	Adds      uint64                     // times an address was added or put back since the start
}

// Engine keeps VIPs on this host.
type Engine struct {
	options Options
	desired latest.Value[wish]
	others  atomic.Pointer[others] // for the watch

	// From here on owned by Run's goroutine.
	host    host
	ledger  ledger
	scene   scene                      // of the latest look
	arp     map[string]sysctl.ARP      // of links, as last read; kept when they cannot be read for now
	started bool                       // the first desired set has come; before, leftovers are not judged
	wanted  map[netip.Addr]bool        // latest desired set
	leased  map[netip.Addr]string      // likewise
	owned   map[netip.Addr]string      // VIPs that we added, and the link; nil until the ledger was read
	facts   map[netip.Addr]vip.Address // as last reported
	lost    map[netip.Addr][]time.Time // of wanted VIPs
	trouble map[netip.Addr]trouble     // why the latest attempt to change an address failed
	links   []vip.Link                 // as last reported
	adds    uint64
	kept    bool     // addresses are as they should be, as of their latest pass
	routes  defaults // the default routes
	due     deadlines
	retries int // in a row, since something new happened
	quiet   *quiet
	failing string // the look or ledger error that was logged last
}

// wish is a desired set that waits to be taken.
type wish struct {
	addresses map[netip.Addr]bool
	leased    map[netip.Addr]string
	defaults  map[vip.Family][]netip.Addr
	adopt     []vip.Family
}

// trouble is why a VIP is not as it should be.
type trouble struct {
	state  vip.AddressState
	detail string
}

// host is the border to the kernel.
type host interface {
	// look dumps addresses, and links too if hinted or never done before.
	look(h hint) (scene, error)
	// arpSettings reads the sysctls of a link.
	arpSettings(link string) (sysctl.ARP, error)
	// do changes one address. It returns errExists for an add of what is there.
	do(v verb, c change) error
}

// verb is what do does.
type verb uint8

const (
	add    verb = iota // as a host address with the right attributes
	mend               // set the attributes right, without a gap
	remove             // take it away
)

var verbNames = [...]string{"add", "mend", "remove"}

func (v verb) String() string { return verbNames[v] }

// New prepares an engine. It touches nothing before Run.
func New(o Options) *Engine {
	if o.Link == "" {
		o.Link = "lo"
	}
	said := newQuiet(o.Log)
	return &Engine{
		options: o,
		desired: latest.Make[wish](),
		ledger:  ledger{path: filepath.Join(o.StateDir, "addresses.json")},
		lost:    make(map[netip.Addr][]time.Time),
		arp:     make(map[string]sysctl.ARP),
		quiet:   said,
		routes:  defaults{alive: o.Alive, log: o.Log, quiet: said, seen: make(map[vip.Family][]route)},
	}
}

// Apply replaces the desired set. It does not block, and any goroutine may call
// it, before Run as well. Nothing is removed before the first call: what an
// earlier run left behind waits for it.
func (e *Engine) Apply(d Desired) {
	w := wish{make(map[netip.Addr]bool, len(d.Addresses)), make(map[netip.Addr]string, len(d.Leased)), wantedDefaults(d.Defaults), slices.Clone(d.AdoptDefaults)}
	for ip, link := range d.Leased {
		w.leased[ip.Unmap()] = link
	}
	for _, ip := range d.Addresses {
		w.addresses[ip.Unmap()] = true
	}
	e.desired.Put(w)
}

// Run keeps the host as desired until ctx ends. It leaves addresses and routes
// where they are; who wants them gone applies an empty set and waits for the
// Report without them. An error means that it could not start.
func (e *Engine) Run(ctx context.Context) error {
	release, err := e.ledger.claim()
	if err != nil {
		return fmt.Errorf("kernel: %w", err)
	}
	defer release()
	k, err := openKernel()
	if err != nil {
		return fmt.Errorf("kernel: %w", err)
	}
	defer k.close()
	e.ledger.life = k.life
	w, err := openWatch(e.isOthers, e.options.Log)
	if err != nil {
		return fmt.Errorf("kernel: %w", err)
	}
	t, err := openMainTable(k.handle, w)
	if err != nil {
		w.close()
		return fmt.Errorf("kernel: %w", err)
	}
	defer t.close()
	var watching sync.WaitGroup
	watching.Go(w.run)
	defer watching.Wait()
	defer w.close()
	e.run(ctx, k, t, w.hints)
	return nil
}

// run is Run over any host.
func (e *Engine) run(ctx context.Context, h host, t routeTable, hints <-chan hint) {
	e.host, e.routes.table = h, t
	timer := time.NewTimer(lookEvery)
	defer timer.Stop()
	for next, ok := hintLinks, true; ok; next, ok = e.wait(ctx, hints, timer.C) {
		begin := time.Now()
		next = e.due.promote(next, begin)
		settled := e.pass(next)
		timer.Reset(e.schedule(next, settled))
		// A storm of notifications may take a third of one processor, no more.
		pause(ctx, min(2*time.Since(begin), longRest))
	}
}

// wait returns when there is a reason to look, and false when ctx ended.
func (e *Engine) wait(ctx context.Context, hints <-chan hint, timer <-chan time.Time) (hint, bool) {
	for {
		select {
		case <-ctx.Done():
			return hintRoutes, false
		case w := <-e.desired:
			if e.want(w) {
				return hintAddresses, true
			}
		case h := <-hints:
			if !e.routes.settled {
				e.retries = 0 // a link or an address that a next hop waits for
			}
			return h, true
		case <-timer:
			return hintLinks, true
		}
	}
}

// isOthers reports whether an address on a link comes and goes without us.
func (e *Engine) isOthers(ip netip.Addr, link int) bool {
	o := e.others.Load()
	return o != nil && o.leased[ip] != "" && link != o.home
}

// others are leased addresses, which come and go on other links than ours.
type others struct {
	leased map[netip.Addr]string
	home   int // index of the link that VIPs are added to; 0: not known
}

// tellOthers has the watch know about leased addresses.
func (e *Engine) tellOthers() {
	if home, there := e.scene.link(e.options.Link); there {
		e.others.Store(&others{e.leased, home.index})
	}
}

// want takes over a desired set, and reports whether it is another one.
func (e *Engine) want(w wish) bool {
	if e.started && maps.Equal(w.addresses, e.wanted) && maps.Equal(w.leased, e.leased) &&
		maps.EqualFunc(w.defaults, e.routes.wanted, slices.Equal) && slices.Equal(w.adopt, e.routes.adopt) {
		return false
	}
	e.wanted, e.leased, e.started, e.retries = w.addresses, w.leased, true, 0
	e.tellOthers()
	e.routes.wanted, e.routes.adopt = w.defaults, w.adopt
	maps.DeleteFunc(e.lost, func(ip netip.Addr, _ []time.Time) bool { return !w.addresses[ip] })
	return true
}

// deadlines are when to look without a hint. They stand, however many hints come
// in between: a hint of one thing must not put off another.
type deadlines struct {
	look  time.Time // at everything
	retry time.Time // what could not be set right; zero: all is right
}

// promote makes a pass one over everything when a deadline has come.
func (d deadlines) promote(h hint, now time.Time) hint {
	if !now.Before(d.look) || !d.retry.IsZero() && !now.Before(d.retry) {
		return hintLinks
	}
	return h
}

func (d deadlines) next() time.Time {
	if d.retry.IsZero() || d.look.Before(d.retry) {
		return d.look
	}
	return d.retry
}

// schedule sets the deadlines after a pass, and returns how long to wait for the
// first of them. A retry comes sooner when something new made it worth that,
// and never later.
func (e *Engine) schedule(done hint, settled bool) time.Duration {
	now := time.Now()
	if done == hintLinks {
		e.due = deadlines{look: now.Add(lookEvery)}
	}
	if settled {
		e.retries, e.due.retry = 0, time.Time{}
		return e.due.next().Sub(now)
	}
	at := now.Add(min(firstRetry<<min(e.retries, 10), lastRetry))
	if e.due.retry.IsZero() || at.Before(e.due.retry) {
		e.due.retry = at
		e.retries++
	}
	return e.due.next().Sub(now)
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
