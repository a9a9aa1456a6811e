package agent

import (
	"net/netip"
	"sync"

	"github.com/anyvip/anyvip/bgp"
	"github.com/anyvip/anyvip/bgp/neighbor"
	"github.com/anyvip/anyvip/pkg/config"
	"github.com/anyvip/anyvip/pkg/hint"
	"github.com/anyvip/anyvip/pkg/hook"
	"github.com/anyvip/anyvip/pkg/intent"
	"github.com/anyvip/anyvip/pkg/kernel"
	"github.com/anyvip/anyvip/pkg/kernel/lease"
	"github.com/anyvip/anyvip/pkg/status"
	"github.com/anyvip/anyvip/pkg/vip"
	"github.com/anyvip/anyvip/vrrp"
)

// mail is what came in since the loop looked last.
type mail struct {
	results  []vip.Result   // in the order they came
	bgp      *bgp.Report    // the latest
	kernel   *kernel.Report // the latest
	found    *neighbor.Report
	routers  *vrrp.Report             // the latest
	leases   *lease.Report            // the latest
	flows    map[netip.Addr]vip.Flows // the latest; nil: nothing new
	heard    map[heardOf]heard        // what woke probes
	blind    *hint.Report             // the latest
	intents  *intent.Report           // the latest
	drain    *drainFile               // the latest
	hooks    []status.Hook            // the latest; nil: nothing new
	prepared []prepared               // in the order they came
	wishes   []wish                   // in the order they came
	answers  []func()                 // to wishes that are granted, once all that came before is published
	reload   *reload                  // the latest
	stop     string                   // why the agent should end; empty: it should not
}

// reload is a configuration that was read again, or why it could not be.
type reload struct {
	config *config.Config
	err    error
}

// mailbox is where senders leave events. Putting never blocks: reports are
// whole values, of which the latest wins, and results are at most a few per
// check and loop turn, since a check waits for its interval.
type mailbox struct {
	mu    sync.Mutex
	mail  mail
	ready chan struct{} // of one: something is in
}

func newMailbox() *mailbox { return &mailbox{ready: make(chan struct{}, 1)} }

// put changes the mail under the lock and wakes the loop.
func (m *mailbox) put(change func(*mail)) {
	m.mu.Lock()
	change(&m.mail)
	m.mu.Unlock()
	select {
	case m.ready <- struct{}{}:
	default:
	}
}

// take empties the mailbox.
func (m *mailbox) take() mail {
	m.mu.Lock()
	defer m.mu.Unlock()
	got := m.mail
	m.mail = mail{}
	return got
}

func (m *mailbox) result(r vip.Result)              { m.put(func(q *mail) { q.results = append(q.results, r) }) }
func (m *mailbox) bgp(r bgp.Report)                 { m.put(func(q *mail) { q.bgp = &r }) }
func (m *mailbox) kernel(r kernel.Report)           { m.put(func(q *mail) { q.kernel = &r }) }
func (m *mailbox) neighbors(r neighbor.Report)      { m.put(func(q *mail) { q.found = &r }) }
func (m *mailbox) routers(r vrrp.Report)            { m.put(func(q *mail) { q.routers = &r }) }
func (m *mailbox) leases(r lease.Report)            { m.put(func(q *mail) { q.leases = &r }) }
func (m *mailbox) flows(f map[netip.Addr]vip.Flows) { m.put(func(q *mail) { q.flows = f }) }
func (m *mailbox) blind(r hint.Report)              { m.put(func(q *mail) { q.blind = &r }) }
func (m *mailbox) intents(r intent.Report)          { m.put(func(q *mail) { q.intents = &r }) }
func (m *mailbox) drainFile(f drainFile)            { m.put(func(q *mail) { q.drain = &f }) }
func (m *mailbox) prepared(p prepared)              { m.put(func(q *mail) { q.prepared = append(q.prepared, p) }) }
func (m *mailbox) wish(w wish)                      { m.put(func(q *mail) { q.wishes = append(q.wishes, w) }) }
func (m *mailbox) answer(f func())                  { m.put(func(q *mail) { q.answers = append(q.answers, f) }) }
func (m *mailbox) reload(r reload)                  { m.put(func(q *mail) { q.reload = &r }) }

// hooks takes the counts of all hooks.
func (m *mailbox) hooks(counts []hook.Counts) {
	list := make([]status.Hook, len(counts))
	for i, c := range counts {
		list[i] = status.Hook(c)
	}
	m.put(func(q *mail) { q.hooks = list })
}

// hint takes a kernel event, before the probe that it wakes can end. It wakes nobody:
// that probe's result will.
func (m *mailbox) hint(h hint.Hint) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mail.heard == nil {
		m.mail.heard = make(map[heardOf]heard)
	}
	of := heardOf{h.Check, triggers[h.Source]}
	m.mail.heard[of] = m.mail.heard[of].and(heardIn(h))
}

// stop asks for a polite end; the first reason stays.
func (m *mailbox) stop(reason string) {
	m.put(func(q *mail) {
		if q.stop == "" {
			q.stop = reason
		}
	})
}
