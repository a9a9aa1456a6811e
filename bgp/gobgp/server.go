package gobgp

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/server"

	"github.com/anyvip/anyvip/bgp"
	"github.com/anyvip/anyvip/pkg/vip"
)

// abortLimit bounds Abort.
const abortLimit = 500 * time.Millisecond

// shared is what all sessions have in common, and what a GoBGP server cannot
// change once it runs.
type shared struct {
	asn      uint32
	routerID netip.Addr
	port     uint16       // 0: does not listen
	listen   []string     // addresses, by the families of the passive peers
	keyed    []netip.Addr // addresses for which the listener may have an MD5 key
	open     []netip.Addr // addresses of peers without a password
}

// newShared listens only if a peer is passive, and only in its family: a host
// without IPv6 cannot listen on [::].
func newShared(want bgp.Sessions) shared {
	sh := shared{asn: want.ASN, routerID: want.RouterID}
	for _, p := range want.Peers {
		if !p.Address.IsValid() {
			continue
		}
		if p.Password != "" {
			sh.keyed = append(sh.keyed, p.Address)
		} else {
			sh.open = append(sh.open, p.Address)
		}
		address := "0.0.0.0"
		if p.Address.Is6() {
			address = "::"
		}
		if p.Passive && !slices.Contains(sh.listen, address) {
			sh.port = want.ListenPort
			sh.listen = append(sh.listen, address)
		}
	}
	slices.Sort(sh.listen)
	return sh
}

// serves says whether a server that was started with sh will do for want.
// GoBGP never takes a listener's MD5 key back, so a peer that lost its password
// needs a new listener; one that is gone does no harm.
func (sh shared) serves(want shared) bool {
	if sh.port != 0 && slices.ContainsFunc(want.open, func(a netip.Addr) bool { return slices.Contains(sh.keyed, a) }) {
		return false
	}
	return sh.asn == want.asn && sh.routerID == want.routerID && sh.port == want.port && slices.Equal(sh.listen, want.listen)
}

// start begins a generation. When listening is what fails, it goes on without:
// the other sessions matter more, and passive peers say why they are down.
func (s *Speaker) start(ctx context.Context, sh shared) error {
	s.generation++
	s.listenErr = nil
	srv, err := s.startServer(ctx, sh, sh.port)
	if err != nil && sh.port != 0 {
		s.listenErr = err
		s.log.Error("cannot listen for passive peers", "port", sh.port, "error", err)
		srv, err = s.startServer(ctx, sh, 0)
	}
	if err != nil {
		return fmt.Errorf("start bgp speaker (AS %d, router id %s): %w", sh.asn, sh.routerID, err)
	}
	s.server, s.shared, s.policy = srv, sh, policy{}
	s.current.Store(srv)
	if err := s.watch(srv); err != nil {
		s.stop()
		return fmt.Errorf("hear of the sessions' states: %w", err)
	}
	return nil
}

func (s *Speaker) startServer(ctx context.Context, sh shared, port uint16) (*server.BgpServer, error) {
	srv := server.NewBgpServer(server.LoggerOption(newLogger(s.log.Handler(), s.signals, &s.up, s.generation), nil))
	go srv.Serve() // ends in Stop
	listenPort := int32(port)
	if port == 0 {
		listenPort = -1 // 0 is GoBGP's default, 179
	}
	err := srv.StartBgp(ctx, &api.StartBgpRequest{Global: &api.Global{
		Asn: sh.asn, RouterId: sh.routerID.String(), ListenPort: listenPort, ListenAddresses: sh.listen,
	}})
	if err != nil {
		srv.Stop()
		return nil, err
	}
	return srv, nil
}

// watch turns GoBGP's session events into signals.
func (s *Speaker) watch(srv *server.BgpServer) error {
	ctx, cancel := context.WithCancel(context.Background()) // ends in stop, which must come before the server's
	s.unwatch = cancel
	generation := s.generation
	return srv.WatchEvent(ctx, server.WatchEventMessageCallbacks{
		OnPeerUpdate: func(ev *apiutil.WatchEventMessage_PeerEvent, at time.Time) {
			if ev.Type != apiutil.PEER_EVENT_STATE {
				return
			}
			st := ev.Peer.State
			s.signals.put(signal{kind: stateChanged, generation: generation, at: at, peer: st.NeighborAddress,
				state: vip.SessionState(st.SessionState), reason: st.DisconnectReason, caps: st.RemoteCap})
		},
	}, server.WatchPeer())
}

// stop ends the server; sessions that are still up hear Cease. A stopped server
// is dead: the next start makes a new one.
func (s *Speaker) stop() {
	if s.server == nil {
		return
	}
	s.unwatch()
	s.current.Store(nil)
	s.server.Stop()
	s.server = nil
	s.up.Store(0)
	for _, p := range s.peers {
		if p.asking != nil {
			p.asking()
		}
	}
	s.peers = map[string]*peer{}
	s.announced = map[netip.Prefix]vip.Announcement{}
}

// Abort closes every Established session with Cease and text (RFC 9003), for a
// deadman whose process is about to end. It waits for no lock and no goroutine
// of ours, and returns after 500 ms at most. Sessions may come back afterwards
// unless the process ends.
func (s *Speaker) Abort(text string) {
	srv := s.current.Load()
	if srv == nil {
		return
	}
	limit := time.NewTimer(abortLimit)
	defer limit.Stop()
	asked := make(chan struct{})
	go func() { // not waited for beyond the limit: the process ends
		defer close(asked)
		// One by one: asked for all at once, GoBGP v4.8.0 lets the peers' goroutines
		// share one message, which each of them changes as it sends it.
		var addresses []string
		_ = srv.ListPeer(context.Background(), &api.ListPeerRequest{}, func(p *api.Peer) {
			if p.GetState().GetSessionState() == api.PeerState_SESSION_STATE_ESTABLISHED {
				addresses = append(addresses, p.GetState().GetNeighborAddress())
			}
		})
		for _, address := range addresses {
			_ = srv.ShutdownPeer(context.Background(), &api.ShutdownPeerRequest{Address: address, Communication: text})
		}
	}()
	select {
	case <-asked:
	case <-limit.C:
		return
	}
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	for s.up.Load() > 0 {
		select {
		case <-poll.C:
		case <-limit.C:
			return
		}
	}
}
