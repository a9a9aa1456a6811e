package wire

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/anyvip/anyvip/pkg/latest"
	"github.com/anyvip/anyvip/vrrp"
)

// rounds are when an address is announced, counted from when it came: the first ones
// for a neighbour that missed one, the last for a switch that was just learning.
var rounds = [...]time.Duration{0, 100 * time.Millisecond, 500 * time.Millisecond, 2 * time.Second, 5 * time.Second}

const (
	// burst is how many frames go out in a row, and pause from when to when: a neighbour's
	// queue (1,000 frames on Linux), and advertisements on the same link, must get through.
	burst = 500
	pause = 4 * time.Millisecond

	fresh = 100 * time.Millisecond // how long the link is taken to have the MAC that it had

	stuck = 10 * time.Millisecond // how long to wait while the agent is
)

// Announcer tells the neighbours on one link which addresses are here: by ARP
// announcements (RFC 5227, section 3) and unsolicited neighbor advertisements (RFC 4861,
// section 7.2.6). Where it is told to, it asks once who else has an address.
type Announcer struct {
	link   vrrp.Link
	alive  func() bool
	log    *slog.Logger
	wanted latest.Value[[]Announcement]

	// From here on owned by Run's goroutine.
	say     func(Announcement, message) error // sends one frame
	queue   []queued
	fd      int
	opened  time.Time // when fd was
	rest    time.Time // no frame before
	mac     net.HardwareAddr
	router  bool // IPv6 forwarding is on: the R flag of neighbor advertisements
	failing string
}

// Announcement is an address that is to be announced.
type Announcement struct {
	Addr  netip.Addr
	MAC   [6]byte // where it is; zero: the link's own
	Count uint64  // a higher one than before: begin anew

	Refresh time.Duration // announce again every so often as long as it is wanted; 0: never
	Heir    [6]byte       // the MAC that has it now; zero: the link's
	Probe   bool          // ask once who else has it, behind the first announcement
}

// message is what a frame says about an address.
type message bool

const (
	announcement message = false // it is here
	probe        message = true  // who has it?
)

// queued is an address on its way through the rounds.
type queued struct {
	Announcement
	began time.Time
	round int
	next  time.Time // zero: done, and there is no refresh
}

// NewAnnouncer makes an Announcer that does nothing until Run. Nothing is announced while
// alive says no.
func NewAnnouncer(link vrrp.Link, alive func() bool, log *slog.Logger) *Announcer {
	a := &Announcer{link: link, alive: alive, log: log, wanted: latest.Make[[]Announcement](), fd: -1}
	a.say = a.speak
	return a
}

// Set replaces the addresses to announce. It never blocks and may be called from any
// goroutine; of several calls in a row the last wins. What is not in the list any more
// is not announced again. The caller must not change the list afterwards.
func (a *Announcer) Set(list []Announcement) { a.wanted.Put(list) }

// Run works until ctx ends.
func (a *Announcer) Run(ctx context.Context) error {
	defer a.close()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case list := <-a.wanted:
			a.take(list, time.Now())
		case <-timer.C:
		}
		timer.Reset(a.send(time.Now()))
	}
}

// take merges what is wanted into the queue: an address that is there goes on.
func (a *Announcer) take(list []Announcement, now time.Time) {
	old := make(map[netip.Addr]queued, len(a.queue))
	for _, q := range a.queue {
		old[q.Addr] = q
	}
	a.queue = a.queue[:0]
	for _, w := range list {
		q, known := old[w.Addr]
		if !known || w.Count > q.Count || w.MAC != q.MAC {
			q = queued{Announcement: w, began: now, next: now}
			if now.Sub(a.opened) > fresh { // many come in several lists
				a.close() // the link may have another MAC by now
			}
		}
		q.Refresh = w.Refresh
		a.queue = append(a.queue, q)
	}
}

// send sends what is due, a burst at most, and says when to come back. Whoever is
// earliest goes first, so that the first round of all comes before the second of any, and
// before every probe.
func (a *Announcer) send(now time.Time) time.Duration {
	if now.Before(a.rest) { // another list has come meanwhile
		return a.rest.Sub(now)
	}
	if len(a.queue) > 0 && !a.alive() {
		return stuck
	}
	due := make([]*queued, 0, len(a.queue))
	next := now.Add(time.Hour)
	for i := range a.queue {
		q := &a.queue[i]
		switch {
		case q.asks():
			due = append(due, q)
		case q.next.IsZero():
		case q.next.After(now):
			if q.next.Before(next) {
				next = q.next
			}
		default:
			due = append(due, q)
		}
	}
	slices.SortStableFunc(due, func(x, y *queued) int { return cmp.Compare(x.round, y.round) })
	for i, q := range due {
		if i == burst {
			a.rest = now.Add(pause)
			return time.Until(a.rest)
		}
		what := message(q.asks())
		if err := a.say(q.Announcement, what); err != nil {
			a.complain(err)
			return rounds[1] // all of it again
		}
		a.failing = ""
		if what == probe {
			q.Probe = false
		} else {
			a.advance(q, now)
		}
		if at := q.due(now); !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	return next.Sub(now)
}

// asks says whether the next frame about an address is its probe.
func (q *queued) asks() bool { return q.Probe && q.round > 0 }

// due is when the next frame about an address is to leave; zero: there is none.
func (q *queued) due(now time.Time) time.Time {
	if q.asks() {
		return now.Add(pause)
	}
	return q.next
}

// advance sets when an address is announced next.
func (a *Announcer) advance(q *queued, now time.Time) {
	q.round++
	switch {
	case q.round < len(rounds):
		q.next = q.began.Add(rounds[q.round])
	case q.Refresh > 0:
		q.next = now.Add(q.Refresh)
	default:
		q.next = time.Time{}
	}
}

// complain logs an error once, and has the socket opened anew.
func (a *Announcer) complain(err error) {
	a.close()
	if text := err.Error(); text != a.failing {
		a.failing = text
		a.log.Warn("addresses cannot be announced; trying again", "interface", a.link.Name, "error", text)
	}
}

func (a *Announcer) close() {
	if a.fd >= 0 {
		_ = unix.Close(a.fd)
		a.fd = -1
	}
}

// speak sends one frame.
func (a *Announcer) speak(w Announcement, what message) error {
	if a.fd < 0 {
		if err := a.open(); err != nil {
			return fmt.Errorf("announce %s: %w", w.Addr, explain(a.link.Name, err))
		}
	}
	src, owner := a.mac, a.mac
	switch {
	case w.Heir != [6]byte{}: // a switch must not learn its MAC from here
		owner = w.Heir[:]
	case w.MAC != [6]byte{}:
		src, owner = w.MAC[:], w.MAC[:]
	}
	frame, err := compose(w.Addr, what, src, owner, a.router)
	if err == nil {
		err = explainSend(sendFrame(a.fd, a.link.Index, frame))
	}
	if err != nil {
		return fmt.Errorf("announce %s: %w", w.Addr, err)
	}
	return nil
}

// compose makes a frame about an address that owner has.
func compose(addr netip.Addr, what message, src, owner net.HardwareAddr, router bool) (frame []byte, err error) {
	var packet []byte
	to, etherType := broadcast, uint16(unix.ETH_P_ARP)
	switch {
	case addr.Is4() && what == probe:
		packet, err = arpProbe(addr, owner)
	case addr.Is4():
		packet, err = arpAnnouncement(addr, owner)
	case what == probe:
		etherType = unix.ETH_P_IPV6
		packet, to, err = neighborSolicitation(addr)
	default:
		to, etherType = allNodesMAC, unix.ETH_P_IPV6
		packet, err = unsolicitedNA(addr, owner, router)
	}
	return append(appendHeader(nil, to, src, etherType), packet...), err
}

// open opens the socket, and looks which MAC the link has now.
func (a *Announcer) open() (err error) {
	ifi, err := net.InterfaceByIndex(a.link.Index)
	if err != nil {
		return unix.ENODEV
	}
	if len(ifi.HardwareAddr) != 6 {
		return fmt.Errorf("%s is no Ethernet link", a.link.Name)
	}
	a.mac = ifi.HardwareAddr
	a.router = forwards6(a.link.Name)
	a.opened = time.Now()
	a.fd, err = openFrames()
	return err
}

// forwards6 says whether a link forwards IPv6: then its neighbor advertisements have the
// R flag, RFC 4861, section 4.4.
func forwards6(link string) bool {
	b, err := os.ReadFile("/proc/sys/net/ipv6/conf/" + link + "/forwarding")
	return err == nil && len(b) > 0 && b[0] == '1'
}
