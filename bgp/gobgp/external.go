package gobgp

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	packet "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/anyvip/anyvip/pkg/vip"
)

const (
	openFirst  = time.Second // a peer that has not said OPEN by then waits for ours
	openSecond = noOpenAfter // and is silent if it has not answered by then
	hearGap    = time.Second // between two dials
)

// GoBGP opens a session with a peer of any AS if it is given AS 0, but then
// writes to its configuration while others read it. So the number of an external
// peer is found out first: we dial, hear the peer's OPEN, which comes unasked
// (RFC 4271, section 8.2.2, event 17), and hang up without a word. BIRD and FRR
// take no notice, where a NOTIFICATION would be logged as an error.

// heardAS is the AS number that the router at an address said last.
type heardAS struct {
	address netip.Addr
	as      uint32
}

// as is the peer's AS number; 0 while it is not known.
func (p *peer) as() uint32 {
	if p.want.ASN == 0 && p.heard.address == p.want.Address {
		return p.heard.as
	}
	return p.want.ASN
}

// findAS asks the peer for its AS number until it is known. The session opens
// with the answer.
func (s *Speaker) findAS(p *peer) {
	ctx, cancel := context.WithCancel(context.Background()) // ends in close
	p.asking = cancel
	s.setState(p, vip.Active, time.Now())
	h, generation := s.handshake(p), s.generation
	s.diagnoses.Go(func() {
		tick := time.NewTicker(hearGap)
		defer tick.Stop()
		for {
			as, f := h.hear(ctx)
			if ctx.Err() != nil {
				return
			}
			s.signals.put(signal{kind: asSaid, generation: generation, peer: h.peer.Address, at: time.Now(), as: as, failure: f})
			if as != 0 {
				return
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
}

// takeAS opens the session, or says why it cannot be opened yet.
func (s *Speaker) takeAS(p *peer, as uint32, f failure) {
	if as == 0 {
		if f != closedUnheard || !p.toldWhy(time.Now()) {
			s.fail(p, f)
		}
		return
	}
	p.heard = heardAS{p.want.Address, as}
	s.reopenPeer(p)
}

// forgetAS is what follows when an external peer says another AS than before.
func (s *Speaker) forgetAS(p *peer) {
	s.fail(p, failure{vip.CauseWrongAS, fmt.Sprintf("the peer says another AS than before (%d); it is asked for it", p.as())})
	p.heard = heardAS{}
	s.reopenPeer(p)
}

// hear dials and hears the peer's OPEN.
func (h handshake) hear(ctx context.Context) (as uint32, f failure) {
	limit, cancel := context.WithTimeout(ctx, findOutLimit)
	conn, err := h.dial(limit)
	cancel()
	if err != nil {
		return 0, dialFailure(err.Error(), h.peer)
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	r := bufio.NewReader(conn)
	_ = conn.SetDeadline(time.Now().Add(openFirst))
	if _, err := r.Peek(1); errors.Is(err, os.ErrDeadlineExceeded) {
		_ = conn.SetDeadline(time.Now().Add(openSecond - openFirst))
		if open, err := h.open(); err == nil {
			_, _ = conn.Write(open)
		}
	}
	m, err := readMessage(r)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return 0, noOpen(h.peer)
	case err != nil:
		return 0, closedUnheard
	}
	open, ok := m.Body.(*packet.BGPOpen)
	if !ok {
		f, _ := h.judge(m)
		return 0, cmp.Or(f, noOpen(h.peer))
	}
	if as = asOf(open); as == h.asn {
		return 0, failure{vip.CauseWrongAS, fmt.Sprintf("the peer says AS %d, which is ours, and asn here is external: correct one of them", as)}
	}
	return as, failure{}
}
