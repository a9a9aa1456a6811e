package gobgp

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/osrg/gobgp/v4/api"
	packet "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/anyvip/anyvip/bgp"
	"github.com/anyvip/anyvip/pkg/vip"
)

const (
	closeLimit   = time.Second     // a polite close is over by then
	reopenGap    = time.Second     // a session is opened at most this often
	noOpenAfter  = 5 * time.Second // TCP up and the handshake stands still: worth saying
	noOpenLimit  = 10 * time.Second
	passiveQuiet = 5 * time.Second // no connection from a passive peer: worth saying
	idleTurn     = time.Hour
	learnGap     = time.Millisecond
	learnLimit   = time.Second
	defaultsGap  = 20 * time.Millisecond // a peer's default routes are read at most this often
)

// takeSignal is where everything that happens to a session comes in.
func (s *Speaker) takeSignal(ctx context.Context, sig signal) {
	p := s.byAddress(sig.peer)
	if p == nil || sig.generation != s.generation {
		return
	}
	if p.asking != nil {
		switch sig.kind { //nolint:exhaustive // GoBGP has no neighbour that more could be said of
		case answered:
			s.takeAnswer(p, sig.failure)
		case asSaid:
			s.takeAS(p, sig.as, sig.failure)
		}
		return
	}
	if !p.open || sig.at.Before(p.opened) {
		return // of a neighbour that was closed meanwhile
	}
	if sig.kind == stateChanged {
		s.takeState(ctx, p, sig)
		return
	}
	if sig.kind == defaultSaid {
		p.defaultsDue = later(sig.at, p.defaultsRead.Add(defaultsGap))
		return
	}
	if p.session.State == vip.Established && sig.kind != notificationSent && sig.kind != notificationReceived {
		return // of an attempt that has been overtaken
	}
	switch sig.kind {
	case stateChanged, answered, asSaid, defaultSaid:
	case dialFailed:
		if p.session.State < vip.OpenSent { // else the peer's own connection stands
			p.waiting = time.Time{}
		}
		f := dialFailure(sig.text, p.want)
		if f.cause == vip.CauseSilent {
			s.findOut(ctx, p)
			if p.failure.cause == vip.CauseUnreachable {
				return // unless what was just asked says otherwise
			}
		}
		s.fail(p, f)
	case tcpUp:
		p.waiting = sig.at
		s.setState(p, vip.OpenSent, sig.at)
	case tcpLost:
		p.waiting = time.Time{}
		if !p.toldWhy(sig.at) {
			s.fail(p, closedUnheard)
		}
		s.setState(p, vip.Active, sig.at)
		s.diagnose(ctx, p)
	case notificationSent:
		p.waiting = time.Time{}
		if sig.code == packet.BGP_ERROR_CEASE {
			return // our own doing
		}
		if p.want.ASN == 0 && sig.code == packet.BGP_ERROR_OPEN_MESSAGE_ERROR && sig.subcode == packet.BGP_ERROR_SUB_BAD_PEER_AS {
			s.forgetAS(p)
			return
		}
		s.fail(p, notificationFailure(true, sig.code, sig.subcode, sig.text, p.want))
		if p.session.State == vip.OpenSent {
			s.setState(p, vip.Active, sig.at)
		}
		if p.session.State != vip.Established {
			s.diagnose(ctx, p)
		}
	case notificationReceived:
		s.fail(p, notificationFailure(false, sig.code, sig.subcode, sig.text, p.want))
	case diagnosed:
		if sig.failure.cause != vip.CauseNone {
			s.fail(p, sig.failure)
		}
	}
}

// takeState follows GoBGP's state machine.
func (s *Speaker) takeState(ctx context.Context, p *peer, sig signal) {
	was := p.said
	p.said = sig.state
	p.waiting, p.coming = time.Time{}, coming{}
	switch sig.state {
	case vip.Established:
		p.coming = coming{at: sig.at, caps: sig.caps, due: sig.at}
		return
	case vip.OpenSent, vip.OpenConfirm:
		p.waiting = sig.at // GoBGP would wait for 240 s, and in OpenConfirm for ever
	case vip.Idle:
		if !p.closing.IsZero() {
			s.closed(p)
			return
		}
		if f, ok := downFailure(sig.reason, was, p); ok {
			p.failure, p.failed = f, sig.at
		}
		if refused := was == vip.OpenConfirm && sig.reason == api.PeerState_DISCONNECT_REASON_INVALID_MSG; refused && !p.want.Passive {
			s.refused(ctx, p)
			return
		}
		if was != vip.Established || p.mayHurry() {
			p.openSoon()
		}
	case vip.Connect, vip.Active:
	}
	s.setState(p, sig.state, sig.at)
}

// refused is what follows a peer's NOTIFICATION to our OPEN: it is asked what it
// dislikes, unless it has said so lately.
func (s *Speaker) refused(ctx context.Context, p *peer) {
	if p.verdict.cause != vip.CauseNone && time.Now().Before(p.diagnosable) {
		p.failure = p.verdict
		p.openSoon()
		s.setState(p, vip.Active, time.Now())
		return
	}
	p.diagnosable = time.Now().Add(askLimit)
	s.ask(ctx, p)
	s.setState(p, vip.Active, time.Now())
}

func (s *Speaker) takeAnswer(p *peer, f failure) {
	p.verdict = f
	if f.cause != vip.CauseNone {
		s.fail(p, f)
	}
	s.reopenPeer(p)
}

// coming is a session of which GoBGP has said that it is Established. What was
// negotiated can be read once GoBGP counts it so too, which may be a moment
// later, or never: the session may be over by then.
type coming struct {
	at   time.Time // when GoBGP said so; zero: there is none
	due  time.Time // when to look
	caps []packet.ParameterCapabilityInterface
}

// establish looks whether a session that is coming is there, and tells it.
func (s *Speaker) establish(p *peer) {
	c, now := p.coming, time.Now()
	n, err := s.learn(p)
	switch {
	case err != nil:
		s.log.Warn("cannot read what was negotiated", "peer", p.want.Name, "error", err)
	case n.state < api.PeerState_SESSION_STATE_OPENCONFIRM:
		p.coming = coming{} // over already; its end is on its way to us
		return
	case n.state != api.PeerState_SESSION_STATE_ESTABLISHED && now.Sub(c.at) < learnLimit:
		p.coming.due = now.Add(learnGap)
		return
	}
	p.coming = coming{}
	p.failure, p.verdict = failure{}, failure{}
	p.session = p.sessionIn(vip.Established, c.at)
	p.session.HoldTime, p.session.Local, p.session.RemoteID = n.holdTime, n.local, n.remoteID
	p.session.Families, p.extended = negotiated(p.want, c.caps)
	p.session.Defaults = s.readDefaults(p)
	p.session.Warning = p.warning()
	if only6 := !p.extended && (p.only6 || s.hasTwin(p)); only6 != p.only6 {
		p.only6, p.reopen = only6, now
	}
	s.makeSure(p, c.at)
	if err := s.setPolicy(s.policyFor(s.policy.allowed)); err != nil {
		s.log.Warn("cannot let ipv4 out to an ipv6 session", "peer", p.want.Name, "error", err)
	}
	s.tell(p)
}

// makeSure mends what GoBGP v4.8.0 may have missed: it sends a new session its
// routes just before it counts the peer as Established, and a change of routes
// between the two reaches neither. All routes go out again, or, since that mends
// no missing withdraw, the session starts again. Both are rare: between since
// and now is only the time that the event took to reach us.
func (s *Speaker) makeSure(p *peer, since time.Time) {
	switch {
	case s.withdrew.After(since):
		s.log.Info("a withdraw may have been lost at the session's start; starting it again", "peer", p.want.Name)
		p.reopen = time.Now()
	case s.announcedAt.After(since):
		s.softReset(p)
	}
}

// setState tells a change of state, with why it is not Established.
func (s *Speaker) setState(p *peer, state vip.SessionState, at time.Time) {
	p.session = p.sessionIn(state, at)
	p.session.Cause, p.session.Detail = p.failure.cause, p.failure.detail
	s.tell(p)
}

// fail notes why the session is not up, and tells it unless it still is.
func (s *Speaker) fail(p *peer, f failure) {
	p.failed = time.Now()
	if p.failure == f {
		return
	}
	p.failure = f
	if p.session.State != vip.Established {
		p.session.Cause, p.session.Detail = f.cause, f.detail
		s.tell(p)
	}
}

// toldWhy says whether the peer lately failed for a reason that its closing a
// new connection unheard, which is what follows, must not hide.
func (p *peer) toldWhy(now time.Time) bool {
	switch p.failure.cause {
	case vip.CauseNone, vip.CauseNotWanted, vip.CauseRefused, vip.CauseUnreachable, vip.CauseSilent, vip.CauseLocal, vip.CauseLinkDown,
		vip.CauseNoNeighbor:
		return false
	case vip.CauseNoOpen, vip.CauseWrongAS, vip.CauseWrongID, vip.CauseNotification, vip.CauseHoldExpired, vip.CausePeerClosed:
	}
	return now.Sub(p.failed) < askLimit
}

// turn does at most one thing of those that are due, the one that has been for
// longest, and says when to come again: so nobody waits for more than one,
// however many peers misbehave.
func (s *Speaker) turn(now time.Time) time.Duration {
	next := chore{at: now.Add(idleTurn)}
	for _, p := range s.peers {
		if c := s.chore(p); c.do != nil && c.at.Before(next.at) {
			next = c
		}
	}
	if next.at.After(now) {
		return next.at.Sub(now)
	}
	next.do(next.peer)
	return 0
}

// chore is something to do with a peer, at some time.
type chore struct {
	peer *peer
	at   time.Time
	do   func(*peer) // it must end the reason for which it was due; nil: there is nothing to do
}

// chore is what is to be done with a peer next.
func (s *Speaker) chore(p *peer) (next chore) {
	at := func(t time.Time, do func(*peer)) {
		if next.do == nil || t.Before(next.at) {
			next = chore{p, t, do}
		}
	}
	closing := !p.closing.IsZero()
	if p.want.Up && !p.reopen.IsZero() && !closing {
		at(p.reopen, s.reopenPeer)
	}
	if !p.open {
		return next
	}
	if closing {
		at(p.closing, s.closed)
	}
	if !p.coming.at.IsZero() {
		at(p.coming.due, s.establish)
	}
	if !p.defaultsDue.IsZero() {
		at(p.defaultsDue, s.updateDefaults)
	}
	if !p.waiting.IsZero() {
		if silent := silence(p); p.failure != silent {
			at(p.waiting.Add(noOpenAfter), func(p *peer) { s.fail(p, silent) })
		}
		at(p.waiting.Add(noOpenLimit), s.reopenPeer)
	}
	if p.want.Passive && p.session.State < vip.OpenSent && p.failure.cause == vip.CauseNone {
		at(p.opened.Add(passiveQuiet), s.passiveSilence)
	}
	return next
}

// closed is the end of a polite close, whether the peer has confirmed it or not.
func (s *Speaker) closed(p *peer) {
	s.close(p)
	s.tell(p)
	if p.want.Up {
		s.openPeer(p)
	}
}

// passiveSilence is said of a passive peer that does not come.
func (s *Speaker) passiveSilence(p *peer) {
	s.fail(p, failure{vip.CauseSilent, fmt.Sprintf("the peer has not connected to our port %d: it is down, a filter is between, the passwords differ, or it waits for us too", s.shared.port)})
}

// reopenPeer closes a neighbour and opens it again; what is known of its
// failure stays.
func (s *Speaker) reopenPeer(p *peer) {
	s.close(p)
	s.openPeer(p)
}

func (s *Speaker) tell(p *peer) {
	s.notify(bgp.Event{Generation: s.generation, Session: p.session})
}

func (s *Speaker) byAddress(a netip.Addr) *peer {
	for _, p := range s.peers {
		if p.want.Address == a {
			return p
		}
	}
	return nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
