package api

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"

	anyvipv1 "github.com/anyvip/anyvip/pkg/api/anyvip/v1"
	"github.com/anyvip/anyvip/pkg/status"
)

// seen is one Status that a watch sent.
type seen struct {
	serial uint64
	at     time.Duration // since the watch began
}

// bubbleWatch watches inside a bubble; each send takes as long as slow says.
func bubbleWatch(t *testing.T, slow time.Duration, publish func(p *status.Publisher, stop func())) (got []seen, err error) {
	synctest.Test(t, func(t *testing.T) {
		serving, stop := context.WithCancel(t.Context())
		defer stop()
		p := status.NewPublisher()
		c := &control{snapshots: p, serving: serving}
		begin := time.Now()
		ended := make(chan error, 1)
		go func() {
			ended <- c.watch(t.Context(), func(s *anyvipv1.Status) error {
				got = append(got, seen{s.GetSerial(), time.Since(begin)})
				time.Sleep(slow)
				return nil
			})
		}()
		publish(p, stop)
		stop()
		err = <-ended
	})
	return got, err
}

func publishEach(p *status.Publisher, n int, gap time.Duration) {
	for i := range n {
		p.Publish(&status.Snapshot{Serial: uint64(i + 1)})
		time.Sleep(gap)
	}
}

func TestAWatchSendsAtMostTenPerSecondAndTheLatest(t *testing.T) {
	got, err := bubbleWatch(t, 0, func(p *status.Publisher, _ func()) { publishEach(p, 100, 10*time.Millisecond) })
	if grpcstatus.Code(err) != codes.Unavailable {
		t.Errorf("ended with %v", err)
	}
	var want []seen
	for i := range 10 {
		// At a time that is a publication's own, either order is right.
		want = append(want, seen{uint64(10*i + 1), time.Duration(i) * 100 * time.Millisecond})
	}
	if len(got) != 11 || got[10].serial != 100 {
		t.Fatalf("sent %d, last %v", len(got), got[len(got)-1])
	}
	for i, g := range got[:10] {
		if g.at != want[i].at || g.serial < want[i].serial-1 || g.serial > want[i].serial {
			t.Errorf("sent %v, want about %v", g, want[i])
		}
	}
}

func TestAQuietAgentIsSentOnceAndAtOnce(t *testing.T) {
	got, _ := bubbleWatch(t, 0, func(p *status.Publisher, _ func()) {
		p.Publish(&status.Snapshot{Serial: 5})
		time.Sleep(time.Hour)
		p.Publish(&status.Snapshot{Serial: 6})
		time.Sleep(time.Hour)
	})
	if want := []seen{{5, 0}, {6, time.Hour}}; !slices.Equal(got, want) {
		t.Errorf("sent %v, want %v", got, want)
	}
}

func TestASlowReaderMissesWhatIsInBetween(t *testing.T) {
	got, _ := bubbleWatch(t, 995*time.Millisecond, func(p *status.Publisher, _ func()) { publishEach(p, 40, 100*time.Millisecond) })
	for i, g := range got[:len(got)-1] {
		if newest := uint64(g.at/(100*time.Millisecond)) + 1; g.serial != newest {
			t.Errorf("send %d: serial %d at %s, the latest was %d", i, g.serial, g.at, newest)
		}
	}
	if last := got[len(got)-1]; last.serial != 40 || len(got) > 6 {
		t.Errorf("sent %v", got)
	}
}

func TestTheLastStatusIsSentWhenTheServerEnds(t *testing.T) {
	got, err := bubbleWatch(t, 0, func(p *status.Publisher, stop func()) {
		p.Publish(&status.Snapshot{Serial: 1})
		synctest.Wait()
		p.Publish(&status.Snapshot{Serial: 2}) // in the gap
		stop()
	})
	if want := []seen{{1, 0}, {2, 0}}; !slices.Equal(got, want) || grpcstatus.Code(err) != codes.Unavailable {
		t.Errorf("sent %v and ended with %v, want %v", got, err, want)
	}
}

func TestACallEndsWithItsClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &control{snapshots: status.NewPublisher(), serving: t.Context()}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.watch(ctx, nil); grpcstatus.Code(err) != codes.DeadlineExceeded && grpcstatus.Code(err) != codes.Canceled {
			t.Errorf("watch: %v", err)
		}
		if _, err := c.GetStatus(ctx, nil); err == nil {
			t.Error("status without a snapshot")
		}
	})
}

func TestStatusWaitsForTheFirstDecision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := status.NewPublisher()
		c := &control{snapshots: p, serving: t.Context()}
		time.AfterFunc(time.Minute, func() { p.Publish(&status.Snapshot{Serial: 1}) })
		begin := time.Now()
		s, err := c.GetStatus(t.Context(), nil)
		if err != nil || s.GetSerial() != 1 || time.Since(begin) != time.Minute {
			t.Errorf("serial %d after %s, %v", s.GetSerial(), time.Since(begin), err)
		}
	})
}
