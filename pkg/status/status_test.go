package status

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

func TestNextWaitsForANewerSnapshotAndSkipsWhatIsOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPublisher()
		if s := p.Load(); s == nil || s.Serial != 0 {
			t.Fatalf("first snapshot %v", s)
		}
		got := make(chan *Snapshot, 1)
		go func() {
			s, err := p.Next(t.Context(), 0)
			if err != nil {
				t.Error(err)
			}
			got <- s
		}()
		synctest.Wait()
		if len(got) != 0 {
			t.Fatal("there was nothing new")
		}
		p.Publish(&Snapshot{Serial: 1})
		if s := <-got; s.Serial != 1 {
			t.Errorf("serial %d", s.Serial)
		}
		p.Publish(&Snapshot{Serial: 2})
		p.Publish(&Snapshot{Serial: 3})
		if s, err := p.Next(t.Context(), 1); err != nil || s.Serial != 3 {
			t.Errorf("a slow reader got %v, %v; want the latest", s, err)
		}
	})
}

func TestNextEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := NewPublisher().Next(ctx, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
