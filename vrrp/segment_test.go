package vrrp

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

// segment is a link in memory with machines on it. It loses, delays and reorders
// packets, is cut in two, and its nodes stop for a while and go on.
type segment struct {
	t      *testing.T
	rand   *rand.Rand
	now    time.Time
	events happenings
	nodes  []*node
	seq    int

	loss     float64
	delay    time.Duration // at most
	lateness time.Duration // how late a node wakes up, at most
	cut      int           // nodes before it do not hear those from it on, and vice versa; 0: no cut
	oneWay   bool          // the first half hears the second all the same
}

type node struct {
	*Machine
	addr   netip.Addr
	paused bool
	queue  []arrival // while paused
	wake   time.Time // when its Tick is scheduled; zero: not
	takes  bool      // wanted: it takes part
	drains bool

	answers   bool // what Take and Release left
	speaks    bool // what Announce and Hush left
	announced []time.Time
}

type arrival struct {
	at  time.Time
	src netip.Addr
	ad  Advertisement
}

type happening struct {
	at  time.Time
	seq int
	do  func()
}

type happenings []happening

func (h happenings) Len() int { return len(h) }
func (h happenings) Less(i, j int) bool {
	return h[i].at.Before(h[j].at) || h[i].at.Equal(h[j].at) && h[i].seq < h[j].seq
}
func (h happenings) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *happenings) Push(x any)   { *h = append(*h, x.(happening)) }
func (h *happenings) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

func newSegment(t *testing.T, seed uint64) *segment {
	return &segment{t: t, rand: rand.New(rand.NewPCG(seed, 1)), now: epoch}
}

func (s *segment) add(r Router) *node {
	a := netip.AddrFrom4([4]byte{10, 0, 0, byte(len(s.nodes) + 1)})
	n := &node{Machine: NewMachine(r, a), addr: a}
	s.nodes = append(s.nodes, n)
	return n
}

func (s *segment) after(d time.Duration, do func()) {
	s.seq++
	heap.Push(&s.events, happening{s.now.Add(d), s.seq, do})
}

// upTo is a random duration of 0 to d.
func (s *segment) upTo(d time.Duration) time.Duration {
	return time.Duration(s.rand.Int64N(int64(d) + 1))
}

// run lets time pass until each is over, calling look in between.
func (s *segment) run(d time.Duration, look func()) {
	end := s.now.Add(d)
	for len(s.events) > 0 && !s.events[0].at.After(end) {
		h := heap.Pop(&s.events).(happening)
		s.now = h.at
		h.do()
		if look != nil {
			look()
		}
	}
	s.now = end
}

// perform does what a machine wants, as the engine would.
func (s *segment) perform(n *node, do []Do) {
	for _, d := range do {
		switch d.Act {
		case Send:
			s.send(n, d.Priority)
		case Take:
			n.answers = true
		case Announce:
			n.announced = append(n.announced, s.now)
			if !n.Answers() {
				s.t.Errorf("%s announces what it does not have", n.addr)
			}
			n.speaks = true
		case Hush:
			n.speaks = false
		case Release:
			n.answers, n.speaks = false, false
		}
	}
	if n.speaks != (n.State() == vip.RouterActive) {
		s.t.Errorf("%s announces: %v, and is %s", n.addr, n.speaks, n.State())
	}
	if n.answers != n.Answers() {
		s.t.Errorf("%s: it has the addresses: %v, it says: %v", n.addr, n.answers, n.Answers())
	}
	s.schedule(n)
}

func (s *segment) schedule(n *node) {
	d := n.Deadline()
	if d.IsZero() || n.paused || !n.wake.IsZero() && !d.Before(n.wake) {
		return
	}
	n.wake = d
	s.after(d.Sub(s.now)+s.upTo(s.lateness), func() {
		n.wake = time.Time{}
		if !n.paused {
			s.perform(n, n.Tick(s.now))
		}
	})
}

func (s *segment) send(n *node, priority uint8) {
	ad := n.router.Advertisement
	ad.Priority = priority
	for i, to := range s.nodes {
		if to == n || s.rand.Float64() < s.loss || !s.hears(i, n) {
			continue
		}
		s.after(s.upTo(s.delay), func() { s.arrive(to, arrival{s.now, n.addr, ad}) })
	}
}

func (s *segment) hears(i int, from *node) bool {
	if s.cut == 0 {
		return true
	}
	for j, n := range s.nodes {
		if n == from {
			return i < s.cut == (j < s.cut) || s.oneWay && i < s.cut
		}
	}
	return false
}

func (s *segment) arrive(n *node, a arrival) {
	a.at = s.now
	if n.paused {
		n.queue = append(n.queue, a)
		return
	}
	s.take(n, a)
	s.perform(n, n.Tick(s.now))
}

func (s *segment) take(n *node, a arrival) {
	do, drop := n.Receive(a.at, a.src, &a.ad)
	if drop != Accepted && n.router.Priority != PriorityOwner {
		s.t.Errorf("%s drops: %s", n.addr, drop)
	}
	s.perform(n, do)
}

func (s *segment) pause(n *node) { n.paused = true }

// resume gives a node what queued up, and then the time.
func (s *segment) resume(n *node) {
	n.paused = false
	for _, a := range n.queue {
		s.take(n, a)
	}
	n.queue = nil
	s.perform(n, n.Tick(s.now))
}

func (s *segment) startup(n *node) {
	n.takes, n.drains = true, false
	s.perform(n, n.Startup(s.now))
}

func (s *segment) shutdown(n *node) {
	n.takes, n.drains = false, false
	s.perform(n, n.Shutdown(s.now))
}

func (s *segment) drain(n *node) {
	n.takes, n.drains = false, true
	s.perform(n, n.Drain(s.now))
}

func (s *segment) active() (list []*node) {
	for _, n := range s.nodes {
		if n.State() == vip.RouterActive {
			list = append(list, n)
		}
	}
	return list
}

// leaving says whether a drained router tries to hand over.
func (s *segment) leaving() bool {
	return slices.ContainsFunc(s.nodes, func(n *node) bool { return n.State() == vip.RouterLeaving && n.drains })
}

func (s *segment) String() (text string) {
	for _, n := range s.nodes {
		text += fmt.Sprintf("%s priority %d, takes part %v, drains %v: %s\n", n.addr, n.router.Priority, n.takes, n.drains, describe(n.Machine))
	}
	return text
}

// TestAHealedSegmentHasOneActiveRouter: whatever a segment went through, once it is
// whole again there is one Active router within Active_Down_Interval (and as long as a
// router that leaves waits), and no second one for longer than packets travel.
func TestAHealedSegmentHasOneActiveRouter(t *testing.T) {
	for seed := range uint64(600) {
		if !t.Run(fmt.Sprint(seed), func(t *testing.T) { chaos(t, seed) }) {
			return
		}
	}
}

func chaos(t *testing.T, seed uint64) {
	s := newSegment(t, seed)
	intervals := []time.Duration{10 * time.Millisecond, 100 * time.Millisecond, time.Second}
	interval := intervals[s.rand.IntN(len(intervals))]
	longest := interval
	var delay time.Duration
	for i := range 2 + s.rand.IntN(4) {
		r := Router{Preempt: s.rand.IntN(3) > 0, Advertisement: Advertisement{Version: 3, VRID: 1, Interval: interval, Addresses: vip1}}
		r.Priority = uint8(1 + s.rand.IntN(254))
		if i > 0 && s.rand.IntN(3) == 0 {
			r.Priority = s.nodes[0].router.Priority
		}
		if s.rand.IntN(4) == 0 {
			r.Interval *= 2 // a mistake of the operator's
			longest = 2 * interval
		}
		if s.rand.IntN(4) == 0 {
			r.PreemptDelay = 3 * interval
			delay = r.PreemptDelay
		}
		s.add(r)
	}

	// Trouble.
	for range 40 {
		s.delay, s.lateness, s.loss = s.upTo(2*interval), s.upTo(interval), s.rand.Float64()*0.8
		s.cut, s.oneWay = s.rand.IntN(len(s.nodes)+1)%len(s.nodes), s.rand.IntN(2) == 0
		n := s.nodes[s.rand.IntN(len(s.nodes))]
		switch s.rand.IntN(7) {
		case 0, 1:
			s.unpause(n)
			s.startup(n)
		case 2:
			s.unpause(n)
			s.shutdown(n)
		case 3:
			s.unpause(n)
			s.drain(n)
		case 4:
			s.pause(n)
		case 5:
			s.unpause(n)
		case 6:
			s.unpause(n)
			r := n.router
			r.Priority = uint8(1 + s.rand.IntN(254))
			s.perform(n, n.Configure(s.now, r, n.addr))
		}
		s.run(s.upTo(4*interval), func() { s.onlyWhoTakesPart() })
	}

	// Healing: the packets of the trouble arrive.
	s.loss, s.cut = 0, 0
	s.delay, s.lateness = interval/50, interval/50
	s.run(2*interval, nil)
	for _, n := range s.nodes {
		s.unpause(n)
	}
	s.startup(s.nodes[s.rand.IntN(len(s.nodes))])
	s.run(4*longest+delay+longest+margin+handover, func() { s.onlyWhoTakesPart() })

	wrong := time.Time{}
	s.run(50*longest, func() {
		s.onlyWhoTakesPart()
		answering := false
		for _, n := range s.nodes {
			answering = answering || n.answers
		}
		if !answering {
			t.Fatalf("nobody answers %s after healing:\n%s", s.now.Sub(epoch), s)
		}
		switch n := len(s.active()); {
		case n == 1, n == 0 && s.leaving():
			wrong = time.Time{}
		case wrong.IsZero():
			wrong = s.now
		}
		if !wrong.IsZero() && s.now.Sub(wrong) > s.delay+2*s.lateness {
			t.Fatalf("%d Active routers for %s, %s after healing:\n%s", len(s.active()), s.now.Sub(wrong), s.now.Sub(epoch), s)
		}
	})
	if len(s.active()) == 0 {
		s.run(2*longest+margin, nil) // a drained one tries to leave just now
	}
	active := s.active()
	if len(active) != 1 {
		t.Fatalf("%d Active routers at the end:\n%s", len(active), s)
	}
	for _, n := range s.nodes {
		if n != active[0] && n.answers {
			t.Errorf("%s answers and is not Active:\n%s", n.addr, s)
		}
		if n.takes && n.router.Preempt && n.router.Priority > active[0].priority() {
			t.Errorf("%s is better than %s:\n%s", n.addr, active[0].addr, s)
		}
	}
	if n := active[0].announced; len(n) == 0 {
		t.Error("the Active router never announced")
	}
}

func (s *segment) unpause(n *node) {
	if n.paused {
		s.resume(n)
	}
}

// onlyWhoTakesPart checks that nobody is Active who is not wanted, but a drained
// router that found no successor.
func (s *segment) onlyWhoTakesPart() {
	s.t.Helper()
	for _, n := range s.nodes {
		if n.State() == vip.RouterActive && !n.takes && !n.drains {
			s.t.Fatalf("%s is Active and does not take part:\n%s", n.addr, s)
		}
		if n.State() == vip.RouterBackup && !n.takes {
			s.t.Fatalf("%s is Backup and does not take part:\n%s", n.addr, s)
		}
	}
}

// TestWhoeverStaysAfterAPartitionAnnouncesLast: the neighbours believe the one that
// announced last.
func TestWhoeverStaysAfterAPartitionAnnouncesLast(t *testing.T) {
	for seed := range uint64(200) {
		s := newSegment(t, seed)
		for _, p := range []uint8{150, 100, 50} {
			n := s.add(Router{Preempt: true, Advertisement: Advertisement{Version: 3, VRID: 1, Priority: p, Interval: time.Second, Addresses: vip1}})
			s.startup(n)
		}
		s.delay, s.lateness = 20*time.Millisecond, 20*time.Millisecond
		s.run(10*time.Second, nil)
		s.cut, s.oneWay = 1, seed%2 == 0
		s.run(5*time.Second+s.upTo(5*time.Second), nil)
		if n := len(s.active()); n != 2 {
			t.Fatalf("the partition has %d Active routers:\n%s", n, s)
		}
		s.cut = 0
		healed := s.now
		s.run(10*time.Second, nil)
		winner, loser := s.nodes[0], s.nodes[1]
		if winner.State() != vip.RouterActive || loser.State() != vip.RouterBackup {
			t.Fatal(s)
		}
		if last := winner.announced[len(winner.announced)-1]; !last.After(loser.announced[len(loser.announced)-1]) {
			t.Errorf("seed %d: the winner announced at %s, the loser at %s", seed, last, loser.announced)
		} else if d := last.Sub(healed); d > time.Second+100*time.Millisecond {
			t.Errorf("seed %d: the winner announced %s after healing", seed, d)
		}
		if len(winner.announced) > 4 {
			t.Errorf("seed %d: the winner announced %d times", seed, len(winner.announced))
		}
	}
}

// TestAPoliteStopLeavesNoGap: at every moment somebody answers.
func TestAPoliteStopLeavesNoGap(t *testing.T) {
	for _, interval := range []time.Duration{10 * time.Millisecond, 100 * time.Millisecond, time.Second} {
		for _, drained := range []bool{false, true} {
			s := newSegment(t, 1)
			for _, p := range []uint8{150, 1} {
				n := s.add(Router{Preempt: true, Advertisement: Advertisement{Version: 3, VRID: 1, Priority: p, Interval: interval, Addresses: vip1}})
				s.startup(n)
			}
			s.delay, s.lateness = time.Millisecond, time.Millisecond
			s.run(10*interval, nil)
			first, second := s.nodes[0], s.nodes[1]
			if first.State() != vip.RouterActive {
				t.Fatal(s)
			}
			look := func() {
				if !first.answers && !second.answers {
					t.Fatalf("interval %s: nobody answers at %s", interval, s.now.Sub(epoch))
				}
			}
			if drained {
				s.drain(first)
			} else {
				s.shutdown(first)
			}
			s.run(10*interval+time.Second, look)
			if first.answers || second.State() != vip.RouterActive {
				t.Fatal(s)
			}
			// And the way back.
			s.startup(first)
			s.run(10*interval+time.Second, look)
			if first.State() != vip.RouterActive || second.answers {
				t.Fatal(s)
			}
		}
	}
}

// TestALateBackupDoesNotTakeOver: one that was stopped for long, while the Active
// router went on, sees that in what queued up.
func TestALateBackupDoesNotTakeOver(t *testing.T) {
	s := newSegment(t, 1)
	for _, p := range []uint8{150, 100} {
		n := s.add(Router{Preempt: true, Advertisement: Advertisement{Version: 3, VRID: 1, Priority: p, Interval: 10 * time.Millisecond, Addresses: vip1}})
		s.startup(n)
	}
	s.run(time.Second, nil)
	second := s.nodes[1]
	for range 100 {
		s.pause(second)
		s.run(200*time.Millisecond, nil)
		s.resume(second)
		s.run(50*time.Millisecond, func() {
			if second.State() != vip.RouterBackup {
				t.Fatal(s)
			}
		})
	}
}

// TestAStallIsAnsweredOnce: an Active router that was stopped finds its rival's
// advertisements in the queue.
func TestAStallIsAnsweredOnce(t *testing.T) {
	s := newSegment(t, 1)
	for _, p := range []uint8{150, 100} {
		n := s.add(Router{Preempt: true, Advertisement: Advertisement{Version: 3, VRID: 1, Priority: p, Interval: 100 * time.Millisecond, Addresses: vip1}})
		s.startup(n)
	}
	s.run(2*time.Second, nil)
	first, second := s.nodes[0], s.nodes[1]
	s.pause(first)
	s.run(5*time.Second, nil)
	if second.State() != vip.RouterActive || len(first.queue) < 40 {
		t.Fatalf("%d in the queue\n%s", len(first.queue), s)
	}
	before := len(first.announced)
	s.resume(first)
	s.run(2*time.Second, nil)
	if first.State() != vip.RouterActive || second.State() != vip.RouterBackup {
		t.Fatal(s)
	}
	if n := len(first.announced) - before; n < 1 || n > 2 {
		t.Errorf("it announced %d times", n)
	}
}
