package gobgp

import (
	"context"
	"log/slog"
	"net/netip"
	"testing"

	"github.com/anyvip/anyvip/bgp"
)

// A configuration may have no BGP, and a reload may take it away.
func TestWithoutAnASNThereIsNoSpeaker(t *testing.T) {
	s := New(slog.New(slog.DiscardHandler))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, func(bgp.Event) {}) }()
	runs := func(want bool) {
		t.Helper()
		if got := s.current.Load() != nil; got != want {
			t.Errorf("it runs: %v", got)
		}
	}
	some := bgp.Sessions{ASN: 65101, RouterID: netip.MustParseAddr("10.0.1.2"), AllowedPrefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}
	last := uint64(0)
	for i, want := range []bgp.Sessions{{}, some, {}, {}, some} {
		generation, err := s.Sessions(ctx, want)
		if err != nil || generation < last {
			t.Errorf("step %d: generation %d, %v", i, generation, err)
		}
		last = generation
		runs(want.ASN != 0)
	}
	if last != 2 {
		t.Errorf("the second speaker is of generation %d", last)
	}
	stop()
	<-ended
}
