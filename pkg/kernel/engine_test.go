package kernel

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anyvip/anyvip/pkg/durable"
	"github.com/anyvip/anyvip/pkg/kernel/sysctl"
	"github.com/anyvip/anyvip/pkg/vip"
)

// fakeHost is a kernel with lo alone. The test and the engine share it.
type fakeHost struct {
	mu     sync.Mutex
	on     []netip.Addr
	fail   error // of do, instead of doing
	blind  error // of look
	arp    sysctl.ARP
	unread error // of arpSettings
	links  scene // beside lo
	did    []string
	at     []time.Time                 // of did
	before func(v verb, ip netip.Addr) // called by do
	looks  int
	hints  chan hint // of the bubble
}

func newFakeHost(on ...netip.Addr) *fakeHost { return &fakeHost{on: on} }

func (h *fakeHost) look(hint) (scene, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.looks++
	lo := link{name: "lo", index: 1, enabled: true, up: true}
	for _, ip := range h.on {
		p := netip.PrefixFrom(ip, ip.BitLen())
		lo.addresses = append(lo.addresses, address{prefix: p, subnet: p, hostScope: true, deprecated: true, permanent: true})
	}
	return append(scene{lo}, slices.Clone(h.links)...), h.blind
}

func (h *fakeHost) arpSettings(string) (sysctl.ARP, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.arp, h.unread
}

func (h *fakeHost) do(v verb, c change) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.before != nil {
		h.before(v, c.ip)
	}
	h.did, h.at = append(h.did, fmt.Sprintf("%s %s", v, c.ip)), append(h.at, time.Now())
	if h.fail != nil {
		return h.fail
	}
	switch v {
	case add:
		if slices.Contains(h.on, c.ip) {
			return errExists
		}
		h.on = append(h.on, c.ip)
	case remove:
		h.on = slices.DeleteFunc(h.on, func(ip netip.Addr) bool { return ip == c.ip })
	case mend:
	}
	return nil
}

// takeAway does as an administrator with "ip addr del" does.
func (h *fakeHost) takeAway(ip netip.Addr) {
	h.mu.Lock()
	h.on = slices.DeleteFunc(h.on, func(on netip.Addr) bool { return on == ip })
	h.mu.Unlock()
	h.hints <- hintAddresses
}

func (h *fakeHost) set(change func()) { h.mu.Lock(); defer h.mu.Unlock(); change() }

func (h *fakeHost) looked() int { h.mu.Lock(); defer h.mu.Unlock(); return h.looks }

func (h *fakeHost) done() []string { h.mu.Lock(); defer h.mu.Unlock(); return slices.Clone(h.did) }

// bubble runs body beside an engine over h, in fake time.
func bubble(t *testing.T, h *fakeHost, body func(t *testing.T, a *agent)) {
	t.Helper()
	bubbleOver(t, h, newFakeTable(), body)
}

func bubbleOver(t *testing.T, h *fakeHost, table *fakeTable, body func(t *testing.T, a *agent)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h.hints = make(chan hint, 1)
		a := newAgent(t, dir)
		a.engine.ledger.life = durable.Life{Boot: "b"}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { a.engine.run(ctx, h, table, h.hints) })
		body(t, a)
		cancel()
		running.Wait()
	})
}

func (a *agent) fact(ip netip.Addr) vip.Address { synctest.Wait(); return a.latest().Addresses[ip] }

func TestNothingHappensBeforeTheFirstDesiredSet(t *testing.T) {
	h := newFakeHost(v4)
	bubble(t, h, func(t *testing.T, a *agent) {
		writeLedger(t, a, v4)
		time.Sleep(time.Hour)
		if did := h.done(); len(did) != 0 {
			t.Errorf("did %v", did)
		}
		if r := a.latest(); r.Addresses == nil || len(r.Addresses) != 0 || len(r.Links) != 1 {
			t.Errorf("reported %+v", r)
		}
		a.engine.Apply(Desired{})
		synctest.Wait()
		if did := h.done(); !slices.Equal(did, []string{"remove 192.0.2.10"}) {
			t.Errorf("then did %v", did)
		}
	})
}

func writeLedger(t *testing.T, a *agent, owned ...netip.Addr) {
	t.Helper()
	l := ledger{path: filepath.Join(a.dir, "addresses.json"), life: durable.Life{Boot: "b"}}
	m := map[netip.Addr]string{}
	for _, ip := range owned {
		m[ip] = "lo"
	}
	if err := l.write(m); err != nil {
		t.Fatal(err)
	}
}

func TestLatestDesiredSetWinsAndApplyNeverBlocks(t *testing.T) {
	h := newFakeHost()
	bubble(t, h, func(t *testing.T, a *agent) {
		for i := range 1000 {
			a.engine.Apply(Desired{Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})}})
		}
		a.engine.Apply(Desired{Addresses: []netip.Addr{netip.MustParseAddr("::ffff:192.0.2.10")}}) // IPv4 in disguise
		time.Sleep(time.Second)
		synctest.Wait()
		if h.set(func() {}); !slices.Equal(h.on, []netip.Addr{v4}) {
			t.Errorf("on the host: %v", h.on)
		}
		reports := len(a.all())
		for range 10 {
			a.engine.Apply(Desired{Addresses: []netip.Addr{v4}})
			h.hints <- hintLinks
			time.Sleep(time.Second)
		}
		if n := len(a.all()); n != reports {
			t.Errorf("%d reports of nothing new", n-reports)
		}
		looks := h.looked()
		a.engine.Apply(Desired{Addresses: []netip.Addr{v4}})
		if synctest.Wait(); h.looked() != looks {
			t.Error("the same set made it look")
		}
	})
}

func TestOwnershipIsWrittenDownBeforeTheAddressIsAdded(t *testing.T) {
	h := newFakeHost()
	bubble(t, h, func(t *testing.T, a *agent) {
		h.before = func(v verb, ip netip.Addr) {
			raw, err := os.ReadFile(filepath.Join(a.dir, "addresses.json"))
			if err != nil || !strings.Contains(string(raw), `"`+ip.String()+`"`) {
				t.Errorf("%s %s while the file says: %s %v", v, ip, raw, err)
			}
		}
		a.engine.Apply(Desired{Addresses: []netip.Addr{v4, v6}})
		if f := a.fact(v6); f.State != vip.AddressPresent {
			t.Errorf("fact: %+v", f)
		}
		a.engine.Apply(Desired{Addresses: []netip.Addr{v6}}) // removed before it is struck out
		if f := a.fact(v4); f.State != vip.AddressUnknown {
			t.Errorf("fact: %+v", f)
		}
	})
}

func TestAStuckAgentAddsNothing(t *testing.T) {
	h := newFakeHost()
	bubble(t, h, func(t *testing.T, a *agent) {
		setDead := func(dead bool) { a.mu.Lock(); defer a.mu.Unlock(); a.dead = dead }
		a.engine.Apply(Desired{Addresses: []netip.Addr{v4}})
		a.fact(v4)
		setDead(true)
		h.takeAway(v4)
		a.engine.Apply(Desired{Addresses: []netip.Addr{v4, v6}})
		time.Sleep(time.Minute)
		for _, ip := range []netip.Addr{v4, v6} {
			if f := a.fact(ip); f.State != vip.AddressAbsent || !strings.Contains(f.Detail, "stuck") {
				t.Errorf("fact: %+v", f)
			}
		}
		if did := h.done(); len(did) != 1 {
			t.Errorf("did %v", did)
		}
		setDead(false)
		time.Sleep(lastRetry)
		if four, six := a.fact(v4), a.fact(v6); four.State != vip.AddressPresent || six.State != vip.AddressPresent || len(four.Lost) != 1 || len(six.Lost) != 0 {
			t.Errorf("a second after it lives again: %+v %+v", four, six)
		}
	})
}

func TestFailedPutBackIsRetriedWithBackoff(t *testing.T) {
	h := newFakeHost()
	bubble(t, h, func(t *testing.T, a *agent) {
		a.engine.Apply(Desired{Addresses: []netip.Addr{v4}})
		a.fact(v4)
		time.Sleep(lookEvery / 2) // so that the regular look does not fall on the loss
		h.set(func() { h.fail, h.did, h.at = errors.New("no buffer space"), nil, nil })
		lostAt := time.Now()
		h.takeAway(v4)
		time.Sleep(10 * time.Second)
		f := a.fact(v4)
		if f.State != vip.AddressAbsent || f.Detail != "add 192.0.2.10 on lo: no buffer space" || !f.Since.Equal(lostAt) || len(f.Lost) != 1 || !f.Lost[0].Equal(lostAt) {
			t.Errorf("fact: %+v", f)
		}
		var gaps []time.Duration
		for i := range 9 {
			gaps = append(gaps, h.at[i+1].Sub(h.at[i]))
		}
		want := []time.Duration{10, 20, 40, 80, 160, 320, 640, 1000, 1000}
		for i := range want {
			want[i] *= time.Millisecond
		}
		if !slices.Equal(gaps, want) {
			t.Errorf("tries were apart by %v, want %v", gaps, want)
		}
		if n := strings.Count(a.log.String(), "address not changed"); n != 1 {
			t.Errorf("logged %d times", n)
		}
		h.set(func() { h.fail = nil })
		time.Sleep(lastRetry)
		if f := a.fact(v4); f.State != vip.AddressPresent || f.Detail != "" || len(f.Lost) != 1 {
			t.Errorf("fact: %+v", f)
		}
	})
}

func TestLossesAreCountedPerAct(t *testing.T) {
	h := newFakeHost()
	bubble(t, h, func(t *testing.T, a *agent) {
		a.engine.Apply(Desired{Addresses: []netip.Addr{v4}})
		a.fact(v4)
		time.Sleep(time.Second)
		for range 9 { // one "ip addr flush"
			h.takeAway(v4)
			time.Sleep(10 * time.Millisecond)
		}
		if f := a.fact(v4); len(f.Lost) != 1 || f.State != vip.AddressPresent {
			t.Errorf("after one act: %+v", f)
		}
		var want []time.Time
		for range 7 {
			time.Sleep(time.Second)
			want = append(want, time.Now())
			h.takeAway(v4)
		}
		if f := a.fact(v4); !slices.EqualFunc(f.Lost, want[2:], time.Time.Equal) {
			t.Errorf("lost %v, want the last five of %v", f.Lost, want)
		}
		var losses, returns int
		for _, r := range a.all() {
			switch r.Addresses[v4].State {
			case vip.AddressAbsent:
				losses++
			case vip.AddressPresent:
				returns++
			case vip.AddressUnknown, vip.AddressTentative, vip.AddressRefused:
			}
		}
		if losses != 16 || returns != 17 {
			t.Errorf("reported %d losses and %d returns", losses, returns)
		}
	})
}

func TestWhatSomebodyAddedFirstIsTheirs(t *testing.T) {
	h := newFakeHost()
	bubble(t, h, func(t *testing.T, a *agent) {
		h.before = func(_ verb, ip netip.Addr) { h.on = append(h.on, ip) }
		a.engine.Apply(Desired{Addresses: []netip.Addr{v4}})
		if f := a.fact(v4); f.State != vip.AddressPresent || f.Ours {
			t.Errorf("fact: %+v", f)
		}
		a.engine.Apply(Desired{})
		synctest.Wait()
		if did := h.done(); len(did) != 1 {
			t.Errorf("did %v", did)
		}
		if raw, _ := os.ReadFile(filepath.Join(a.dir, "addresses.json")); strings.Contains(string(raw), v4.String()) {
			t.Errorf("the file says it is ours: %s", raw)
		}
	})
}

func TestALookThatFailsChangesNoState(t *testing.T) {
	h := newFakeHost()
	bubble(t, h, func(t *testing.T, a *agent) {
		a.engine.Apply(Desired{Addresses: []netip.Addr{v4}})
		a.fact(v4)
		h.set(func() { h.blind = errors.New("no descriptors") })
		h.takeAway(v4)
		time.Sleep(time.Minute)
		if f := a.fact(v4); f.State != vip.AddressPresent || !strings.Contains(f.Detail, "no descriptors") {
			t.Errorf("fact: %+v", f)
		}
		if n := strings.Count(a.log.String(), "addresses cannot be kept"); n != 1 {
			t.Errorf("logged %d times", n)
		}
		h.set(func() { h.blind = nil })
		time.Sleep(lastRetry)
		if f := a.fact(v4); f.State != vip.AddressPresent || f.Detail != "" || len(f.Lost) != 1 || !a.log.has("addresses are kept again") {
			t.Errorf("fact: %+v", f)
		}
	})
}

func TestCorruptLedgerIsMovedAsideAndNothingIsRemoved(t *testing.T) {
	h := newFakeHost(v4, v6)
	bubble(t, h, func(t *testing.T, a *agent) {
		path := filepath.Join(a.dir, "addresses.json")
		if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		a.engine.Apply(Desired{Addresses: []netip.Addr{v4}})
		if f := a.fact(v4); f.State != vip.AddressPresent || f.Ours {
			t.Errorf("fact: %+v", f)
		}
		if did := h.done(); len(did) != 0 {
			t.Errorf("did %v", did)
		}
		if _, err := os.Stat(path + ".corrupt"); err != nil || !a.log.has("ownership file is corrupt") {
			t.Errorf("aside: %v, log: %s", err, a.log)
		}
	})
}

func TestUnreadableLedgerRefusesUntilItCanBeRead(t *testing.T) {
	h := newFakeHost(v6)
	bubble(t, h, func(t *testing.T, a *agent) {
		path := filepath.Join(a.dir, "addresses.json")
		if err := os.Mkdir(path, 0o700); err != nil { // a directory cannot be read as a file
			t.Fatal(err)
		}
		a.engine.Apply(Desired{Addresses: []netip.Addr{v4}})
		if f := a.fact(v4); f.State != vip.AddressRefused || !strings.Contains(f.Detail, path) {
			t.Errorf("fact: %+v", f)
		}
		if did := h.done(); len(did) != 0 {
			t.Errorf("did %v", did)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		writeLedger(t, a, v6)
		time.Sleep(lastRetry)
		if f := a.fact(v4); f.State != vip.AddressPresent || !f.Ours {
			t.Errorf("fact: %+v", f)
		}
		if did := h.done(); !slices.Equal(did, []string{"remove 2001:db8:10::10", "add 192.0.2.10"}) {
			t.Errorf("did %v", did)
		}
	})
}

// Without descriptors no sysctl can be read. That says nothing about a VIP that
// is here, and only one that is not must wait.
func TestSysctlsThatCannotBeReadTakeNothingAway(t *testing.T) {
	h := newFakeHost()
	h.arp = sysctl.ARP{Ignore: 1, Announce: 2}
	h.links = parseScene(t, "eth0 192.0.2.1/24")
	bubble(t, h, func(t *testing.T, a *agent) {
		other := netip.MustParseAddr("192.0.2.11")
		unread := errors.New("cannot read /proc/sys/net/ipv4/conf/all/arp_Ignore: too many open files")
		h.set(func() { h.unread = unread })
		a.engine.Apply(Desired{Addresses: []netip.Addr{v4}})
		if f := a.fact(v4); f.State != vip.AddressRefused || !strings.Contains(f.Detail, unread.Error()) {
			t.Errorf("nothing was ever read: %+v", f)
		}
		h.set(func() { h.unread = nil })
		time.Sleep(lastRetry)
		if f := a.fact(v4); f.State != vip.AddressPresent {
			t.Errorf("a second after it can be read: %+v", f)
		}
		h.set(func() { h.unread = unread })
		a.engine.Apply(Desired{Addresses: []netip.Addr{v4, other}})
		time.Sleep(2 * lookEvery)
		if here, added := a.fact(v4), a.fact(other); here.State != vip.AddressPresent || added.State != vip.AddressPresent {
			t.Errorf("with what was read last: %+v %+v", here, added)
		}
		if did := h.done(); !slices.Equal(did, []string{"add 192.0.2.10", "add 192.0.2.11"}) {
			t.Errorf("did %v", did)
		}
	})
}

func TestAnEarlierRunsVIPStaysWhileSysctlsCannotBeRead(t *testing.T) {
	h := newFakeHost(v4)
	h.unread, h.links = errors.New("too many open files"), parseScene(t, "eth0 192.0.2.1/24")
	bubble(t, h, func(t *testing.T, a *agent) {
		writeLedger(t, a, v4)
		a.engine.Apply(Desired{Addresses: []netip.Addr{v4}})
		time.Sleep(2 * lookEvery)
		if f := a.fact(v4); f.State != vip.AddressPresent || !f.Ours || len(h.done()) != 0 {
			t.Errorf("fact: %+v, did %v", f, h.done())
		}
	})
}

// Hints of routes, one before each retry is due, must put off neither the retry
// of an address nor the look at everything.
func TestHintsPutNothingOff(t *testing.T) {
	h := newFakeHost()
	bubble(t, h, func(t *testing.T, a *agent) {
		flap := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(900 * time.Millisecond) {
				h.hints <- hintRoutes
			}
		}
		h.set(func() { h.fail = errors.New("no buffer space") })
		a.engine.Apply(Desired{Addresses: []netip.Addr{v4}})
		a.fact(v4)
		time.Sleep(10 * time.Second) // the backoff is at its longest
		tries := len(h.done())
		flap(9 * time.Minute)
		if n := len(h.done()) - tries; n < 530 || n > 550 {
			t.Errorf("%d tries in nine minutes, want one a second", n)
		}
		h.set(func() { h.fail = nil })
		time.Sleep(lastRetry)
		if f := a.fact(v4); f.State != vip.AddressPresent {
			t.Fatalf("fact: %+v", f)
		}
		looks := h.looked()
		flap(9 * time.Minute)
		if n := h.looked() - looks; n < 17 || n > 19 {
			t.Errorf("%d looks in nine minutes, want one each %v", n, lookEvery)
		}
	})
}

func TestALinkThatIsSetDownIsNoLoss(t *testing.T) {
	h := newFakeHost()
	h.links = parseScene(t, "eth1 192.0.2.10/32")
	bubble(t, h, func(t *testing.T, a *agent) {
		a.engine.Apply(Desired{Addresses: []netip.Addr{v4}})
		if f := a.fact(v4); f.State != vip.AddressPresent || f.Link != "eth1" {
			t.Errorf("fact: %+v", f)
		}
		h.set(func() { h.links[0].enabled, h.links[0].up = false, false })
		h.hints <- hintLinks
		if f := a.fact(v4); f.State != vip.AddressAbsent || len(f.Lost) != 0 || !strings.Contains(f.Detail, "eth1, which is down") {
			t.Errorf("fact: %+v", f)
		}
		if a.log.has("address was taken away") {
			t.Error("the log blames somebody")
		}
	})
}
