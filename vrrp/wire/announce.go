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

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"
	"golang.org/x/sys/unix"

	"github.com/anyvip/anyvip/pkg/latest"
	"github.com/anyvip/anyvip/vrrp"
)

// rounds are when an address is announced, counted from when it came: the first ones
// for a neighbour that missed one, the last for a switch that was just learning.
var rounds = [...]time.Duration{0, 100 * time.Millisecond, 500 * time.Millisecond, 2 * time.Second, 5 * time.Second}

const (
	// burst is how many frames go out in a row before a pause: a neighbour's queue, and
	// advertisements on the same link, must get through.
	burst = 64
	pause = time.Millisecond

	stuck = 10 * time.Millisecond // how long to wait while the agent is
)

// Announcer tells the neighbours on one link which addresses are here: by ARP
// announcements (RFC 5227, section 3) and unsolicited neighbor advertisements (RFC 4861,
// section 7.2.6).
type Announcer struct {
	link   vrrp.Link
	alive  func() bool
	log    *slog.Logger
	wanted latest.Value[[]Announcement]

	// From here on owned by Run's goroutine.
	say     func(netip.Addr) error // sends one frame
	queue   []queued
	fd      int
	mac     net.HardwareAddr
	router  bool // IPv6 forwarding is on: the R flag of neighbor advertisements
	failing string
}

// Announcement is an address that is to be announced.
type Announcement struct {
	Addr  netip.Addr
	Count uint64 // a higher one than before: begin anew

	Refresh time.Duration // announce again every so often as long as it is wanted; 0: never
}

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
	a.say = a.announce
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
		if !known || w.Count > q.Count {
			q = queued{Announcement: w, began: now, next: now}
			a.close() // the link may have another MAC by now
		}
		q.Refresh = w.Refresh
		a.queue = append(a.queue, q)
	}
}

// send sends what is due, a burst at most, and says when to come back. Whoever is
// earliest goes first, so that the first round of all comes before the second of any.
func (a *Announcer) send(now time.Time) time.Duration {
	if len(a.queue) > 0 && !a.alive() {
		return stuck
	}
	due := make([]*queued, 0, len(a.queue))
	next := now.Add(time.Hour)
	for i := range a.queue {
		q := &a.queue[i]
		switch {
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
			return pause
		}
		if err := a.say(q.Addr); err != nil {
			a.complain(err)
			return rounds[1] // all of it again
		}
		a.failing = ""
		a.advance(q, now)
		if !q.next.IsZero() && q.next.Before(next) {
			next = q.next
		}
	}
	return next.Sub(now)
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

// announce sends one frame.
func (a *Announcer) announce(addr netip.Addr) error {
	if a.fd < 0 {
		if err := a.open(); err != nil {
			return fmt.Errorf("announce %s: %w", addr, explain(a.link.Name, err))
		}
	}
	to := unix.SockaddrLinklayer{Ifindex: a.link.Index, Halen: 6}
	var packet []byte
	var err error
	if addr.Is4() {
		to.Protocol = bigEndian(unix.ETH_P_ARP)
		copy(to.Addr[:], broadcast)
		packet, err = arpAnnouncement(addr, a.mac)
	} else {
		to.Protocol = bigEndian(unix.ETH_P_IPV6)
		copy(to.Addr[:], allNodesMAC)
		packet, err = unsolicitedNA(addr, a.mac, a.router)
	}
	if err != nil {
		return fmt.Errorf("announce %s: %w", addr, err)
	}
	if err := unix.Sendto(a.fd, packet, 0, &to); err != nil {
		return fmt.Errorf("announce %s: %w", addr, explainSend(err))
	}
	return nil
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
	a.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0) // protocol 0: it receives nothing
	return err
}

var (
	broadcast   = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	allNodesMAC = net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}
	allNodes    = netip.MustParseAddr("ff02::1")
)

// arpAnnouncement is an ARP request for our own address, as keepalived and FRR send it.
func arpAnnouncement(addr netip.Addr, mac net.HardwareAddr) ([]byte, error) {
	p, err := arp.NewPacket(arp.OperationRequest, mac, addr, broadcast, addr)
	if err != nil {
		return nil, err
	}
	return p.MarshalBinary()
}

// unsolicitedNA is an IPv6 packet with a neighbor advertisement from the address itself.
func unsolicitedNA(addr netip.Addr, mac net.HardwareAddr, router bool) ([]byte, error) {
	message, err := ndp.MarshalMessageChecksum(&ndp.NeighborAdvertisement{Router: router, Override: true, TargetAddress: addr,
		Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: mac}}}, addr, allNodes)
	if err != nil {
		return nil, err
	}
	packet := make([]byte, 40, 40+len(message))
	packet[0] = 0x60                   // version 6
	packet[5] = byte(len(message))     // payload length, below 256
	packet[6], packet[7] = icmpv6, 255 // next header, hop limit
	src, dst := addr.As16(), allNodes.As16()
	copy(packet[8:], src[:])
	copy(packet[24:], dst[:])
	return append(packet, message...), nil
}

// forwards6 says whether a link forwards IPv6: then its neighbor advertisements have the
// R flag, RFC 4861, section 4.4.
func forwards6(link string) bool {
	b, err := os.ReadFile("/proc/sys/net/ipv6/conf/" + link + "/forwarding")
	return err == nil && len(b) > 0 && b[0] == '1'
}
