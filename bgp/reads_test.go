package bgp

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
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

// manyAnnouncements are n of them, from the same addresses each time.
func manyAnnouncements(n int) []vip.Announcement {
	out := make([]vip.Announcement, n)
	for i := range out {
		out[i].Prefix = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)}), 32)
	}
	return out
}

func TestALargeChangeGoesOutInBatchesAndIsReadBackOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.Engine.speaker = slowSetter{b.speaker, time.Millisecond}
		b.Apply(want())
		b.speaker.tell("tor", vip.Established)
		time.Sleep(10 * time.Second)
		b.speaker.take()
		before := b.speaker.countReads()
		b.Apply(want(manyAnnouncements(2*maxBatch + 1)...))
		time.Sleep(time.Second)
		expectCalls(t, b, "set +1000 -0", "set +1000 -0", "set +1 -0")
		if reads := b.speaker.countReads() - before; reads != 1 || len(b.last().Sent["tor"]) != 2*maxBatch+1 {
			t.Errorf("%d reads, %d sent", reads, len(b.last().Sent["tor"]))
		}
		b.Apply(want(manyAnnouncements(maxBatch / 2)...))
		time.Sleep(time.Second)
		expectCalls(t, b, "set +0 -1000", "set +0 -501")
	})
}

// slowSetter takes its time for each batch, as GoBGP does with many routes.
type slowSetter struct {
	*fakeSpeaker
	took time.Duration
}

func (s slowSetter) Set(ctx context.Context, add []vip.Announcement, remove []netip.Prefix) error {
	time.Sleep(s.took)
	return s.fakeSpeaker.Set(ctx, add, remove)
}

func TestANewerChangeInterruptsALargeOneAndThePulseGoesOn(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		const took = 400 * time.Millisecond
		b.Engine.speaker = slowSetter{b.speaker, took}
		b.Apply(want())
		b.speaker.tell("tor", vip.Established)
		time.Sleep(10 * time.Second)
		b.speaker.take()
		all := manyAnnouncements(10 * maxBatch)
		b.Apply(want(all...))
		for range 5 {
			time.Sleep(took)
			synctest.Wait() // the batch ends at this very moment
			if age := time.Since(b.LastPass()); age > took {
				t.Errorf("LastPass is %s old", age)
			}
		}
		sent := len(b.speaker.take()) * maxBatch
		b.Apply(want(all[:sent+maxBatch]...)) // what is out, and what is under way
		time.Sleep(2 * took)
		expectCalls(t, b, "set +1000 -0")
		time.Sleep(10 * took)
		if n := len(b.last().Sent["tor"]); n != sent+maxBatch {
			t.Errorf("%d sent, want %d", n, sent+maxBatch)
		}
	})
}
