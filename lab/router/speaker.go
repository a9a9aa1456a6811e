package router

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
	"github.com/osrg/gobgp/v4/pkg/server"
)

// change is what the speaker reports: paths of one UPDATE, or a session that went up or down.
type change struct {
	at      time.Time
	paths   []*apiutil.Path
	session *session
}

type session struct {
	peer        netip.Addr
	asn         uint32
	established bool
	why         string // of its end, as GoBGP puts it
}

// speaker is GoBGP, listening only.
type speaker struct {
	bgp    *server.BgpServer
	served chan struct{}
}

// startSpeaker opens the listening sockets and sends every change, in order, to the channel until ctx ends.
func startSpeaker(ctx context.Context, c Config, log *slog.Logger, changes chan<- change) (*speaker, error) {
	s := &speaker{
		bgp:    server.NewBgpServer(server.LoggerOption(slog.New(warnings{log.Handler()}), nil)),
		served: make(chan struct{}),
	}
	go func() {
		defer close(s.served)
		s.bgp.Serve()
	}()
	if err := s.configure(ctx, c, changes); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

func (s *speaker) configure(ctx context.Context, c Config, changes chan<- change) error {
	global := &api.Global{Asn: c.ASN, RouterId: c.RouterID.String(), ListenPort: int32(c.Listen.Port)}
	for _, a := range c.Listen.Addresses {
		global.ListenAddresses = append(global.ListenAddresses, a.String())
	}
	if err := s.bgp.StartBgp(ctx, &api.StartBgpRequest{Global: global}); err != nil {
		return fmt.Errorf("listen for BGP on port %d of %v: %w", c.Listen.Port, c.Listen.Addresses, err)
	}
	if !c.Readvertise {
		err := s.bgp.SetPolicyAssignment(ctx, &api.SetPolicyAssignmentRequest{Assignment: &api.PolicyAssignment{
			Name: "global", Direction: api.PolicyDirection_POLICY_DIRECTION_EXPORT, DefaultAction: api.RouteAction_ROUTE_ACTION_REJECT,
		}})
		if err != nil {
			return fmt.Errorf("keep routes from the peers: %w", err)
		}
	}
	// Before the peers, so that nothing they say is missed.
	if err := s.watch(ctx, changes); err != nil {
		return fmt.Errorf("watch updates: %w", err)
	}
	for _, r := range c.ranges() {
		if err := s.accept(ctx, r, c.HoldTime); err != nil {
			return fmt.Errorf("%s: accept %s: %w", r.from, r.Prefix, err)
		}
	}
	return nil
}

// accept makes a group of passive neighbors. Single peers come this way too: GoBGP forgets such a neighbor with its
// session and takes its next connection at once, where a configured one would be refused for some seconds.
func (s *speaker) accept(ctx context.Context, r neighbors, hold time.Duration) error {
	password, err := r.password()
	if err != nil {
		return err
	}
	group := &api.PeerGroup{
		Conf:   &api.PeerGroupConf{PeerGroupName: r.from, PeerAsn: r.ASN, AuthPassword: password},
		Timers: &api.Timers{Config: &api.TimersConfig{HoldTime: uint64(hold.Seconds()), KeepaliveInterval: uint64(hold.Seconds()) / 3}},
		AfiSafis: []*api.AfiSafi{
			{Config: &api.AfiSafiConfig{Family: apiutil.ToApiFamily(bgp.AFI_IP, bgp.SAFI_UNICAST), Enabled: true}},
			{Config: &api.AfiSafiConfig{Family: apiutil.ToApiFamily(bgp.AFI_IP6, bgp.SAFI_UNICAST), Enabled: true}},
		},
	}
	if r.TTLSecurity {
		group.TtlSecurity = &api.TtlSecurity{Enabled: true, TtlMin: 255}
	}
	if err := s.bgp.AddPeerGroup(ctx, &api.AddPeerGroupRequest{PeerGroup: group}); err != nil {
		return err
	}
	return s.bgp.AddDynamicNeighbor(ctx, &api.AddDynamicNeighborRequest{
		DynamicNeighbor: &api.DynamicNeighbor{Prefix: r.Prefix.String(), PeerGroup: r.from},
	})
}

func (s *speaker) watch(ctx context.Context, changes chan<- change) error {
	send := func(c change) {
		select {
		case changes <- c:
		case <-ctx.Done():
		}
	}
	callbacks := server.WatchEventMessageCallbacks{
		// GoBGP's own time of a path has whole seconds.
		OnPathUpdate: func(paths []*apiutil.Path, _ time.Time) { send(change{at: time.Now(), paths: paths}) },
		OnPeerUpdate: func(e *apiutil.WatchEventMessage_PeerEvent, _ time.Time) {
			if e.Type != apiutil.PEER_EVENT_STATE {
				return
			}
			state := e.Peer.State
			send(change{at: time.Now(), session: &session{
				peer:        state.NeighborAddress,
				asn:         state.PeerASN,
				established: state.SessionState == bgp.BGP_FSM_ESTABLISHED,
				why:         state.DisconnectMessage,
			}})
		},
	}
	return s.bgp.WatchEvent(ctx, callbacks, server.WatchPostUpdate(false, "", ""), server.WatchPeer())
}

// stop ends every session with a Cease and waits for GoBGP's goroutines.
func (s *speaker) stop() {
	s.bgp.Stop()
	<-s.served
}

// warnings passes on what a reader of the router's log wants to know of GoBGP.
type warnings struct{ slog.Handler }

// Enabled is a method of slog.Handler.
func (w warnings) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && w.Handler.Enabled(ctx, level)
}

// WithAttrs is a method of slog.Handler.
func (w warnings) WithAttrs(attrs []slog.Attr) slog.Handler {
	return warnings{w.Handler.WithAttrs(attrs)}
}

// WithGroup is a method of slog.Handler.
func (w warnings) WithGroup(name string) slog.Handler { return warnings{w.Handler.WithGroup(name)} }
