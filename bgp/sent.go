package bgp

import (
	"context"
	"net/netip"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

const (
	firstReread = time.Millisecond // doubled each time
	rereads     = 12               // after the first read, about 8 s in all
	readRest    = 100              // times as long as a read took is rest before the next: a read keeps changes waiting
	maxRest     = 500 * time.Millisecond
	never       = time.Hour
)

// reader is what was read of each Established peer's Adj-RIB-Out, and which
// peers are to be read again. A batch or a session's start begins a round of
// reads, which ends when the peer has what it should, or after some tries.
type reader struct {
	sent   map[string]map[netip.Prefix]vip.Announcement // replaced, never changed
	rounds map[string]round                             // Established peers
}

// round is one peer's reads. Its zero value is: read now.
type round struct {
	tries int
	at    time.Time // of the next read
	done  bool
}

func newReader() reader {
	return reader{sent: map[string]map[netip.Prefix]vip.Announcement{}, rounds: map[string]round{}}
}

// read begins a round for one peer.
func (r reader) read(peer string) { r.rounds[peer] = round{at: r.rounds[peer].at} }

// again begins a round for every Established peer.
func (r reader) again() {
	for peer := range r.rounds {
		r.read(peer)
	}
}

// forget ends a session's part.
func (r reader) forget(peer string) {
	delete(r.rounds, peer)
	delete(r.sent, peer)
}

// readSent reads every peer that is due, and says when the next will be.
func (e *Engine) readSent(ctx context.Context) time.Duration {
	next := never
	for name, round := range e.reader.rounds {
		p, ok := e.want.peer(name)
		if round.done || !ok {
			continue
		}
		if wait := time.Until(round.at); wait > 0 {
			next = min(next, wait)
			continue
		}
		round = e.readPeer(ctx, p, round)
		e.reader.rounds[name] = round
		if !round.done {
			next = min(next, max(time.Until(round.at), 0))
		}
	}
	return next
}

func (e *Engine) readPeer(ctx context.Context, p Peer, r round) round {
	start := time.Now()
	sent, err := e.speaker.Sent(ctx, p.Name)
	end := time.Now()
	rest := min(end.Sub(start)*readRest, maxRest)
	if err == nil {
		if !sentEqual(e.reader.sent[p.Name], sent) || e.reader.sent[p.Name] == nil {
			e.reader.sent[p.Name] = sent
			e.sentNew = true
		}
		if sentEqual(sent, e.table.expected(p, e.sessions[p.Name].Families)) {
			return round{done: true, at: end.Add(rest)}
		}
	}
	if r.tries == rereads {
		if err != nil {
			e.log.Warn("cannot read what was sent", "peer", p.Name, "error", err)
		}
		return round{done: true, at: end.Add(rest)}
	}
	return round{tries: r.tries + 1, at: end.Add(max(rest, firstReread<<r.tries))}
}
