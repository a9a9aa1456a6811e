package gobgp

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/osrg/gobgp/v4/api"
	packet "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/anyvip/anyvip/bgp"
	"github.com/anyvip/anyvip/pkg/vip"
)

// peer is one session and what is under way with it. A GoBGP neighbour exists
// (open) while the session is wanted up, or is closing.
type peer struct {
	want     bgp.Peer
	session  vip.Session // as last told
	extended bool        // the peer takes IPv4 with an IPv6 next hop (RFC 8950)
	heard    heardAS     // of an external peer
	only6    bool        // IPv4 is not offered to it, see hasTwin
	trouble  string      // with its default routes

	open    bool
	opened  time.Time        // when it was opened last
	reopen  time.Time        // when to close and open it again; zero: not
	closing time.Time        // a polite close was asked for; it ends with Idle, or then
	said    vip.SessionState // GoBGP's latest word
	waiting time.Time        // since when TCP is up and the peer's OPEN is missing; zero: it is not
	coming  coming
	haste   haste

	defaultsDue  time.Time // when its default routes are to be read; zero: not
	defaultsRead time.Time // when they were read last

	failure     failure            // of the latest attempt, or what ended the session
	failed      time.Time          // when it was seen last
	verdict     failure            // what the peer said when it was asked, while it refuses our OPEN
	asking      context.CancelFunc // being asked, in GoBGP's place, and the neighbour is closed; nil: not
	diagnosable time.Time          // not before
}

// failure says why a session is not up.
type failure struct {
	cause  vip.SessionCause
	detail string
}

func newPeer(w bgp.Peer, heard heardAS) *peer {
	p := &peer{want: w, heard: heard}
	p.session = p.sessionIn(vip.Idle, time.Now())
	return p
}

// sessionIn is the session in a state that has just begun.
func (p *peer) sessionIn(state vip.SessionState, at time.Time) vip.Session {
	return vip.Session{Peer: p.want.Name, State: state, Since: at, Remote: p.want.Address, RemoteAS: p.as()}
}

// sameSession says whether w can be had without a new session.
func (p *peer) sameSession(w bgp.Peer) bool {
	was := p.want
	was.Up, was.Text, was.Cause, was.NextHop6 = w.Up, w.Text, w.Cause, w.NextHop6
	return was == w
}

// bring opens a peer that is wanted up, and closes one that is not: politely if
// it is Established, as GoBGP would keep a Cease for the next session otherwise,
// and if there is a link to say it on.
func (s *Speaker) bring(p *peer) {
	switch {
	case p.want.Up && !p.open && p.asking != nil: // it opens with the answer
	case p.want.Up && !p.open:
		p.failure = failure{}
		s.setState(p, vip.Idle, time.Now()) // what was in the way is not any more
		s.openPeer(p)
	case p.want.Up && !p.closing.IsZero():
		p.reopen = time.Now() // wanted again while it closes
	case !p.want.Up && p.asking != nil, !p.want.Up && p.open && (p.session.State != vip.Established || p.want.Cause == vip.CauseLinkDown):
		s.close(p)
		s.tell(p)
	case !p.want.Up && p.open && p.closing.IsZero():
		p.closing = time.Now().Add(closeLimit)
		err := s.server.DisablePeer(context.Background(), &api.DisablePeerRequest{Address: p.want.Address.String(), Communication: p.want.Text})
		if err != nil {
			s.log.Warn("cannot close a session politely", "peer", p.want.Name, "error", err)
			s.closed(p)
		}
	}
}

// openPeer makes the neighbour, once its AS number is known. What stands in the
// way may be the state of a link, which is no reason to keep the other peers'
// routes waiting: it is told like any other failure, and tried again.
func (s *Speaker) openPeer(p *peer) {
	p.reopen = time.Time{}
	if p.as() == 0 {
		s.findAS(p)
		return
	}
	if err := s.addNeighbor(p); err != nil {
		s.fail(p, failure{vip.CauseLocal, fmt.Sprintf("cannot open the session: %v", err)})
		p.reopen = time.Now().Add(reopenGap)
		return
	}
	p.open = true
	if p.want.Passive && s.listenErr != nil {
		s.fail(p, failure{vip.CauseLocal, fmt.Sprintf("cannot listen for the peer: %v; free the port (below 1024 it needs CAP_NET_BIND_SERVICE), then restart the agent", s.listenErr)})
	}
}

// addNeighbor hands the peer to GoBGP, after the policy knows that nothing is
// negotiated yet.
func (s *Speaker) addNeighbor(p *peer) error {
	if err := s.setPolicy(s.policyFor(s.policy.allowed)); err != nil {
		return err
	}
	if p.want.Address.Zone() != "" {
		lookAtLinks()
	}
	p.opened = time.Now() // signals from here on are its own
	return s.server.AddPeer(context.Background(), &api.AddPeerRequest{Peer: neighbor(p)})
}

// close takes the neighbour away. An Established peer hears Cease, peer
// de-configured.
func (s *Speaker) close(p *peer) {
	if p.asking != nil {
		p.asking()
	}
	if p.open {
		if err := s.server.DeletePeer(context.Background(), &api.DeletePeerRequest{Address: p.want.Address.String()}); err != nil {
			s.log.Warn("cannot close bgp session", "peer", p.want.Name, "error", err)
		}
	}
	*p = peer{want: p.want, session: p.session, heard: p.heard, only6: p.only6, opened: p.opened, haste: p.haste, failure: p.failure, failed: p.failed,
		verdict: p.verdict, diagnosable: p.diagnosable}
	if was := p.session; was.State != vip.Idle {
		p.session = p.sessionIn(vip.Idle, time.Now())
		p.session.Cause, p.session.Detail = was.Cause, was.Detail
	}
}

// neighbor is the peer in GoBGP's words. Its timers are whole seconds, and it
// waits at least 1.5 s between two attempts whatever it is told.
func neighbor(pr *peer) *api.Peer {
	p := pr.want
	hold := uint64(p.HoldTime / time.Second)
	n := &api.Peer{
		Conf: &api.PeerConf{NeighborAddress: p.Address.String(), PeerAsn: pr.as(), AuthPassword: p.Password},
		Timers: &api.Timers{Config: &api.TimersConfig{
			ConnectRetry: 1, HoldTime: hold, KeepaliveInterval: max(hold/3, 1), IdleHoldTimeAfterReset: 1,
		}},
		Transport: &api.Transport{PassiveMode: p.Passive, RemotePort: uint32(p.Port)},
	}
	if p.LocalAddress.IsValid() {
		n.Transport.LocalAddress = p.LocalAddress.String()
	}
	if p.TTLSecurity {
		n.TtlSecurity = &api.TtlSecurity{Enabled: true, TtlMin: 255}
	}
	if p.Multihop > 0 {
		n.EbgpMultihop = &api.EbgpMultihop{Enabled: true, MultihopTtl: uint32(p.Multihop)}
	}
	for _, afi := range []api.Family_Afi{api.Family_AFI_IP, api.Family_AFI_IP6} {
		if afi == api.Family_AFI_IP && pr.only6 {
			continue
		}
		n.AfiSafis = append(n.AfiSafis, &api.AfiSafi{Config: &api.AfiSafiConfig{
			Enabled: true, Family: &api.Family{Afi: afi, Safi: api.Family_SAFI_UNICAST}}})
	}
	return n
}

// known is what GoBGP knows of a neighbour.
type known struct {
	state    api.PeerState_SessionState
	holdTime time.Duration
	local    netip.Addr
	remoteID netip.Addr
}

// learn asks GoBGP about a neighbour. It is for sessions that have just come up
// alone: GoBGP counts the whole Adj-RIB-In for each reading.
func (s *Speaker) learn(p *peer) (k known, err error) {
	err = s.server.ListPeer(context.Background(), &api.ListPeerRequest{Address: p.want.Address.String()}, func(n *api.Peer) {
		k = known{
			state:    n.GetState().GetSessionState(),
			holdTime: time.Duration(n.GetTimers().GetState().GetNegotiatedHoldTime()) * time.Second,
			local:    parseAddr(n.GetTransport().GetLocalAddress()),
			remoteID: parseAddr(n.GetState().GetRouterId()),
		}
	})
	return k, err
}

// warning is what is odd about a session that is up.
func (p *peer) warning() string {
	var odd []string
	if p.session.HoldTime == 0 {
		odd = append(odd, "the peer asks for hold time 0, so that nobody notices when it dies: set one there, 3 s at least")
	}
	if p.trouble != "" {
		odd = append(odd, "its default route cannot be used: "+p.trouble)
	}
	return strings.Join(odd, "; ")
}

// haste is how often a peer's session was opened again at once after it had been
// Established.
type haste struct {
	since time.Time
	times int
}

const (
	hasteTimes  = 3
	hasteWindow = 10 * time.Minute
)

// mayHurry says whether a peer whose session has ended is opened again soon. One
// whose sessions end again and again is left to GoBGP's pace: what it does shall
// not move traffic all the time, and a neighbour that GoBGP v4.8.0 gives up just
// after its session's end mostly leaves a goroutine behind (cleanInfiniteChannel
// does not wait for what is in the queue).
func (p *peer) mayHurry() bool {
	now := time.Now()
	if now.Sub(p.haste.since) > hasteWindow {
		p.haste = haste{since: now}
	}
	p.haste.times++
	return p.haste.times <= hasteTimes
}

// openSoon is for a peer that fell back to Idle: GoBGP would rest for 5 s, a new
// neighbour dials after 1.5 to 2 s.
func (p *peer) openSoon() { p.reopen = later(time.Now(), p.opened.Add(reopenGap)) }

// hasTwin says whether another peer has the same link-local address on another
// link. The policy cannot tell the two apart, so that what it lets out to one
// goes to both: one that cannot take IPv4 with an IPv6 next hop must not have
// negotiated IPv4 at all. What its OPEN says is known only once it is
// Established, so such a session starts twice.
func (s *Speaker) hasTwin(p *peer) bool {
	for _, q := range s.peers {
		if q != p && p.want.Address.Zone() != "" && q.want.Address.WithZone("") == p.want.Address.WithZone("") {
			return true
		}
	}
	return false
}

func parseAddr(s string) netip.Addr {
	a, _ := netip.ParseAddr(s)
	return a.Unmap()
}

// negotiated are the families that both sides have, and whether the peer takes
// IPv4 with an IPv6 next hop. On an IPv6 session IPv4 is of no use without it.
func negotiated(p bgp.Peer, caps []packet.ParameterCapabilityInterface) (families []vip.Family, extended bool) {
	has := map[packet.Family]bool{}
	multiprotocol := false
	for _, c := range caps {
		switch c := c.(type) {
		case *packet.CapMultiProtocol:
			multiprotocol = true
			has[c.CapValue] = true
		case *packet.CapExtendedNexthop:
			for _, t := range c.Tuples {
				extended = extended || t.NLRIAFI == packet.AFI_IP && t.NLRISAFI == packet.SAFI_UNICAST && t.NexthopAFI == packet.AFI_IP6
			}
		}
	}
	if has[packet.RF_IPv4_UC] || !multiprotocol { // RFC 4760, section 8: no capability means IPv4
		if p.Address.Is4() || extended {
			families = append(families, vip.IPv4)
		}
	}
	if has[packet.RF_IPv6_UC] {
		families = append(families, vip.IPv6)
	}
	return families, extended
}
