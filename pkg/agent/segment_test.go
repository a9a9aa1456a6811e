package agent

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/anyvip/anyvip/pkg/kernel/lease"
	"github.com/anyvip/anyvip/pkg/vip"
	"github.com/anyvip/anyvip/vrrp"
	"github.com/anyvip/anyvip/vrrp/wire"
)

// fakeSegment is a link with other routers on it, and the addresses of this host there:
// vrrp.Conn, lease engine and announcer in one.
type fakeSegment struct {
	seen     *transcript
	arrivals chan vrrp.Arrival
	wake     chan struct{}

	mu     sync.Mutex
	found  func(lease.Report)
	said   map[string]uint8 // by router: the priority that was sent last
	held   []string
	others map[string]context.CancelFunc // routers that advertise, by address
}

func newFakeSegment(seen *transcript) *fakeSegment {
	return &fakeSegment{seen: seen, arrivals: make(chan vrrp.Arrival, 100), wake: make(chan struct{}, 1), said: map[string]uint8{}, others: map[string]context.CancelFunc{}}
}

func (f *fakeSegment) Listen([]vrrp.Link) map[string]error { return nil }

func (f *fakeSegment) Wait(until time.Time) ([]vrrp.Arrival, time.Time, error) {
	var timer <-chan time.Time
	if !until.IsZero() {
		timer = time.After(time.Until(until))
	}
	select {
	case a := <-f.arrivals:
		return []vrrp.Arrival{a}, time.Now(), nil
	case <-f.wake:
	case <-timer:
	}
	return nil, time.Now(), nil
}

func (f *fakeSegment) Wake() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// Send writes down what is said, once as long as it is the same.
func (f *fakeSegment) Send(link string, _ [6]byte, src, dst netip.Addr, packet []byte) error {
	var a vrrp.Advertisement
	if drop := a.Parse(packet, src, dst); drop != vrrp.Accepted {
		return fmt.Errorf("sends what is dropped: %s", drop)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	name := fmt.Sprintf("vrid %d on %s", a.VRID, link)
	if said, ok := f.said[name]; !ok || said != a.Priority {
		f.said[name] = a.Priority
		f.seen.add("segment", "%s advertises with priority %d", name, a.Priority)
	}
	return nil
}

// lease does what is asked at once.
func (f *fakeSegment) lease(list []lease.Lease) {
	f.mu.Lock()
	var held []string
	facts := map[netip.Addr]vip.Address{}
	for _, l := range list {
		fact := vip.Address{Addr: l.Addr, State: vip.AddressAbsent, Since: time.Now(), Link: l.Link}
		if l.Held {
			fact.State, fact.Ours = vip.AddressPresent, true
			held = append(held, l.Addr.String())
		}
		facts[l.Addr] = fact
	}
	slices.Sort(held)
	changed := !slices.Equal(held, f.held)
	f.held = held
	found := f.found
	f.mu.Unlock()
	if changed {
		f.seen.add("segment", "this host has [%s]", strings.Join(held, " "))
		found(lease.Report{Addresses: facts})
	}
}

// fakeAnnouncer writes down what is to be announced, and asked for.
type fakeAnnouncer struct {
	f     *fakeSegment
	mu    sync.Mutex
	said  string
	asked string
}

func (a *fakeAnnouncer) Set(list []wire.Announcement) {
	var words, asks []string
	for _, x := range list {
		words = append(words, fmt.Sprintf("%s(%d)", x.Addr, x.Count))
		if x.Probe {
			asks = append(asks, x.Addr.String())
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if text := strings.Join(words, " "); text != a.said {
		a.said = text
		a.f.seen.add("segment", "announces %s", text)
	}
	if text := strings.Join(asks, " "); text != a.asked {
		if a.asked = text; text != "" {
			a.f.seen.add("segment", "asks who has %s", text)
		}
	}
}

func (a *fakeAnnouncer) Run(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// claim has a host say in ARP that it has an address.
func (f *fakeSegment) claim(address, mac string) error {
	addr, err := netip.ParseAddr(address)
	if err != nil {
		return err
	}
	hw, err := net.ParseMAC(mac)
	if err != nil {
		return err
	}
	f.arrivals <- vrrp.Arrival{Link: "eth0", At: time.Now(), MAC: [6]byte(hw), Claim: addr}
	return nil
}

// other lets another router advertise every second, or end.
func (f *fakeSegment) other(ctx context.Context, address, what string, words []string) error {
	src, err := netip.ParseAddr(address)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if stop := f.others[address]; stop != nil {
		stop()
		delete(f.others, address)
	}
	if what == "silent" {
		return nil
	}
	priority, err := strconv.ParseUint(words[0], 10, 8)
	if err != nil || what != "priority" {
		return fmt.Errorf("want silent, or priority N and addresses")
	}
	a := vrrp.Advertisement{Version: 3, VRID: 51, Priority: uint8(priority), Interval: time.Second}
	for _, w := range words[1:] {
		if w != "" {
			a.Addresses = append(a.Addresses, netip.MustParseAddr(w))
		}
	}
	ctx, f.others[address] = context.WithCancel(ctx)
	go func() {
		for {
			f.arrivals <- vrrp.Arrival{Link: "eth0", At: time.Now(), MAC: [6]byte{2, 0, 0, 0, 0, 3}, Src: src, Dst: vrrp.Group4, HopLimit: vrrp.HopLimit,
				Packet: a.Append(nil, src, vrrp.Group4)}
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Second):
			}
			if a.Priority == 0 {
				return
			}
		}
	}()
	return nil
}
