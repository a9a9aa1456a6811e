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

// again begins a round for every Established peer, not before at.
func (r reader) again(at time.Time) {
	for peer := range r.rounds {
		r.read(peer)
		if next := r.rounds[peer]; next.at.Before(at) {
			next.at = at
			r.rounds[peer] = next
		}
	}
}

// forget ends a session's part.
func (r reader) forget(peer string) {
	delete(r.rounds, peer)
	delete(r.sent, peer)
}

// readSent reads the peer that has been due for longest, and says when to read
// the next. It reads no more than one: a change that comes in meanwhile goes out
// before the others are read, and the pulse never waits for all of them.
func (e *Engine) readSent(ctx context.Context) time.Duration {
	p, at, ok := e.nextRead()
	if !ok {
		return never
	}
	if wait := time.Until(at); wait > 0 {
		return wait
	}
	e.reader.rounds[p.Name] = e.readPeer(ctx, p, e.reader.rounds[p.Name])
	if _, at, ok = e.nextRead(); !ok {
		return never
	}
	return max(time.Until(at), 0)
}

// nextRead is the peer to read next, and when.
func (e *Engine) nextRead() (next Peer, at time.Time, ok bool) {
	for _, p := range e.want.Peers {
		if r, up := e.reader.rounds[p.Name]; up && !r.done && (!ok || r.at.Before(at)) {
			next, at, ok = p, r.at, true
		}
	}
	return next, at, ok
}

func (e *Engine) readPeer(ctx context.Context, p Peer, r round) round {
	start := time.Now()
	sent, err := e.speaker.Sent(ctx, p.Name)
	e.pulse()
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
