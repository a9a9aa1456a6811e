// Package status owns the Snapshot, the one immutable picture of the agent
// that API, metrics and web page read, and its publication.
//
// It must not know how any part of the picture came about.
package status

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/anyvip/anyvip/pkg/event"
	"github.com/anyvip/anyvip/pkg/policy"
	"github.com/anyvip/anyvip/pkg/vip"
)

// Snapshot is the agent at one moment. It is immutable.
type Snapshot struct {
	Serial   uint64 // 1, 2, ... since the agent started
	At       time.Time
	Node     string
	Version  string
	Started  time.Time
	Phase    policy.Phase
	Input    policy.Input // what the decision was made from
	Desired  policy.Desired
	Checks   []Check        // in the order of the file
	Peers    []Peer         // in the order of the file
	Events   []event.Record // the latest, oldest first
	Hooks    []Hook         // in the order of the file
	Reload   Reload
	Intents  string // what is wrong with drains, on disk and on their way to us, and what to do; empty: nothing
	Counters Counters
}

// Check is one check as status shows it; its verdict is in Input.Checks.
type Check struct {
	Name   string
	Kind   string     // http, tcp, exec
	Target string     // what is asked, for humans: a URL, an address, a command
	Last   vip.Result // the latest result
	Probes uint64     // results since the agent started
	Woken  Woken      // how many of them were not of its interval

	Warning string // what of it cannot be watched, and what to do; empty: nothing
}

// Woken counts probes by what woke them.
type Woken [vip.TriggerCount]uint64

// Peer is one peer as status shows it; its session is in Desired.Shown.
type Peer struct {
	Name      string
	Address   netip.Addr // zero: unnumbered
	Interface string     // of an unnumbered peer
	ASN       uint32     // 0: external
}

// Hook is one hook as status shows it: totals since its name was configured.
type Hook struct {
	Name    string
	Runs    uint64 // ended, well or not
	Failed  uint64 // of them
	Dropped uint64 // events that it was not told of: it was too slow, or a reload changed it
	Last    string // how the last failure came; empty: there was none
}

// Reload is how the last reload ended.
type Reload struct {
	At    time.Time // zero: none since the start
	Error string    // empty: it was taken
}

// Counters are totals since the agent started.
type Counters struct {
	Decisions   uint64 // runs of policy.Decide
	AddressAdds uint64 // times a VIP was added to this host, or put back

	AdvertisementsSent     uint64            // of VRRP
	AdvertisementsReceived map[string]uint64 // VRRP packets, by what became of them
}

// Publisher hands Snapshots from one writer to many readers.
type Publisher struct {
	mu      sync.Mutex
	current *Snapshot
	changed chan struct{} // closed when current is replaced
}

// NewPublisher starts with an empty snapshot of serial 0.
func NewPublisher() *Publisher {
	return &Publisher{current: &Snapshot{}, changed: make(chan struct{})}
}

// Publish replaces the current snapshot. It never blocks on a reader.
func (p *Publisher) Publish(s *Snapshot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.current = s
	close(p.changed)
	p.changed = make(chan struct{})
}

// Load returns the current snapshot, never nil.
func (p *Publisher) Load() *Snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.current
}

// Next blocks until there is a snapshot newer than serial, and returns it. A
// slow reader misses those in between.
func (p *Publisher) Next(ctx context.Context, serial uint64) (*Snapshot, error) {
	for {
		p.mu.Lock()
		s, changed := p.current, p.changed
		p.mu.Unlock()
		if s.Serial > serial {
			return s, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
