package bgp

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

// slowReader takes its time for each read, as GoBGP does with many routes.
type slowReader struct {
	*fakeSpeaker
	took time.Duration
}

func (s slowReader) Sent(ctx context.Context, peer string) (map[netip.Prefix]vip.Announcement, error) {
	time.Sleep(s.took)
	return s.fakeSpeaker.Sent(ctx, peer)
}

func TestManySlowReadsKeepNeitherThePulseNorAChangeWaiting(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		const took = 150 * time.Millisecond
		b.Engine.speaker = slowReader{b.speaker, took}
		d := want(announce("192.0.2.1")...)
		d.Peers = nil
		for i := range 20 {
			d.Peers = append(d.Peers, Peer{Name: fmt.Sprint("tor", i), Address: netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), Up: true})
		}
		b.Apply(d)
		expectCalls(t, b, "sessions 20", "set +1 -0")
		for _, p := range d.Peers {
			b.speaker.tell(p.Name, vip.Established)
		}
		time.Sleep(2 * took)
		d.Announcements = nil
		b.Apply(d) // a withdraw
		time.Sleep(took)
		expectCalls(t, b, "set +0 -1")
		var oldest time.Duration
		for range 100 {
			time.Sleep(100 * time.Millisecond)
			oldest = max(oldest, time.Since(b.LastPass()))
		}
		if oldest > time.Second {
			t.Errorf("LastPass was %s old", oldest)
		}
	})
}
