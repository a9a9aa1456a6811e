package wire

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anyvip/anyvip/vrrp"
)

// said is one frame of an Announcer in a bubble.
type said struct {
	at   time.Duration
	addr netip.Addr
	what message
}

// speaker is an Announcer whose frames are written down.
type speaker struct {
	*Announcer
	mu     sync.Mutex
	said   []said
	refuse error
	log    bytes.Buffer
}

func inBubble(t *testing.T, play func(s *speaker)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &speaker{}
		began := time.Now()
		s.Announcer = NewAnnouncer(vrrp.Link{Name: "eth1"}, func() bool { return true }, slog.New(slog.NewTextHandler(&s.log, nil)))
		s.say = func(a Announcement, what message) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.refuse == nil {
				s.said = append(s.said, said{time.Since(began), a.Addr, what})
			}
			return s.refuse
		}
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan error)
		go func() { ended <- s.Run(ctx) }()
		play(s)
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// took returns what was said since the last call.
func (s *speaker) took() []said {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.said
	s.said = nil
	return list
}

func (s *speaker) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = err
}

func times(list []said) (at []time.Duration) {
	for _, s := range list {
		at = append(at, s.at)
	}
	return at
}

var one = netip.MustParseAddr("10.0.0.1")

func many(n int) (list []Announcement) {
	for i := range n {
		list = append(list, Announcement{Addr: netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), Count: 1})
	}
	return list
}

func TestAnAddressIsAnnouncedInRounds(t *testing.T) {
	inBubble(t, func(s *speaker) {
		s.Set([]Announcement{{Addr: one, Count: 1}})
		time.Sleep(time.Hour)
		if got := times(s.took()); !slices.Equal(got, rounds[:]) {
			t.Errorf("%v", got)
		}
	})
}

func TestTheSameAgainChangesNothingAndAHigherCountBeginsAnew(t *testing.T) {
	inBubble(t, func(s *speaker) {
		s.Set([]Announcement{{Addr: one, Count: 1}})
		time.Sleep(time.Second)
		s.Set([]Announcement{{Addr: one, Count: 1}})
		time.Sleep(9 * time.Second)
		if got := times(s.took()); !slices.Equal(got, rounds[:]) {
			t.Errorf("%v", got)
		}
		s.Set([]Announcement{{Addr: one, Count: 2}})
		time.Sleep(time.Minute)
		if got := s.took(); len(got) != len(rounds) || got[0].at != 10*time.Second {
			t.Errorf("%v", got)
		}
	})
}

func TestWhatIsNotWantedAnyMoreIsNotAnnounced(t *testing.T) {
	inBubble(t, func(s *speaker) {
		s.Set([]Announcement{{Addr: one, Count: 1, Refresh: time.Minute}})
		time.Sleep(time.Second)
		s.took()
		s.Set(nil)
		time.Sleep(time.Hour)
		if got := s.took(); len(got) != 0 {
			t.Errorf("%v", got)
		}
	})
}

func TestRefresh(t *testing.T) {
	inBubble(t, func(s *speaker) {
		s.Set([]Announcement{{Addr: one, Count: 1, Refresh: time.Minute}})
		time.Sleep(3*time.Minute + 6*time.Second)
		if got := s.took(); len(got) != len(rounds)+3 {
			t.Errorf("%v", got)
		}
	})
}

// The first round of a thousand addresses is over before the second of any, in little
// time, and never in one row.
func TestManyAddressesAreAnnouncedRoundByRound(t *testing.T) {
	inBubble(t, func(s *speaker) {
		s.Set(many(1000))
		time.Sleep(time.Minute)
		got := s.took()
		if len(got) != 1000*len(rounds) {
			t.Fatalf("%d frames", len(got))
		}
		if d := got[999].at; d > 10*time.Millisecond {
			t.Errorf("the first round took %s", d)
		}
		row := map[time.Duration]int{}
		for i, x := range got {
			row[x.at]++
			if i < 1000 && x.addr != many(1000)[i].Addr {
				t.Fatalf("frame %d is of %s", i, x.addr)
			}
		}
		for at, n := range row {
			if n > burst {
				t.Errorf("%d frames in a row at %s", n, at)
			}
		}
	})
}

// Another list does not cut a pause short.
func TestAListThatComesDuringAPauseWaits(t *testing.T) {
	inBubble(t, func(s *speaker) {
		s.Set(many(burst + 1))
		time.Sleep(pause / 4)
		s.Set(many(burst + 2))
		time.Sleep(pause / 4)
		if got := s.took(); len(got) != burst {
			t.Errorf("%d frames", len(got))
		}
		time.Sleep(pause)
		if got := s.took(); len(got) != 2 || got[0].at != pause {
			t.Errorf("%v", got)
		}
	})
}

// Every address is asked for once, and no announcement waits for that.
func TestProbesComeBehindTheFirstRound(t *testing.T) {
	inBubble(t, func(s *speaker) {
		list := many(1000)
		for i := range list {
			list[i].Probe = true
		}
		s.Set(list)
		time.Sleep(time.Minute)
		s.Set(list)
		time.Sleep(time.Minute)
		got := s.took()
		asked := map[netip.Addr]int{}
		for i, x := range got {
			if x.what == announcement {
				continue
			}
			asked[x.addr]++
			if i < 1000 {
				t.Fatalf("frame %d is a probe", i)
			}
			if x.at > 50*time.Millisecond {
				t.Errorf("%s was asked for after %s", x.addr, x.at)
			}
		}
		if len(got) != 1000*(len(rounds)+1) || len(asked) != 1000 {
			t.Errorf("%d frames, %d probes", len(got), len(asked))
		}
	})
}

func TestAHigherCountThatAsksNobody(t *testing.T) {
	inBubble(t, func(s *speaker) {
		s.Set([]Announcement{{Addr: one, Count: 1, Probe: true}})
		time.Sleep(time.Minute)
		if got := s.took(); len(got) != len(rounds)+1 || got[1].what != probe || got[1].at != pause {
			t.Fatalf("%v", got)
		}
		s.Set([]Announcement{{Addr: one, Count: 2}})
		time.Sleep(time.Minute)
		if got := s.took(); len(got) != len(rounds) || slices.ContainsFunc(got, func(x said) bool { return x.what == probe }) {
			t.Errorf("%v", got)
		}
	})
}

func TestAnErrorIsLoggedOnceAndTriedAgain(t *testing.T) {
	inBubble(t, func(s *speaker) {
		s.fail(errors.New("the link is down"))
		s.Set(many(3))
		time.Sleep(10 * time.Second)
		s.fail(nil)
		time.Sleep(rounds[1])
		synctest.Wait()
		if got := s.took(); len(got) < 3 {
			t.Errorf("%v", got)
		}
		if n := strings.Count(s.log.String(), "level=WARN"); n != 1 {
			t.Errorf("%d lines: %s", n, &s.log)
		}
	})
}
