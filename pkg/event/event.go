// Package event owns the record of what happened and the ring that keeps the
// latest of them. It must not know who reads them. The ring belongs to the
// agent loop; what leaves it are copies.
package event

import "time"

// Kind is a closed set: what sort of thing happened.
type Kind uint8

// The kinds.
const (
	KindNone    Kind = iota
	KindAgent        // started, stopping, reloaded, reload refused
	KindCheck        // a check's verdict changed
	KindService      // a service's disposition changed
	KindSession      // a BGP session changed state
	KindAddress      // a VIP appeared on or vanished from this host
	KindRoute        // a default route of this host changed
	KindRouter       // a virtual router's state changed, or who is at odds with it
)

var kindNames = [...]string{"none", "agent", "check", "service", "session", "address", "route", "router"}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "invalid"
}

// Record is one thing that happened.
type Record struct {
	Serial uint64 // 1, 2, ... since the agent started
	At     time.Time
	Kind   Kind
	Name   string // of the check, service, peer, address or virtual router
	From   string // state before; empty where there was none
	To     string
	Reason string // one line
}

// Ring keeps the latest records. Its zero value keeps none. One goroutine owns it.
type Ring struct {
	records []Record
	next    int
	serial  uint64
}

// NewRing keeps the latest n records.
func NewRing(n int) *Ring { return &Ring{records: make([]Record, 0, n)} }

// Add numbers r, keeps it and returns it.
func (g *Ring) Add(r Record) Record {
	g.serial++
	r.Serial = g.serial
	switch {
	case len(g.records) < cap(g.records):
		g.records = append(g.records, r)
	case len(g.records) > 0:
		g.records[g.next] = r
		g.next = (g.next + 1) % len(g.records)
	}
	return r
}

// Records are copies of what is kept, oldest first.
func (g *Ring) Records() []Record {
	out := make([]Record, 0, len(g.records))
	out = append(out, g.records[g.next:]...)
	return append(out, g.records[:g.next]...)
}
