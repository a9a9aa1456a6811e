package vrrp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

// wireFake is a Conn and a Host that remember, and let a test speak.
type wireFake struct {
	arrivals chan Arrival
	wake     chan struct{}

	mu      sync.Mutex
	refuse  map[string]error // by link
	sent    []string
	answers []Answer
	sendErr error
}

func newWire() *wireFake {
	return &wireFake{arrivals: make(chan Arrival, 1000), wake: make(chan struct{}, 1)}
}

func (w *wireFake) Listen([]Link) map[string]error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.refuse
}

// refuses has links not be listened on.
func (w *wireFake) refuses(faults map[string]error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refuse = faults
}

func (w *wireFake) Wait(until time.Time) (list []Arrival, now time.Time, err error) {
	var timer <-chan time.Time
	if !until.IsZero() {
		timer = time.After(time.Until(until))
	}
	select {
	case a := <-w.arrivals:
		list = append(list, a)
		for len(w.arrivals) > 0 {
			list = append(list, <-w.arrivals)
		}
	case <-w.wake:
	case <-timer:
	}
	return list, time.Now(), nil
}

func (w *wireFake) Wake() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *wireFake) Send(link string, from [6]byte, src, dst netip.Addr, packet []byte) error {
	var a Advertisement
	if drop := a.Parse(packet, src, dst); drop != Accepted {
		panic(drop)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.sendErr != nil {
		return w.sendErr
	}
	text := fmt.Sprintf("%s %s>%s vrid %d priority %d", link, src, dst, a.VRID, a.Priority)
	if from != ([6]byte{}) {
		text += " from " + mac(from)
	}
	w.sent = append(w.sent, text)
	return nil
}

func (w *wireFake) Answer(a Answer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answers = append(w.answers, a)
}

// took returns what was sent and answered since the last call.
func (w *wireFake) took() (sent []string, answers []Answer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	sent, answers = w.sent, w.answers
	w.sent, w.answers = nil, nil
	return sent, answers
}

// bench is an engine on a wireFake, in a bubble.
type bench struct {
	*Engine
	wire  *wireFake
	alive atomic.Bool

	mu   sync.Mutex
	text bytes.Buffer
	last Report
	n    int
}

// Write takes the log.
func (b *bench) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *bench) log() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func (b *bench) take(r Report) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last = r
	b.n++
}

// reported is the latest report, and how many there were.
func (b *bench) reported() (Report, int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last, b.n
}

// onBench runs play in a bubble. Reports and the log are read after synctest.Wait.
func onBench(t *testing.T, play func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{wire: newWire()}
		b.alive.Store(true)
		b.Engine = New(Options{Conn: b.wire, Host: b.wire, Alive: b.alive.Load, Log: slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug})), Report: b.take})
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan error)
		go func() { ended <- b.Run(ctx) }()
		play(b)
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func (b *bench) count() int {
	last, _ := b.reported()
	return len(last.Routers)
}

func (b *bench) apply(list ...Candidacy) {
	b.Apply(Desired{Routers: list})
	synctest.Wait()
}

func (b *bench) sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// hear has an advertisement arrive.
func (b *bench) hear(src string, change func(a *Advertisement, at *Arrival)) {
	a := web.Router.Advertisement
	a.Priority = 150
	at := Arrival{Link: "eth1", At: time.Now(), MAC: [6]byte{2, 0, 0, 0, 0, 9}, Src: addr(src), Dst: Group4, HopLimit: HopLimit}
	if change != nil {
		change(&a, &at)
	}
	if at.Packet == nil {
		at.Packet = a.Append(nil, at.Src, at.Dst)
	}
	b.wire.arrivals <- at
	synctest.Wait()
}

func (b *bench) router(t *testing.T, name string) vip.VirtualRouter {
	t.Helper()
	last, _ := b.reported()
	for _, r := range last.Routers {
		if r.Name == name {
			return r
		}
	}
	t.Fatalf("no router %s in %+v", name, last)
	return vip.VirtualRouter{}
}

var web = Candidacy{Name: "web", Interface: Link{"eth1", 2}, Source: addr("10.0.0.5"), Stance: In, Rides: on("eth1", 2, "10.0.0.101"),
	Router: Router{Preempt: true, Advertisement: Advertisement{Version: 3, VRID: 51, Priority: 100, Interval: time.Second, Addresses: list("10.0.0.100")}}}

// on are addresses on a link.
func on(link string, index int, addrs ...string) (all []Address) {
	for _, a := range list(addrs...) {
		all = append(all, Address{Addr: a, Interface: Link{link, index}})
	}
	return all
}

func with(change func(c *Candidacy)) Candidacy {
	c := web
	change(&c)
	return c
}

func TestARouterTakesOverAndLeaves(t *testing.T) {
	onBench(t, func(b *bench) {
		b.apply(web)
		if r := b.router(t, "web"); r.State != vip.RouterBackup || r.VRID != 51 || r.Family != vip.IPv4 || r.Priority != 100 || r.Answers {
			t.Errorf("%+v", r)
		}
		b.sleep(4 * time.Second)
		sent, answers := b.wire.took()
		if want := "eth1 10.0.0.5>224.0.0.18 vrid 51 priority 100"; len(sent) != 1 || sent[0] != want {
			t.Errorf("%q", sent)
		}
		all := on("eth1", 2, "10.0.0.100", "10.0.0.101")
		if len(answers) != 2 || !answers[0].Held || answers[0].Going || answers[1].Going || answers[0].Announce > 0 || answers[1].Announce != 1 || !slices.Equal(answers[0].Addresses, all) {
			t.Errorf("%+v", answers)
		}
		if r := b.router(t, "web"); r.State != vip.RouterActive || r.Cause != vip.RouterNothingHeard || !r.Answers {
			t.Errorf("%+v", r)
		}
		b.apply() // not wanted any more
		sent, answers = b.wire.took()
		if len(sent) != 2 || !strings.HasSuffix(sent[1], "priority 0") || len(answers) != 1 || !answers[0].Held || !answers[0].Going || answers[0].Announce > 0 {
			t.Errorf("%q, %+v", sent, answers)
		}
		if r := b.router(t, "web"); r.State != vip.RouterLeaving {
			t.Errorf("%+v", r)
		}
		b.sleep(2 * time.Second)
		if _, answers := b.wire.took(); len(answers) != 1 || answers[0].Held || answers[0].Router != "web" {
			t.Errorf("%+v", answers)
		}
		if last, _ := b.reported(); len(last.Routers) != 0 {
			t.Errorf("%+v", last)
		}
		if !strings.Contains(b.log(), `"virtual router changed" router=web vrid=51 interface=eth1 from=Backup to=Active reason=nothing_heard`) {
			t.Error(b.log())
		}
	})
}

func TestApplyingTheSameChangesNothing(t *testing.T) {
	onBench(t, func(b *bench) {
		b.apply(web)
		b.sleep(4 * time.Second)
		b.wire.took()
		_, n := b.reported()
		for range 10 {
			b.apply(web)
		}
		_, m := b.reported()
		if sent, answers := b.wire.took(); len(sent) > 0 || len(answers) > 0 || m != n {
			t.Errorf("%q %+v, %d reports", sent, answers, m-n)
		}
	})
}

func TestALowerPriorityIsSaidAtOnce(t *testing.T) {
	onBench(t, func(b *bench) {
		b.apply(web)
		b.sleep(4 * time.Second)
		b.wire.took()
		b.apply(with(func(c *Candidacy) { c.Router.Priority = 30 }))
		if sent, _ := b.wire.took(); len(sent) != 1 || !strings.HasSuffix(sent[0], "priority 30") {
			t.Errorf("%q", sent)
		}
		b.hear("10.0.0.9", func(a *Advertisement, _ *Arrival) { a.Priority = 50 })
		if r := b.router(t, "web"); r.State != vip.RouterBackup || r.By != addr("10.0.0.9") || r.Cause != vip.RouterHigherPriority {
			t.Errorf("%+v", r)
		}
	})
}

func TestUnicastPeers(t *testing.T) {
	onBench(t, func(b *bench) {
		b.apply(with(func(c *Candidacy) { c.Peers = list("10.0.0.8", "10.0.0.9") }))
		b.hear("10.0.0.7", func(_ *Advertisement, at *Arrival) { at.Dst = addr("10.0.0.5") })
		if r := b.router(t, "web"); len(r.Others) != 1 || r.Others[0].Trouble != vip.TroubleNotOfTheList {
			t.Errorf("%+v", r)
		}
		b.sleep(4 * time.Second)
		if sent, _ := b.wire.took(); !slices.Equal(sent, []string{"eth1 10.0.0.5>10.0.0.8 vrid 51 priority 100", "eth1 10.0.0.5>10.0.0.9 vrid 51 priority 100"}) {
			t.Errorf("%q", sent)
		}
		b.hear("10.0.0.9", func(_ *Advertisement, at *Arrival) { at.Dst = addr("10.0.0.5") })
		if r := b.router(t, "web"); r.State != vip.RouterBackup {
			t.Errorf("%+v", r)
		}
		received, sent := b.Counts()
		if received[DropSender] != 1 || received[Accepted] != 1 || sent != 6 { // it yields twice, too
			t.Errorf("%v, %d sent", received, sent)
		}
	})
}

func TestWhatTheHeaderHasToBeLike(t *testing.T) {
	six := with(func(c *Candidacy) { c.Source, c.Router.Addresses = addr("fe80::5"), list("fe80::100") })
	for name, test := range map[string]struct {
		candidacy Candidacy
		src, dst  string
		hopLimit  uint8
		want      Drop
	}{
		"IPv4 multicast":                  {web, "10.0.0.9", "224.0.0.18", 255, Accepted},
		"IPv4 multicast through a router": {web, "10.0.0.9", "224.0.0.18", 254, DropHopLimit},
		"IPv4 unicast":                    {with(func(c *Candidacy) { c.Peers = list("10.0.0.9") }), "10.0.0.9", "10.0.0.5", 255, Accepted},
		"IPv4 unicast through a router":   {with(func(c *Candidacy) { c.Peers = list("10.0.0.9") }), "10.0.0.9", "10.0.0.5", 64, DropHopLimit},
		"multicast beside unicast peers":  {withPeer(web, "10.0.0.8"), "10.0.0.9", "224.0.0.18", 255, DropSender},
		"unicast from nobody of the list": {web, "10.0.0.9", "10.0.0.5", 255, DropSender},
		"IPv6 multicast":                  {six, "fe80::9", "ff02::12", 255, Accepted},
		"IPv6 multicast through a router": {six, "fe80::9", "ff02::12", 64, DropHopLimit},
		"keepalived's IPv6 unicast":       {withPeer(six, "fe80::9"), "fe80::9", "fe80::5", 64, Accepted},
	} {
		t.Run(name, func(t *testing.T) {
			onBench(t, func(b *bench) {
				b.apply(test.candidacy)
				b.hear(test.src, func(a *Advertisement, at *Arrival) {
					a.Addresses = test.candidacy.Router.Addresses
					at.Dst, at.HopLimit = addr(test.dst), test.hopLimit
				})
				if received, _ := b.Counts(); received[test.want] != 1 {
					t.Errorf("%v", received)
				}
			})
		})
	}
}

func withPeer(c Candidacy, peer string) Candidacy {
	c.Peers = list(peer)
	return c
}

func TestEveryTroubleIsToldOncePerChange(t *testing.T) {
	secret := func(c *Candidacy) {
		c.Router.Version, c.Router.Secured, c.Router.Password = 2, true, password("s3cret")
	}
	none := func(*Candidacy) {}
	for name, test := range map[string]struct {
		wish func(*Candidacy)
		hear func(a *Advertisement, at *Arrival)
		want vip.RouterTrouble
	}{
		"another version":  {none, func(a *Advertisement, _ *Arrival) { a.Version = 2 }, vip.TroubleVersion},
		"another interval": {none, func(a *Advertisement, _ *Arrival) { a.Interval = 2 * time.Second }, vip.TroubleInterval},
		"other addresses":  {none, func(a *Advertisement, _ *Arrival) { a.Addresses = list("10.0.0.100", "10.0.0.102") }, vip.TroubleAddresses},
		"another checksum": {none, func(a *Advertisement, _ *Arrival) { a.Checksum = Plain }, vip.TroubleChecksum},
		"another password": {secret, func(a *Advertisement, _ *Arrival) { a.Version, a.Secured = 2, true }, vip.TroublePassword},
		"no password":      {secret, func(a *Advertisement, _ *Arrival) { a.Version = 2 }, vip.TroublePassword},
		"through a router": {none, func(_ *Advertisement, at *Arrival) { at.HopLimit = 64 }, vip.TroubleHopLimit},
		"our own address":  {none, func(_ *Advertisement, at *Arrival) { at.Src = addr("10.0.0.5") }, vip.TroubleSameAddress},
		"what we own":      {func(c *Candidacy) { c.Router.Priority = PriorityOwner }, func(*Advertisement, *Arrival) {}, vip.TroubleOwner},
		"CARP": {none, func(_ *Advertisement, at *Arrival) {
			at.Packet = append([]byte{0x21, 51, 0, 7, 0, 1}, make([]byte, 30)...)
		}, vip.TroubleCARP},
		"our VIP under a VRID": {none, func(a *Advertisement, _ *Arrival) { a.VRID = 52 }, vip.TroubleOtherVRID},
		"a claim": {none, func(a *Advertisement, at *Arrival) {
			at.Claim, at.Packet, a.VRID, a.Priority = addr("10.0.0.100"), []byte{}, 0, 0
		}, vip.TroubleClaim},
		"nothing": {none, func(*Advertisement, *Arrival) {}, 0},
		"an order of addresses": {func(c *Candidacy) { c.Router.Addresses = list("10.0.0.100", "10.0.0.102") },
			func(a *Advertisement, _ *Arrival) { a.Addresses = list("10.0.0.102", "10.0.0.100") }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			onBench(t, func(b *bench) {
				b.apply(with(test.wish))
				for range 5 {
					b.hear("10.0.0.9", test.hear)
					b.sleep(time.Second)
				}
				r := b.router(t, "web")
				if len(r.Others) != 1 || r.Others[0].Trouble != test.want || r.Others[0].MAC != "02:00:00:00:00:09" {
					t.Fatalf("%+v", r.Others)
				}
				lines := 1
				if test.want == 0 {
					lines = 0
				}
				if n := strings.Count(b.log(), "at odds"); n != lines {
					t.Errorf("%d lines:\n%s", n, b.log())
				}
				if test.want != 0 && !strings.Contains(b.log(), "trouble="+test.want.String()) {
					t.Error(b.log())
				}
				b.sleep(15 * time.Second)
				if r := b.router(t, "web"); len(r.Others) != 0 {
					t.Errorf("it is remembered for ever: %+v", r.Others)
				}
			})
		})
	}
}

func TestARivalIsTroubleAndAPoliteOneIsNot(t *testing.T) {
	lower := func(a *Advertisement, _ *Arrival) { a.Priority = 50 }
	onBench(t, func(b *bench) {
		b.apply(web)
		b.hear("10.0.0.9", lower)
		b.sleep(3700 * time.Millisecond) // we preempt it
		b.hear("10.0.0.9", lower)        // it yields, and says so once more
		if r := b.router(t, "web"); r.State != vip.RouterActive || r.Others[0].Trouble != 0 {
			t.Errorf("%+v", r)
		}
		b.sleep(3 * time.Second)
		b.hear("10.0.0.9", lower)
		if r := b.router(t, "web"); r.Others[0].Trouble != vip.TroubleRival {
			t.Errorf("%+v", r)
		}
	})
}

// One that speaks two versions is two troubles, not news with each packet; what stops
// is over a while later.
func TestTroubleThatAlternatesIsToldOnce(t *testing.T) {
	onBench(t, func(b *bench) {
		b.apply(web)
		_, before := b.reported()
		for i := range 20 {
			b.hear("10.0.0.9", func(a *Advertisement, _ *Arrival) { a.Version = uint8(2 + i%2) })
			b.sleep(100 * time.Millisecond)
		}
		if _, n := b.reported(); n-before > 2 || strings.Count(b.log(), "at odds") != 1 {
			t.Errorf("%d reports:\n%s", n-before, b.log())
		}
		for range 15 { // it is mended
			b.hear("10.0.0.9", nil)
			b.sleep(time.Second)
		}
		if r := b.router(t, "web"); len(r.Others) != 1 || r.Others[0].Trouble != 0 {
			t.Errorf("%+v", r.Others)
		}
	})
}

// A zombie that claims the address all the time is no successor.
func TestAKnownForeignClaimEndsNoLeaving(t *testing.T) {
	onBench(t, func(b *bench) {
		claim := func(_ *Advertisement, at *Arrival) { at.Claim = addr("10.0.0.100") }
		b.apply(web)
		b.sleep(4 * time.Second)
		b.hear("10.0.0.9", claim)
		b.apply()
		b.hear("10.0.0.9", claim)
		if r := b.router(t, "web"); r.State != vip.RouterLeaving {
			t.Errorf("%+v", r)
		}
	})
}

// FRR announces from the virtual MAC before anybody has heard it advertise.
func TestTheVirtualMACIsNotForeign(t *testing.T) {
	onBench(t, func(b *bench) {
		b.apply(web)
		b.hear("10.0.0.9", func(_ *Advertisement, at *Arrival) {
			at.Claim, at.MAC = addr("10.0.0.100"), [6]byte{0, 0, 0x5e, 0, 1, 51}
		})
		if r := b.router(t, "web"); len(r.Others) != 0 {
			t.Errorf("%+v", r.Others)
		}
	})
}

func TestANewPriorityIsReported(t *testing.T) {
	onBench(t, func(b *bench) {
		b.apply(web)
		b.sleep(4 * time.Second)
		b.apply(with(func(c *Candidacy) { c.Router.Priority = 30 }))
		if r := b.router(t, "web"); r.Priority != 30 {
			t.Errorf("%+v", r)
		}
	})
}

func TestAKnownRoutersMACIsNotForeign(t *testing.T) {
	onBench(t, func(b *bench) {
		b.apply(web)
		b.hear("10.0.0.9", nil)
		b.hear("10.0.0.9", func(_ *Advertisement, at *Arrival) { at.Claim = addr("10.0.0.100") })
		if r := b.router(t, "web"); len(r.Others) != 1 || r.Others[0].Trouble != 0 {
			t.Errorf("%+v", r)
		}
	})
}

func TestDefenceIsAnAnnouncementInTenSeconds(t *testing.T) {
	onBench(t, func(b *bench) {
		b.apply(with(func(c *Candidacy) { c.Defend = true }))
		b.sleep(4 * time.Second)
		b.wire.took()
		for range 19 {
			b.hear("10.0.0.9", func(_ *Advertisement, at *Arrival) { at.Claim = addr("10.0.0.101") })
			b.sleep(time.Second)
		}
		if _, answers := b.wire.took(); len(answers) != 2 || answers[0].Announce != 2 || answers[1].Announce != 3 || !answers[0].Held {
			t.Errorf("%+v", answers)
		}
	})
}

func TestAStuckAgentSendsNothing(t *testing.T) {
	onBench(t, func(b *bench) {
		b.apply(web)
		b.sleep(4 * time.Second)
		b.wire.took()
		b.alive.Store(false)
		b.sleep(3 * time.Second)
		if sent, _ := b.wire.took(); len(sent) != 0 {
			t.Errorf("%q", sent)
		}
		b.alive.Store(true)
		b.sleep(stuck)
		if sent, _ := b.wire.took(); len(sent) != 1 {
			t.Errorf("%q", sent)
		}
	})
}

func TestAStuckAgentTakesNothingOver(t *testing.T) {
	onBench(t, func(b *bench) {
		b.apply(web)
		b.alive.Store(false)
		b.sleep(10 * time.Second)
		if sent, answers := b.wire.took(); len(sent)+len(answers) != 0 {
			t.Errorf("%q %+v", sent, answers)
		}
		b.alive.Store(true)
		b.sleep(stuck)
		if r := b.router(t, "web"); r.State != vip.RouterActive {
			t.Errorf("%+v", r)
		}
	})
}

func TestALinkThatCannotBeListenedOnKeepsItsRoutersOut(t *testing.T) {
	onBench(t, func(b *bench) {
		b.wire.refuses(map[string]error{"eth1": errors.New("there is no link eth1")})
		b.apply(web)
		b.sleep(10 * time.Second)
		if r := b.router(t, "web"); r.State != vip.RouterInitialize || r.Detail != "there is no link eth1" {
			t.Errorf("%+v", r)
		}
		b.wire.refuses(nil)
		b.sleep(listenFor)
		if r := b.router(t, "web"); r.State != vip.RouterBackup || r.Detail != "" {
			t.Errorf("%+v", r)
		}
	})
}

func TestARenamedServiceIsTheSameRouter(t *testing.T) {
	onBench(t, func(b *bench) {
		b.apply(web)
		b.sleep(4 * time.Second)
		b.wire.took()
		b.apply(with(func(c *Candidacy) { c.Name = "www" }))
		sent, answers := b.wire.took()
		if len(sent) != 0 || len(answers) != 2 || answers[0].Router != "www" || !answers[0].Held || answers[1].Router != "web" || answers[1].Held {
			t.Errorf("%q %+v", sent, answers)
		}
		if r := b.router(t, "www"); r.State != vip.RouterActive || b.count() != 1 {
			t.Errorf("%+v", r)
		}
	})
}

// FRR announces before it advertises.
func TestASuccessorThatAnnouncesIsOne(t *testing.T) {
	onBench(t, func(b *bench) {
		b.apply(web)
		b.sleep(4 * time.Second)
		b.hear("10.0.0.9", func(a *Advertisement, _ *Arrival) { a.Priority = 50 })
		b.apply()
		b.hear("10.0.0.9", func(_ *Advertisement, at *Arrival) { at.Claim = addr("10.0.0.100") })
		if r := b.router(t, "web"); r.State != vip.RouterInitialize || r.Cause != vip.RouterRelieved || !r.Answers {
			t.Errorf("%+v", r)
		}
	})
}

func TestAnotherVRIDIsAnotherRouter(t *testing.T) {
	onBench(t, func(b *bench) {
		b.apply(web)
		b.sleep(4 * time.Second)
		b.wire.took()
		b.apply(with(func(c *Candidacy) { c.Router.VRID = 60 }))
		if sent, _ := b.wire.took(); len(sent) != 2 || !strings.HasSuffix(sent[0], "vrid 51 priority 0") {
			t.Errorf("%q", sent)
		}
		if r := b.router(t, "web (VRID 51 on eth1)"); r.State != vip.RouterLeaving || !r.Answers {
			t.Errorf("the old one leaves politely: %+v", r)
		}
		if r := b.router(t, "web"); r.State != vip.RouterBackup || r.VRID != 60 || r.Answers {
			t.Errorf("%+v", r)
		}
		b.sleep(4 * time.Second)
		if r := b.router(t, "web"); r.State != vip.RouterActive || b.count() != 1 {
			t.Errorf("%+v", r)
		}
	})
}

// Two services that swap their VRIDs are the same two routers.
func TestVRIDsThatAreSwapped(t *testing.T) {
	other := with(func(c *Candidacy) {
		c.Name, c.Router.VRID, c.Router.Addresses, c.Rides = "other", 52, list("10.0.0.102"), nil
	})
	onBench(t, func(b *bench) {
		b.apply(web, other)
		b.sleep(4 * time.Second)
		b.wire.took()
		a, z := web, other
		a.Router.VRID, z.Router.VRID = 52, 51
		b.apply(a, z)
		for _, name := range []string{"web", "other"} {
			if r := b.router(t, name); r.State != vip.RouterActive || b.count() != 2 {
				t.Errorf("%+v", r)
			}
		}
	})
}

func TestNewAddressesAreTakenAndAnnounced(t *testing.T) {
	onBench(t, func(b *bench) {
		b.apply(web)
		b.sleep(4 * time.Second)
		b.wire.took()
		b.apply(with(func(c *Candidacy) { c.Rides = on("eth1", 2, "10.0.0.105") }))
		_, answers := b.wire.took()
		if len(answers) != 1 || answers[0].Announce != 2 || !slices.Equal(answers[0].Addresses, on("eth1", 2, "10.0.0.100", "10.0.0.105")) {
			t.Errorf("%+v", answers)
		}
	})
}

func TestASendThatFailsIsTold(t *testing.T) {
	onBench(t, func(b *bench) {
		b.wire.sendErr = errors.New("operation not permitted")
		b.apply(web)
		b.sleep(6 * time.Second)
		if r := b.router(t, "web"); r.Detail != "send an advertisement to 224.0.0.18 on eth1: operation not permitted" {
			t.Errorf("%+v", r)
		}
		b.apply(with(func(c *Candidacy) { c.Router.Priority = 101 }))
		b.sleep(5 * time.Second)
		if n := strings.Count(b.log(), "cannot do its work"); n != 1 {
			t.Errorf("%d lines:\n%s", n, b.log())
		}
	})
}

func TestALinkFullOfNonsenseCostsLittle(t *testing.T) {
	onBench(t, func(b *bench) {
		b.apply(web)
		for i := range 1000 {
			b.hear(fmt.Sprintf("10.0.%d.%d", i/200, 10+i%200), func(a *Advertisement, _ *Arrival) { a.Version = 2 })
		}
		if r := b.router(t, "web"); len(r.Others) != maxOthers {
			t.Errorf("%d are remembered", len(r.Others))
		}
		if n := strings.Count(b.log(), "at odds"); n != maxOthers {
			t.Errorf("%d lines", n)
		}
	})
}

// Two hundred and fifty-five routers beside each other, half of them IPv6.
func TestManyRoutersOnOneLink(t *testing.T) {
	onBench(t, func(b *bench) {
		var all []Candidacy
		for i := range 255 {
			all = append(all, with(func(c *Candidacy) {
				c.Name, c.Router.VRID, c.Rides = fmt.Sprintf("r%03d", i), uint8(i+1), nil
				c.Router.Addresses = []netip.Addr{netip.AddrFrom4([4]byte{10, 1, 0, byte(i)})}
				if i%2 == 1 {
					c.Source, c.Router.Addresses = addr("fe80::5"), []netip.Addr{netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 15: byte(i)})}
				}
			}))
		}
		b.apply(all...)
		b.sleep(3700 * time.Millisecond)
		if sent, _ := b.wire.took(); len(sent) != 255 {
			t.Errorf("%d advertisements", len(sent))
		}
		b.sleep(10 * time.Second)
		if sent, _ := b.wire.took(); len(sent) != 2550 {
			t.Errorf("%d advertisements", len(sent))
		}
		b.apply()
		b.sleep(2 * time.Second)
		if n := b.count(); n != 0 {
			t.Errorf("%d routers are left", n)
		}
	})
}

// FRR asserts itself with an advertisement alone: whoever was told of our MAC hears of the
// virtual one from us. Others announce themselves.
func TestWhoYieldsToAVirtualMACAnnouncesIt(t *testing.T) {
	virtual := [6]byte{0, 0, 0x5e, 0, 1, 51}
	for _, mac := range [][6]byte{virtual, {0, 0, 0x5e, 0, 1, 52}, {2, 0, 0, 0, 0, 9}} {
		onBench(t, func(b *bench) {
			b.apply(web)
			b.sleep(4 * time.Second)
			b.wire.took()
			b.hear("10.0.0.9", func(_ *Advertisement, at *Arrival) { at.MAC = mac })
			_, answers := b.wire.took()
			if len(answers) != 1 || !answers[0].Held || !answers[0].Going || (answers[0].Heir == Heir{mac, web.Interface}) != (mac == virtual) || (answers[0].Announce == 2) != (mac == virtual) {
				t.Errorf("%+v", answers)
			}
			b.sleep(handover)
			if _, answers = b.wire.took(); len(answers) != 1 || answers[0].Held || answers[0].Announce > 0 {
				t.Errorf("%+v", answers)
			}
			b.sleep(4 * time.Second)
			if _, answers = b.wire.took(); len(answers) != 2 || answers[1].Announce == 0 || answers[1].Heir != (Heir{}) {
				t.Errorf("Active again: %+v", answers)
			}
		})
	}
}

// One that leaves while another router with the virtual MAC was Active too has no heir yet.
func TestWhoLeavesNamesNoHeir(t *testing.T) {
	onBench(t, func(b *bench) {
		b.apply(web)
		b.sleep(4 * time.Second)
		b.hear("10.0.0.9", func(a *Advertisement, at *Arrival) { a.Priority, at.MAC = 50, [6]byte{0, 0, 0x5e, 0, 1, 51} })
		b.wire.took()
		b.apply()
		if _, answers := b.wire.took(); len(answers) != 1 || !answers[0].Held || answers[0].Announce > 0 {
			t.Errorf("%+v", answers)
		}
	})
}
