package integration

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

// fault is something that comes between s1 and the other routers of the segment.
type fault struct {
	name         string
	strike, mend func(s mixed)

	// What must be seen while it lasts, and once it is over; either may be nil.
	during, after func(s mixed, since time.Time)

	healing   time.Duration // the last word of a router that is not to be Active comes no later
	announced time.Duration // and the clients know the right one
}

const (
	lasts = 7 * time.Second // Active_Down_Interval, and a fight

	// RFC 9568: of two Active routers one yields with the next advertisement; a better one
	// that returns takes over after Active_Down_Interval.
	yields  = 1500 * time.Millisecond
	returns = 6 * time.Second
)

// TestVRRPFaults has s1 and keepalived, FRR and another anyvip lose sight of each other in
// every way, half of them with s1 as the better router and half with s1 as the worse one.
// What is wrong is told as soon as it can be heard. Afterwards one router is Active, and
// the client has its MAC, which no traffic of its own has corrected.
func TestVRRPFaults(t *testing.T) {
	for _, f := range []fault{silentHost, muteHost, deafHost, filteredMulticast, agentStops, peersStop} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			s := upMixed(t)
			struck := time.Now()
			f.strike(s)
			if f.during != nil {
				f.during(s, struck)
			}
			<-time.After(time.Until(struck.Add(lasts)))
			healed := time.Now()
			f.mend(s)
			s.mended(healed, f.announced, halves(every))
			s.ruled(healed, f.healing)
			if f.after != nil {
				f.after(s, healed)
			}
			s.quiet(struck)
		})
	}
}

// silentHost: all that s1 sends or would hear is lost, and no link goes down.
var silentHost = fault{
	name:   "a silent host",
	strike: func(s mixed) { s.sh("sw", "ip link set eth1 nomaster") },
	mend:   func(s mixed) { s.sh("sw", "ip link set eth1 master br0") },
	during: func(s mixed, since time.Time) { s.moved(since, halves(ours)) },
	after: func(s mixed, since time.Time) {
		for _, h := range halves(func(h half) bool { return h.ours && h.peer == "s2" }) { // the others yield without a word
			s.told(h, s.firstAdvertisement(h, h.peer, since), "rival")
		}
		s.yielded(since)
		s.neverForeign()
	},
	healing: yields, announced: 2 * time.Second,
}

// muteHost: nobody hears s1's advertisements, and s1 hears those of all others.
var muteHost = fault{
	name:   "a one-way filter, this host is not heard",
	strike: func(s mixed) { s.filter("eth1") },
	mend:   mixed.unfilter,
	during: func(s mixed, since time.Time) {
		for _, h := range halves(ours) {
			s.told(h, s.firstAdvertisement(h, h.peer, since), "rival")
		}
		s.neverForeign()
	},
	healing: yields, announced: 2 * time.Second,
}

// deafHost: s1 hears nobody's advertisements, and the others hear s1's.
var deafHost = fault{
	name:   "a one-way filter, this host does not hear",
	strike: func(s mixed) { s.filter("eth2, eth3, eth4") },
	mend:   mixed.unfilter,
	during: func(s mixed, since time.Time) {
		for _, h := range halves(func(h half) bool { return !h.ours && h.peer != "fr" }) { // FRR says nothing that could be heard
			active := s.firstAdvertisement(h, "s1", since)
			s.told(h, s.firstClaim(h, active.Add(1300*time.Millisecond)), "rival", "foreign_claim") // before that it might be a handover
		}
	},
	healing: yields, announced: 2 * time.Second,
}

// filteredMulticast: no advertisement gets through, and all else does.
var filteredMulticast = fault{
	name:   "filtered multicast",
	strike: func(s mixed) { s.filter("eth1, eth2, eth3, eth4") },
	mend:   mixed.unfilter,
	during: func(s mixed, since time.Time) {
		for _, h := range halves(ours) {
			s.told(h, s.firstClaim(h, since), "rival", "foreign_claim")
		}
	},
	healing: yields, announced: 2 * time.Second,
}

// agentStops: s1's agent is stopped, its kernel lives on.
var agentStops = fault{
	name:   "SIGSTOP of the agent",
	strike: func(s mixed) { s.signal("s1", syscall.SIGSTOP) },
	mend:   func(s mixed) { s.signal("s1", syscall.SIGCONT) },
	during: func(s mixed, since time.Time) { s.moved(since, halves(ours)) },
	after: func(s mixed, since time.Time) {
		for _, h := range halves(theirs) {
			if n := len(s.advertisements(h, false, since)); n > 0 {
				s.t.Errorf("%s: s1 took over after its stall, %d advertisements", h.name, n)
			}
		}
		for _, h := range halves(ours) {
			s.told(h, since, "rival")
		}
		s.neverForeign()
	},
	healing: 3 * time.Second, announced: 3 * time.Second, // a stalled agent first shows that all of it lives
}

// peersStop: what speaks VRRP on all others is stopped.
var peersStop = fault{
	name:   "SIGSTOP of the others",
	strike: func(s mixed) { s.signalPeers(syscall.SIGSTOP) },
	mend:   func(s mixed) { s.signalPeers(syscall.SIGCONT) },
	during: func(s mixed, since time.Time) { s.moved(since, halves(theirs)) },
	after: func(s mixed, since time.Time) {
		s.yielded(since)
		s.neverForeign()
	},
	healing: 3 * time.Second, announced: 3 * time.Second,
}

// TestVRRPLinks cuts s1 off, and then the others, in a way that they see.
func TestVRRPLinks(t *testing.T) {
	t.Parallel()
	s := upMixed(t)
	for _, cut := range []struct {
		links []string
		lost  func(half) bool
	}{
		{[]string{"sw:eth1"}, ours},
		{[]string{"sw:eth2", "sw:eth3", "sw:eth4"}, theirs},
	} {
		set := func(up bool) {
			for _, l := range cut.links {
				if err := s.SetLink(l, up); err != nil {
					t.Fatal(err)
				}
			}
		}
		since := time.Now()
		set(false)
		s.moved(since, halves(cut.lost))
		healed := time.Now()
		set(true)
		for _, h := range halves(cut.lost) {
			back := s.firstAdvertisement(h, h.best(), healed)
			s.mended(back, 2*time.Second, []half{h})
		}
		s.ruled(healed, returns)
	}
	s.neverForeign()
}

// filter has the switch drop the advertisements that come in on some of its ports.
func (s mixed) filter(ports string) {
	s.t.Helper()
	s.sh("sw", "nft 'add table netdev f; add chain netdev f in { type filter hook ingress devices = { "+ports+" } priority 0; };"+
		" add rule netdev f in ip protocol 112 drop; add rule netdev f in ip6 nexthdr 112 drop'")
}

func (s mixed) unfilter() {
	s.t.Helper()
	s.sh("sw", "nft delete table netdev f")
}

// signalPeers signals what speaks VRRP on the other nodes. keepalived does that in a child.
func (s mixed) signalPeers(sig syscall.Signal) {
	s.t.Helper()
	s.signal("s2", sig)
	s.signal("fr", sig)
	state, err := s.Daemon("ka").State()
	if err != nil {
		s.t.Fatal(err)
	}
	s.sh("ka", fmt.Sprintf("kill -%d $(pgrep -P %d)", sig, state.Pid))
}

// moved waits until the client has the MAC of the worse router for each address.
func (s mixed) moved(since time.Time, list []half) {
	s.t.Helper()
	for _, h := range list {
		s.cache.wait(patience, h.vip+" in the cache of the client, at another router", func(n neighbor) bool {
			return n.Addr == h.vip && n.At.After(since) && n.MAC != "" && s.nodes[n.MAC] != h.best()
		})
	}
}

func (s mixed) firstAdvertisement(h half, node string, since time.Time) time.Time {
	s.t.Helper()
	return s.first("an advertisement of "+node+" for "+h.name, func(x sighting) bool {
		return x.VRID == h.vrid && x.Six == h.six && x.Priority > 0 && s.nodes[x.MAC] == node && x.At.After(since)
	})
}

func (s mixed) firstClaim(h half, since time.Time) time.Time {
	s.t.Helper()
	return s.first("a claim of "+h.peer+" to "+h.vip, func(x sighting) bool {
		return x.Addr == h.vip && s.nodes[x.MAC] == h.peer && x.At.After(since)
	})
}

// neverForeign fails the test if s1 took a router for a foreign host.
func (s mixed) neverForeign() {
	s.t.Helper()
	for _, o := range s.odds("s1") {
		if strings.HasPrefix(o.Reason, "foreign_claim") {
			s.t.Errorf("%s: %s", o.Router, o.Reason)
		}
	}
}

// quiet checks that s1 did not answer a fight with a storm: in 10 s it announces each
// address when it takes over, when a rival comes and when it goes, five times each at
// most, and refreshes once a second what is to be refreshed.
func (s mixed) quiet(struck time.Time) {
	s.t.Helper()
	within := func(list []sighting) (n int) {
		for _, x := range list {
			if x.At.Before(struck.Add(10 * time.Second)) {
				n++
			}
		}
		return n
	}
	for _, h := range halves(every) {
		most := 15
		if h.ours && h.peer != "s2" {
			most += 10
		}
		n := within(s.claims("s1", h.vip, struck))
		if n > most {
			s.t.Errorf("%s: s1 announced %d times in 10 s", h.name, n)
		}
		s.t.Logf("%s: s1 announced %d times in 10 s, %s %d times", h.name, n, h.peer, within(s.claims(h.peer, h.vip, struck)))
	}
}
