package gobgp

import (
	"context"
	"log/slog"
	"net/netip"
	"sync/atomic"
)

// GoBGP tells its log what it tells nobody else: why dialling failed, which
// NOTIFICATION went or came; and what is in an UPDATE at no price for those that
// do not matter to us. These are its messages (v4.8.0, pkg/server/fsm.go and
// peer.go); the integration tests fail if another version words them differently.
const (
	msgDialFailed  = "failed to connect"
	msgTCPUp       = "outgoing connection established"
	msgTCPLost     = "outgoing connection IO error"
	msgSent        = "sent notification"
	msgReceived    = "received notification"
	msgUpdate      = "received update"
	msgSessionUp   = "Peer Up"
	msgSessionDown = "Peer Down"
)

// handler passes GoBGP's records on at Debug, and turns some into signals. It
// is called under GoBGP's locks: it must not block.
type handler struct {
	next       slog.Handler
	signals    *mailbox
	up         *atomic.Int64
	generation uint64
	peer       netip.Addr // from the attribute Key
}

func newLogger(next slog.Handler, signals *mailbox, up *atomic.Int64, generation uint64) *slog.Logger {
	return slog.New(handler{next: next, signals: signals, up: up, generation: generation})
}

// Enabled is always true: what we look for is at Debug.
func (h handler) Enabled(context.Context, slog.Level) bool { return true }

// WithAttrs implements slog.Handler, and notes which peer it is about.
func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	for _, a := range attrs {
		if a.Key == "Key" {
			h.peer, _ = netip.ParseAddr(a.Value.String())
		}
	}
	h.next = h.next.WithAttrs(attrs)
	return h
}

// WithGroup implements slog.Handler.
func (h handler) WithGroup(name string) slog.Handler {
	h.next = h.next.WithGroup(name)
	return h
}

// Handle implements slog.Handler: it looks at the record, and passes it on at
// Debug.
func (h handler) Handle(ctx context.Context, r slog.Record) error {
	if h.peer.IsValid() {
		h.look(r)
	}
	r.Level = slog.LevelDebug
	if !h.next.Enabled(ctx, r.Level) {
		return nil
	}
	return h.next.Handle(ctx, r)
}

func (h handler) look(r slog.Record) {
	sig := signal{generation: h.generation, at: r.Time, peer: h.peer}
	switch r.Message {
	case msgSessionUp:
		h.up.Add(1)
		return
	case msgSessionDown:
		h.up.Add(-1)
		return
	case msgDialFailed:
		sig.kind = dialFailed
	case msgTCPUp:
		sig.kind = tcpUp
	case msgTCPLost:
		sig.kind = tcpLost
	case msgSent:
		sig.kind = notificationSent
	case msgReceived:
		sig.kind = notificationReceived
	case msgUpdate:
		if !saysDefault(r) {
			return
		}
		sig.kind = defaultSaid
	default:
		return
	}
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "Error", "Communicated-Reason":
			sig.text = a.Value.String()
		case "Code":
			sig.code = uint8(a.Value.Int64())
		case "Subcode":
			sig.subcode = uint8(a.Value.Int64())
		}
		return true
	})
	h.signals.put(sig)
}
