package bgp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/anyvip/anyvip/pkg/vip"
)

// fakeSpeaker is a speaker whose Adj-RIB-Outs fill after lag.
type fakeSpeaker struct {
	notify func(Event)

	mu         sync.Mutex
	generation uint64
	fail       int // calls that fail from now on; the call may have its effect or not
	effect     bool
	block      chan struct{} // Set waits for it; nil: does not
	lag        time.Duration
	slow       time.Duration // each call takes it
	sessions   Sessions
	routes     map[netip.Prefix]vip.Announcement
	visible    map[netip.Prefix]vip.Announcement
	up         map[string]bool
	calls      []string
	reads      int
}

func newFakeSpeaker() *fakeSpeaker {
	return &fakeSpeaker{generation: 1, routes: map[netip.Prefix]vip.Announcement{}, visible: map[netip.Prefix]vip.Announcement{}, up: map[string]bool{}}
}

var errFake = errors.New("fake: no")

func (f *fakeSpeaker) call(format string, args ...any) error {
	f.calls = append(f.calls, fmt.Sprintf(format, args...))
	if f.fail > 0 {
		f.fail--
		return errFake
	}
	return nil
}

func (f *fakeSpeaker) Sessions(_ context.Context, s Sessions) (uint64, error) {
	f.takeTime()
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.call("sessions %d", len(s.Peers))
	if err == nil {
		f.sessions = s
	}
	return f.generation, err
}

func (f *fakeSpeaker) Set(_ context.Context, add []vip.Announcement, remove []netip.Prefix) error {
	f.mu.Lock()
	block := f.block
	f.mu.Unlock()
	if block != nil {
		<-block
	}
	f.takeTime()
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.call("set +%d -%d", len(add), len(remove))
	if err == nil || f.effect {
		for _, a := range add {
			f.routes[a.Prefix] = a
		}
		for _, p := range remove {
			delete(f.routes, p)
		}
		now := maps.Clone(f.routes)
		time.AfterFunc(f.lag, func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.visible = now
		})
	}
	return err
}

func (f *fakeSpeaker) takeTime() {
	f.mu.Lock()
	d := f.slow
	f.mu.Unlock()
	time.Sleep(d)
}

func (f *fakeSpeaker) Sent(_ context.Context, peer string) (map[netip.Prefix]vip.Announcement, error) {
	f.takeTime()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads++
	if !f.up[peer] {
		return nil, errFake
	}
	return maps.Clone(f.visible), nil
}

func (f *fakeSpeaker) tell(peer string, state vip.SessionState) {
	f.mu.Lock()
	f.up[peer] = state == vip.Established
	g := f.generation
	f.mu.Unlock()
	s := vip.Session{Peer: peer, State: state, Since: time.Now()}
	if state == vip.Established {
		s.Families = []vip.Family{vip.IPv4, vip.IPv6}
	}
	f.notify(Event{Generation: g, Session: s})
}

func (f *fakeSpeaker) countReads() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reads
}

// die begins a new generation without anything.
func (f *fakeSpeaker) die() {
	f.mu.Lock()
	f.generation++
	g := f.generation
	f.sessions = Sessions{}
	clear(f.routes)
	clear(f.up)
	f.mu.Unlock()
	f.notify(Event{Generation: g})
}

func (f *fakeSpeaker) take() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	calls := f.calls
	f.calls = nil
	return calls
}

// bench is an engine under test in a bubble.
type bench struct {
	*Engine
	speaker *fakeSpeaker
	mu      sync.Mutex
	reports []Report
}

// inBubble runs test with a running engine.
func inBubble(t *testing.T, test func(t *testing.T, b *bench)) {
	synctest.Test(t, func(t *testing.T) {
		b := &bench{speaker: newFakeSpeaker()}
		b.Engine = New(Options{Speaker: b.speaker, Log: slog.New(slog.DiscardHandler), Report: func(r Report) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.reports = append(b.reports, r)
		}})
		b.speaker.notify = b.Notify
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- b.Run(ctx) }()
		test(t, b)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	})
}

func (b *bench) last() Report {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.reports) == 0 {
		return Report{}
	}
	return b.reports[len(b.reports)-1]
}

func (b *bench) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.reports)
}

func announce(addresses ...string) []vip.Announcement {
	out := make([]vip.Announcement, len(addresses))
	for i, s := range addresses {
		a := netip.MustParseAddr(s)
		out[i] = vip.Announcement{Prefix: netip.PrefixFrom(a, a.BitLen())}
	}
	return out
}

func want(announcements ...vip.Announcement) Desired {
	return Desired{ASN: 65101, Announcements: announcements, Peers: []Peer{{Name: "tor", Address: netip.MustParseAddr("10.0.0.1"), Up: true}}}
}

func expectCalls(t *testing.T, b *bench, want ...string) {
	t.Helper()
	synctest.Wait()
	if diff := cmp.Diff(want, b.speaker.take(), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestNothingIsDoneBeforeTheFirstApply(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		time.Sleep(time.Minute)
		expectCalls(t, b)
	})
}

func TestEveryAttributeIsCompared(t *testing.T) {
	base := announce("192.0.2.1")[0]
	for name, change := range map[string]func(*vip.Announcement){
		"MED":               func(a *vip.Announcement) { a.MED = 1 },
		"LOCAL_PREF":        func(a *vip.Announcement) { a.LocalPref = 1 },
		"prepend":           func(a *vip.Announcement) { a.Prepend = 1 },
		"communities":       func(a *vip.Announcement) { a.Communities = []vip.Community{1} },
		"large communities": func(a *vip.Announcement) { a.LargeCommunities = []vip.LargeCommunity{{Global: 1}} },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				b.Apply(want(base))
				expectCalls(t, b, "sessions 1", "set +1 -0")
				changed := base
				change(&changed)
				b.Apply(want(changed))
				expectCalls(t, b, "set +1 -0")
				if got := b.speaker.routes[base.Prefix]; !got.Equal(changed) {
					t.Errorf("speaker has %+v", got)
				}
				b.Apply(want(changed))
				expectCalls(t, b)
			})
		})
	}
}

func TestOneChangeIsOneBatch(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.Apply(want(announce("192.0.2.1", "192.0.2.2", "192.0.2.3")...))
		expectCalls(t, b, "sessions 1", "set +3 -0")
		b.Apply(want(announce("192.0.2.3", "192.0.2.4")...))
		expectCalls(t, b, "set +1 -2")
		b.Apply(want())
		expectCalls(t, b, "set +0 -2")
	})
}

func TestAFailedBatchIsSentAgainWhole(t *testing.T) {
	for _, effect := range []bool{false, true} {
		t.Run(fmt.Sprintf("effect=%t", effect), func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				b.speaker.effect = effect
				b.Apply(want(announce("192.0.2.1", "192.0.2.2")...))
				expectCalls(t, b, "sessions 1", "set +2 -0")
				b.speaker.fail = 1
				b.Apply(want(announce("192.0.2.2", "192.0.2.3")...))
				expectCalls(t, b, "set +1 -1")
				// Wanted back before the retry: what was removed is in doubt, so it is sent.
				b.Apply(want(announce("192.0.2.1", "192.0.2.2")...))
				expectCalls(t, b, "set +1 -1")
				got := slices.SortedFunc(maps.Keys(b.speaker.routes), netip.Prefix.Compare)
				if diff := cmp.Diff([]string{"192.0.2.1/32", "192.0.2.2/32"}, texts(got)); diff != "" {
					t.Errorf("routes (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func texts(ps []netip.Prefix) (out []string) {
	for _, p := range ps {
		out = append(out, p.String())
	}
	return out
}

func TestRetriesBackOffToASecond(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.speaker.fail = 1000
		b.Apply(want(announce("192.0.2.1")...))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n := len(b.speaker.take()); n < 10 || n > 30 {
			t.Errorf("%d tries in 10 s", n)
		}
		b.speaker.mu.Lock()
		b.speaker.fail = 0
		b.speaker.mu.Unlock()
		time.Sleep(time.Second)
		expectCalls(t, b, "sessions 1", "set +1 -0")
	})
}

func TestANewGenerationGetsEverythingAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.Apply(want(announce("192.0.2.1", "192.0.2.2")...))
		expectCalls(t, b, "sessions 1", "set +2 -0")
		b.speaker.tell("tor", vip.Established)
		synctest.Wait()
		b.speaker.die()
		expectCalls(t, b, "sessions 1", "set +2 -0")
		if s := b.last().Sessions["tor"]; s.State != vip.Idle || s.Flaps != 1 {
			t.Errorf("session %+v", s)
		}
		if len(b.last().Sent) != 0 {
			t.Errorf("sent %v", b.last().Sent)
		}
		// What the old speaker says late is not believed.
		b.Notify(Event{Generation: 1, Session: vip.Session{Peer: "tor", State: vip.Established}})
		synctest.Wait()
		if s := b.last().Sessions["tor"]; s.State != vip.Idle {
			t.Errorf("session %+v", s)
		}
	})
}

func TestAGenerationBegunBySessionsIsNoticedBeforeSet(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.Apply(want(announce("192.0.2.1")...))
		expectCalls(t, b, "sessions 1", "set +1 -0")
		b.speaker.mu.Lock()
		b.speaker.generation = 2
		b.speaker.mu.Unlock()
		d := want(announce("192.0.2.1", "192.0.2.2")...)
		d.ASN++
		b.Apply(d)
		expectCalls(t, b, "sessions 1", "set +2 -0")
	})
}

func TestTheLatestApplyWinsAndApplyNeverBlocks(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		release := make(chan struct{})
		b.speaker.block = release
		b.Apply(want(announce("192.0.2.1")...))
		synctest.Wait() // the engine hangs in Set
		before := b.LastPass()
		for i := range 100 {
			b.Apply(want(announce("192.0.2.1", fmt.Sprintf("192.0.2.%d", 100+i))...))
		}
		time.Sleep(5 * time.Second)
		if b.LastPass() != before {
			t.Error("LastPass moved while a call hangs")
		}
		close(release)
		expectCalls(t, b, "sessions 1", "set +1 -0", "set +1 -0")
		if _, ok := b.speaker.routes[netip.MustParsePrefix("192.0.2.199/32")]; !ok || len(b.speaker.routes) != 2 {
			t.Errorf("routes %v", b.speaker.routes)
		}
	})
}

func TestLastPassMovesEverySecondWhileIdle(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		if !b.LastPass().IsZero() && time.Since(b.LastPass()) > time.Second {
			t.Error("stale before the start")
		}
		for range 100 {
			time.Sleep(700 * time.Millisecond)
			synctest.Wait()
			if age := time.Since(b.LastPass()); age > time.Second {
				t.Fatalf("last pass is %s old", age)
			}
		}
	})
}

// A pass of three calls is as alive as the slowest of them.
func TestSlowCallsAreNoStandstill(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		const slow = 900 * time.Millisecond
		b.Apply(want())
		synctest.Wait() // the peer is known: only then its session counts
		b.speaker.mu.Lock()
		b.speaker.slow = slow
		b.speaker.mu.Unlock()
		b.speaker.tell("tor", vip.Established)
		var oldest time.Duration
		for i := range 10 {
			d := want(announce("192.0.2.1", fmt.Sprintf("192.0.2.%d", 10+i))...)
			d.ImportDefault = i%2 == 0 // Sessions, Set and Sent are called
			b.Apply(d)
			for range 50 {
				time.Sleep(100 * time.Millisecond)
				oldest = max(oldest, time.Since(b.LastPass()))
			}
		}
		if b.speaker.countReads() == 0 || oldest < 800*time.Millisecond || oldest > slow {
			t.Errorf("LastPass was %s old, after %d reads", oldest, b.speaker.countReads())
		}
	})
}

// A speaker that could not start anew has lost what it held all the same.
func TestAFailedRestartEndsTheSessions(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.Apply(want(announce("192.0.2.1")...))
		b.speaker.tell("tor", vip.Established)
		expectCalls(t, b, "sessions 1", "set +1 -0")
		b.speaker.mu.Lock()
		b.speaker.generation++
		b.speaker.fail = 3
		b.speaker.mu.Unlock()
		d := want(announce("192.0.2.1")...)
		d.ASN++
		b.Apply(d)
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if s := b.last().Sessions["tor"]; s.State == vip.Established {
			t.Errorf("still %+v", s)
		}
		time.Sleep(time.Second)
		expectCalls(t, b, "sessions 1", "sessions 1", "sessions 1", "sessions 1", "set +1 -0")
	})
}

func TestSentIsReadUntilItIsWhatShouldBe(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.speaker.lag = 30 * time.Millisecond
		b.Apply(want(announce("192.0.2.1")...))
		synctest.Wait()
		if len(b.last().Sent) != 0 {
			t.Error("sent to a session that is not up")
		}
		b.speaker.tell("tor", vip.Established)
		time.Sleep(100 * time.Millisecond)
		if got := len(b.last().Sent["tor"]); got != 1 {
			t.Errorf("%d sent", got)
		}
		b.Apply(want(announce("192.0.2.1", "192.0.2.2")...))
		synctest.Wait()
		if got := len(b.last().Sent["tor"]); got != 1 {
			t.Errorf("%d sent before it was", got)
		}
		time.Sleep(100 * time.Millisecond)
		if got := len(b.last().Sent["tor"]); got != 2 {
			t.Errorf("%d sent", got)
		}
		reports := b.count()
		time.Sleep(time.Hour)
		if b.count() != reports {
			t.Errorf("%d reports of nothing", b.count()-reports)
		}
		b.speaker.tell("tor", vip.Idle)
		synctest.Wait()
		if _, ok := b.last().Sent["tor"]; ok {
			t.Error("sent to a session that is down")
		}
	})
}

func TestSentThatNeverFitsIsReadABoundedNumberOfTimes(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.speaker.lag = 100 * time.Hour
		b.Apply(want(announce("192.0.2.1")...))
		b.speaker.tell("tor", vip.Established)
		time.Sleep(time.Minute)
		synctest.Wait()
		if r := b.last(); r.Sent["tor"] == nil || len(r.Sent["tor"]) != 0 {
			t.Errorf("sent %v, want what is true: nothing", r.Sent)
		}
		if b.speaker.reads != rereads+1 {
			t.Errorf("%d reads", b.speaker.reads)
		}
	})
}

func TestReportsOfNoChangeAreNotMade(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		d := want(announce("192.0.2.1")...)
		b.Apply(d)
		synctest.Wait()
		before := b.count()
		for range 10 {
			b.Apply(d) // as the agent does after every report
			synctest.Wait()
		}
		if b.count() != before {
			t.Errorf("%d reports of nothing", b.count()-before)
		}
	})
}

func TestReportsAreNeverChangedAfterwards(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.Apply(want(announce("192.0.2.1")...))
		b.speaker.tell("tor", vip.Established)
		time.Sleep(time.Second)
		r := b.last()
		sessions, sent := maps.Clone(r.Sessions), maps.Clone(r.Sent["tor"])
		b.Apply(want())
		b.speaker.tell("tor", vip.Idle)
		b.speaker.die()
		time.Sleep(time.Second)
		if diff := cmp.Diff(sessions, r.Sessions, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
			t.Errorf("sessions changed (-was +is):\n%s", diff)
		}
		if len(r.Sent["tor"]) != len(sent) || len(sent) != 1 {
			t.Errorf("sent changed from %v to %v", sent, r.Sent["tor"])
		}
	})
}

func TestEveryWantedPeerAndNoOtherIsReported(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		d := want()
		d.Peers[0].Up = false
		for _, names := range [][]string{{"tor"}, {"tor", "second"}, {"tor"}} {
			d.Peers = d.Peers[:1:1]
			for _, name := range names[1:] {
				d.Peers = append(d.Peers, Peer{Name: name, Address: netip.MustParseAddr("10.0.0.2"), Up: true})
			}
			b.Apply(d)
			synctest.Wait()
			if got := slices.Sorted(maps.Keys(b.last().Sessions)); !slices.Equal(got, slices.Sorted(slices.Values(names))) {
				t.Errorf("%q, want %q", got, names)
			}
		}
	})
}

// Neither what the owner wants is a fact about a session, which it knows best,
// nor why an attempt failed before the session was kept down: once it is wanted
// again, both are over.
func TestASessionThatIsKeptDownHasNoCause(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		d := want()
		apply := func(isUp bool) {
			d.Peers = slices.Clone(d.Peers)
			if d.Peers[0].Up = isUp; !isUp {
				d.Peers[0].Cause, d.Peers[0].Text = vip.CauseLinkDown, "link eth0 is down"
			}
			b.Apply(d)
			synctest.Wait()
		}
		tell := func(s vip.Session) {
			s.Peer, s.Cause, s.Detail = "tor", vip.CauseRefused, "nobody listens"
			b.Notify(Event{Generation: 1, Session: s})
			synctest.Wait()
		}
		expect := func(what string, cause vip.SessionCause) {
			t.Helper()
			if s := b.last().Sessions["tor"]; s.Cause != cause || (s.Detail == "") != (cause == vip.CauseNone) {
				t.Errorf("%s: %+v", what, s)
			}
		}
		apply(true)
		tell(vip.Session{State: vip.Active})
		expect("an attempt failed", vip.CauseRefused)
		apply(false)
		expect("kept down", vip.CauseNone)
		tell(vip.Session{State: vip.Idle})
		expect("closed", vip.CauseNone)
		apply(true)
		expect("wanted again", vip.CauseNone)
		tell(vip.Session{State: vip.Active})
		expect("an attempt failed again", vip.CauseRefused)
	})
}

func TestImportDefaultGoesToTheSpeakerAndDefaultsToTheOwner(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		d := want(announce("192.0.2.1")...)
		b.Apply(d)
		expectCalls(t, b, "sessions 1", "set +1 -0")
		d.ImportDefault = true
		b.Apply(d)
		expectCalls(t, b, "sessions 1")
		if !b.speaker.sessions.ImportDefault {
			t.Error("the speaker does not know")
		}
		b.speaker.tell("tor", vip.Established)
		time.Sleep(time.Second)
		reports := b.count()
		for _, hop := range []string{"10.0.0.1", "10.0.0.1", "10.0.0.3"} { // the second changes nothing
			b.Notify(Event{Generation: 1, Session: vip.Session{Peer: "tor", State: vip.Established, Families: []vip.Family{vip.IPv4, vip.IPv6},
				Defaults: []vip.Default{{Family: vip.IPv4, NextHop: netip.MustParseAddr(hop)}}}})
			synctest.Wait()
			if got := b.last().Sessions["tor"].Defaults; len(got) != 1 || got[0].NextHop.String() != hop {
				t.Errorf("defaults %v, want %s", got, hop)
			}
		}
		if got := b.count() - reports; got != 2 {
			t.Errorf("%d reports", got)
		}
	})
}

func TestAPeersASIsReportedFromTheStart(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		d := want()
		d.Peers[0].ASN = 65000
		b.Apply(d)
		synctest.Wait()
		if s := b.last().Sessions["tor"]; s.RemoteAS != 65000 {
			t.Errorf("%+v", s)
		}
		b.Notify(Event{Generation: 1, Session: vip.Session{Peer: "tor", State: vip.Established, RemoteAS: 65000}})
		b.speaker.die()
		synctest.Wait()
		if s := b.last().Sessions["tor"]; s.State != vip.Idle || s.RemoteAS != 65000 {
			t.Errorf("without its speaker: %+v", s)
		}
	})
}

func TestFlapsCountTheTimesEstablishedEnded(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.Apply(want())
		for range 3 {
			for _, s := range []vip.SessionState{vip.Active, vip.OpenConfirm, vip.Established, vip.Idle} {
				b.speaker.tell("tor", s)
			}
		}
		synctest.Wait()
		if f := b.last().Sessions["tor"].Flaps; f != 3 {
			t.Errorf("%d flaps", f)
		}
	})
}

func TestAFamilyThatAPeerCannotCarryIsNotWaitedFor(t *testing.T) {
	p := Peer{Address: netip.MustParseAddr("10.0.0.1")}
	both := []vip.Family{vip.IPv4, vip.IPv6}
	if p.Carries(vip.IPv6, both) || !p.Carries(vip.IPv4, both) || p.Carries(vip.IPv4, nil) {
		t.Error("without next_hop6")
	}
	p.NextHop6 = netip.MustParseAddr("2001:db8::1")
	if !p.Carries(vip.IPv6, both) || p.Carries(vip.IPv6, both[:1]) {
		t.Error("with next_hop6")
	}
	p = Peer{Address: netip.MustParseAddr("2001:db8::2")}
	if !p.Carries(vip.IPv6, both) || !p.Carries(vip.IPv4, both) || p.Carries(vip.IPv4, both[1:]) {
		t.Error("on an IPv6 session")
	}
}

// TestWithdrawAndAnnounceRaces applies at random moments while calls fail and
// generations change, and looks only at where it ends.
func TestWithdrawAndAnnounceRaces(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		var d Desired
		for i := range 500 {
			var list []string
			for j := range 8 {
				if (i*7+j*13)%3 != 0 {
					list = append(list, fmt.Sprintf("192.0.2.%d", j))
				}
			}
			d = want(announce(list...)...)
			for k := range d.Announcements {
				d.Announcements[k].MED = uint32(i % 5)
			}
			b.Apply(d)
			switch {
			case i%11 == 0:
				b.speaker.mu.Lock()
				b.speaker.fail, b.speaker.effect = i%4, i%2 == 0
				b.speaker.mu.Unlock()
			case i%53 == 0:
				b.speaker.die()
			}
			time.Sleep(time.Duration(i%17) * time.Millisecond)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		b.speaker.mu.Lock()
		defer b.speaker.mu.Unlock()
		if len(b.speaker.routes) != len(d.Announcements) {
			t.Errorf("%d routes, want %d", len(b.speaker.routes), len(d.Announcements))
		}
		for _, a := range d.Announcements {
			if got, ok := b.speaker.routes[a.Prefix]; !ok || !got.Equal(a) {
				t.Errorf("%s: %+v", a.Prefix, got)
			}
		}
	})
}
