package agent

import (
	"cmp"
	"context"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/anyvip/anyvip/pkg/kernel/lease"
	"github.com/anyvip/anyvip/pkg/policy"
	"github.com/anyvip/anyvip/pkg/vip"
	"github.com/anyvip/anyvip/vrrp"
	"github.com/anyvip/anyvip/vrrp/wire"
)

// segment is what stands behind the virtual routers: it brings the addresses that they
// answer for onto this host, and has the neighbours told once they are there. It is
// the vrrp engine's Host.
//
// Run's goroutine does the work; the rest hands over, and never blocks.
type segment struct {
	leases func([]lease.Lease)
	open   func(vrrp.Link) announces // makes one for a link
	wake   chan struct{}             // of one: something has changed

	mu         sync.Mutex // guards these, for a few lines
	candidates map[string]vrrp.Candidacy
	answers    map[string]vrrp.Answer
	present    map[netip.Addr]bool
	asked      bool // candidates or answers have changed: so have the leases

	// Of Run's goroutine.
	announcers map[vrrp.Link]*announcer
}

// announces tells the neighbours on one link.
type announces interface {
	Set([]wire.Announcement)
	Run(context.Context) error
}

// announcer is one that runs.
type announcer struct {
	announces
	stop  context.CancelFunc
	ended chan struct{}
}

func newSegment(leases func([]lease.Lease), open func(vrrp.Link) announces) *segment {
	return &segment{leases: leases, open: open, wake: make(chan struct{}, 1), candidates: map[string]vrrp.Candidacy{},
		answers: map[string]vrrp.Answer{}, present: map[netip.Addr]bool{}, announcers: map[vrrp.Link]*announcer{}}
}

func (s *segment) change(f func()) {
	s.mu.Lock()
	f()
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// want takes the virtual routers that are wanted: their addresses may be needed at any
// moment.
func (s *segment) want(list []vrrp.Candidacy) {
	s.change(func() {
		s.asked = true
		clear(s.candidates)
		for _, c := range list {
			s.candidates[c.Name] = c
		}
	})
}

// Answer is vrrp.Host's.
func (s *segment) Answer(a vrrp.Answer) {
	s.change(func() {
		s.asked = true
		if a.Held {
			s.answers[a.Router] = a
		} else {
			delete(s.answers, a.Router)
		}
	})
}

// found takes which addresses are on this host.
func (s *segment) found(r lease.Report) {
	s.change(func() {
		s.present = make(map[netip.Addr]bool, len(r.Addresses))
		for addr, a := range r.Addresses {
			s.present[addr] = a.State == vip.AddressPresent
		}
	})
}

// added takes addresses that have come onto this host since.
func (s *segment) added(list []netip.Addr) {
	s.change(func() {
		for _, addr := range list {
			s.present[addr] = true
		}
	})
}

// run works until ctx ends.
func (s *segment) run(ctx context.Context) error {
	defer s.end()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.wake:
		}
		s.mu.Lock()
		asked, leases := s.asked, []lease.Lease(nil)
		if s.asked = false; asked {
			leases = s.wanted()
		}
		announcements := s.announcements()
		s.mu.Unlock()
		if asked {
			s.leases(leases)
		}
		s.announce(ctx, announcements)
	}
}

// announcements are what is to be announced on each link: what is answered for, and is
// on this host.
func (s *segment) announcements() map[vrrp.Link][]wire.Announcement {
	lists := map[vrrp.Link][]wire.Announcement{}
	for _, name := range slices.Sorted(maps.Keys(s.answers)) {
		a := s.answers[name]
		for _, x := range a.Addresses {
			if a.Announce > 0 && s.present[x.Addr] && (a.Heir == vrrp.Heir{} || a.Heir.Interface == x.Interface) {
				lists[x.Interface] = append(lists[x.Interface],
					wire.Announcement{Addr: x.Addr, MAC: x.MAC, Count: a.Announce, Refresh: a.Refresh, Heir: a.Heir.MAC, Probe: a.Probe})
			}
		}
	}
	return lists
}

// wanted are the leases: of what is answered for, and of what may be.
func (s *segment) wanted() (leases []lease.Lease) {
	held := map[netip.Addr]bool{}
	for _, name := range slices.Sorted(maps.Keys(s.answers)) {
		a := s.answers[name]
		for _, x := range a.Addresses {
			held[x.Addr] = true
			l := leaseOf(x, a.Interval, true)
			l.Going = a.Going
			leases = append(leases, l)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.candidates)) {
		c := s.candidates[name]
		for _, x := range c.Addresses() {
			if !held[x.Addr] {
				leases = append(leases, leaseOf(x, c.Router.Interval, false))
			}
		}
	}
	return leases
}

func leaseOf(a vrrp.Address, interval time.Duration, held bool) lease.Lease {
	return lease.Lease{Addr: a.Addr, Link: a.Interface.Name, Index: a.Interface.Index, MAC: a.MAC, Interval: interval, Held: held}
}

// announce gives each link's announcer its list, and ends those that have none.
func (s *segment) announce(ctx context.Context, lists map[vrrp.Link][]wire.Announcement) {
	for _, link := range slices.SortedFunc(maps.Keys(lists), func(a, b vrrp.Link) int { return cmp.Compare(a.Index, b.Index) }) {
		list := lists[link]
		a := s.announcers[link]
		if a == nil {
			a = s.start(ctx, link)
		}
		a.Set(list)
	}
	for link, a := range s.announcers {
		if _, wanted := lists[link]; !wanted {
			a.stop()
			<-a.ended
			delete(s.announcers, link)
		}
	}
}

func (s *segment) start(ctx context.Context, link vrrp.Link) *announcer {
	ctx, stop := context.WithCancel(ctx)
	a := &announcer{s.open(link), stop, make(chan struct{})}
	go func() {
		defer close(a.ended)
		_ = a.Run(ctx) // its end is ours
	}()
	s.announcers[link] = a
	return a
}

func (s *segment) end() {
	for _, a := range s.announcers {
		a.stop()
		<-a.ended
	}
}

// candidacies are the virtual routers that policy wants, in the words of package vrrp.
func candidacies(list []policy.RouterWant, secret func(file string) string) []vrrp.Candidacy {
	out := make([]vrrp.Candidacy, len(list))
	for i, w := range list {
		c := w.Config
		ad := vrrp.Advertisement{Version: c.Version, VRID: c.VRID, Priority: w.Priority, Interval: c.Interval, Addresses: w.Listed}
		if c.Checksum == policy.ChecksumPlain || c.Version == 2 {
			ad.Checksum = vrrp.Plain
		}
		if c.PasswordFile != "" {
			ad.Secured = true
			copy(ad.Password[:], secret(c.PasswordFile))
		}
		out[i] = vrrp.Candidacy{Name: w.Name, Interface: vrrp.Link{Name: w.Link.Name, Index: w.Link.Index}, Source: w.Source,
			Router: vrrp.Router{Advertisement: ad, Preempt: c.Preempt, PreemptDelay: c.PreemptDelay, Waits: w.Group != ""},
			Peers:  w.Peers, Rides: rides(w.Rides), Group: w.Group, Refresh: c.Refresh, Defend: c.Defend, Stance: stances[w.Stance], VirtualMAC: c.VirtualMAC}
	}
	return out
}

func rides(list []policy.Ride) (out []vrrp.Address) {
	for _, r := range list {
		out = append(out, vrrp.Address{Addr: r.Addr, Interface: vrrp.Link{Name: r.Link.Name, Index: r.Link.Index}})
	}
	return out
}

var stances = map[policy.RouterStance]vrrp.Stance{policy.RouterOut: vrrp.Out, policy.RouterLast: vrrp.Last, policy.RouterIn: vrrp.In}
