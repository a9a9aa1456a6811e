package gobgp

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/anyvip/anyvip/bgp"
	"github.com/anyvip/anyvip/pkg/vip"
)

func TestRunLeavesNoGoroutine(t *testing.T) {
	before := goleak.IgnoreCurrent()
	ctx, cancel := context.WithCancel(t.Context())
	s := New(slog.New(slog.DiscardHandler))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, func(bgp.Event) {}) }()
	want := bgp.Sessions{ASN: 65101, RouterID: netip.MustParseAddr("10.7.0.2"), AllowedPrefixes: desired().AllowedPrefixes,
		Peers: []bgp.Peer{
			{Name: "tor", Address: netip.MustParseAddr("127.0.0.9"), ASN: 65000, Port: 1, HoldTime: 9 * time.Second, Up: true},
			{Name: "external", Address: netip.MustParseAddr("127.0.0.8"), Port: 1, HoldTime: 9 * time.Second, Up: true},
			{Name: "link", Address: netip.MustParseAddr("fe80::1%gone"), ASN: 65000, Port: 1, HoldTime: 9 * time.Second, Up: true},
		}}
	for generation := range uint64(3) { // each router id is a new server
		got, err := s.Sessions(ctx, want)
		if err != nil || got != generation+1 {
			t.Fatalf("generation %d, %v", got, err)
		}
		if err := s.Set(ctx, []vip.Announcement{host("192.0.2.1")}, nil); err != nil {
			t.Fatal(err)
		}
		want.RouterID = want.RouterID.Next()
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := s.Sessions(t.Context(), want); !errors.Is(err, errEnded) {
		t.Errorf("a call after the end: %v", err)
	}
	goleak.VerifyNone(t, before)
}
