package lease

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/anyvip/anyvip/pkg/durable"
	"github.com/anyvip/anyvip/pkg/vip"
)

var (
	v4 = netip.MustParseAddr("192.0.2.10")
	v6 = netip.MustParseAddr("2001:db8:10::10")
)

const eth1, eth2 = 5, 6

// held and candidate are leases on eth1 with an interval of a second.
func held(ip netip.Addr) Lease {
	return Lease{Addr: ip, Link: "eth1", Index: eth1, Interval: time.Second, Held: true}
}
func candidate(ip netip.Addr) Lease {
	return Lease{Addr: ip, Link: "eth1", Index: eth1, Interval: time.Second}
}

// fakeHost is a kernel that counts lifetimes. The test and the engine share it.
type fakeHost struct {
	mu     sync.Mutex
	on     map[spot]*fakeAddress
	did    []act
	looks  int
	fail   func(request) error // instead of doing
	doubt  bool                // answers get lost
	before func(request)       // called before each
	blind  error               // of look
	gaps   bool                // looks are not complete
	hints  chan struct{}       // of the bubble

	links    map[int]*station // by index: macvlans, and eth1 and eth2
	last     int              // index that was given out last
	wrong    string           // what flux says
	stubborn error            // of alter, instead of doing
	altered  []linkAct
	slow     time.Duration // what each takes
}

type fakeAddress struct {
	bits    int
	expires time.Time // zero: permanent
}

// act is what the engine did.
type act struct {
	verb verb
	spot spot
	at   time.Time
	left time.Duration // of the lifetime before it
}

func (a act) String() string { return fmt.Sprintf("%s %s on %d", a.verb, a.spot.addr, a.spot.index) }

func newFakeHost() *fakeHost {
	return &fakeHost{on: map[spot]*fakeAddress{}, last: 100, links: map[int]*station{
		eth1: {name: "eth1", index: eth1, up: true, mtu: 1500}, eth2: {name: "eth2", index: eth2, up: true, mtu: 1500}}}
}

// age removes what expired; the mutex is held.
func (h *fakeHost) age() {
	for s, a := range h.on {
		if !a.expires.IsZero() && !time.Now().Before(a.expires) {
			delete(h.on, s)
		}
	}
}

func (h *fakeHost) look() (seen []place, complete bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.looks++
	h.age()
	for s, a := range h.on {
		p := place{spot: s, bits: a.bits, permanent: a.expires.IsZero()}
		if !p.permanent {
			p.seconds = uint32((time.Until(a.expires) + time.Second - 1) / time.Second)
		}
		seen = append(seen, p)
	}
	if h.gaps {
		return nil, false, nil
	}
	return seen, true, h.blind
}

func (h *fakeHost) stations() (out []station, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.links {
		out = append(out, *s)
	}
	return out, h.blind
}

func (h *fakeHost) flux(string) string { h.mu.Lock(); defer h.mu.Unlock(); return h.wrong }

// alter does as the kernel: addresses go with their link, those of IPv6 when it is down.
func (h *fakeHost) alter(a alteration) (int, error) {
	h.mu.Lock()
	slow := h.slow
	h.mu.Unlock()
	time.Sleep(slow)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.age()
	h.altered = append(h.altered, a.act)
	if h.stubborn != nil {
		return 0, h.stubborn
	}
	s := h.links[a.index]
	if s == nil && a.act != construct {
		return 0, unix.ENODEV
	}
	switch a.act {
	case construct:
		h.last++
		h.links[h.last] = &station{name: a.what.name(), index: h.last, macvlan: true, alias: a.mark, mac: a.what.mac, mtu: h.links[a.what.lower].mtu}
		return h.last, nil
	case raise:
		s.up = true
	case sink:
		s.up = false
	case resize:
		s.mtu = a.mtu
	case demolish:
		delete(h.links, a.index)
	}
	for x := range h.on {
		if x.index == a.index && (a.act == demolish || a.act == sink && x.addr.Is6()) {
			delete(h.on, x)
		}
	}
	return a.index, nil
}

// macvlan is the link with a name; the zero value if there is none.
func (h *fakeHost) macvlan(name string) station {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.links {
		if s.name == name {
			return *s
		}
	}
	return station{}
}

// carries reports whether the host has an address on a link.
func (h *fakeHost) carries(ip netip.Addr, index int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.age()
	return h.on[spot{ip, index}] != nil
}

// acts are what was done to links since the last time.
func (h *fakeHost) acts() (out string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, a := range h.altered {
		out += a.String() + ";"
	}
	h.altered = nil
	return out
}

func (h *fakeHost) linkName(index int) string {
	return map[int]string{1: "lo", eth1: "eth1", eth2: "eth2"}[index]
}

func (h *fakeHost) do(list []request) []error {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]error, len(list))
	for i, r := range list {
		h.age()
		if h.before != nil {
			h.before(r)
		}
		a := act{verb: r.verb, spot: r.spot, at: time.Now()}
		if on := h.on[r.spot]; on != nil {
			a.left = time.Until(on.expires)
		}
		h.did = append(h.did, a)
		if h.fail != nil {
			if out[i] = h.fail(r); out[i] != nil {
				continue
			}
		}
		out[i] = h.one(r)
		if h.doubt {
			out[i] = errDoubt
		}
	}
	if len(list) > atOnce {
		panic("too many at once")
	}
	return out
}

func (h *fakeHost) one(r request) error {
	on := h.on[r.spot]
	switch {
	case r.verb == remove && on == nil:
		return unix.EADDRNOTAVAIL
	case r.verb == remove:
		delete(h.on, r.spot)
	case r.verb == add && on != nil:
		return unix.EEXIST
	default:
		h.on[r.spot] = &fakeAddress{r.spot.addr.BitLen(), time.Now().Add(time.Duration(r.seconds) * time.Second)}
	}
	return nil
}

func (h *fakeHost) looked() int { h.mu.Lock(); defer h.mu.Unlock(); return h.looks }

func (h *fakeHost) set(change func()) { h.mu.Lock(); defer h.mu.Unlock(); change() }

func (h *fakeHost) hint() {
	select {
	case h.hints <- struct{}{}:
	default:
	}
}

// put does as an administrator with "ip addr add" does, or as an earlier run of ours;
// lifetime 0 is for ever.
func (h *fakeHost) put(ip netip.Addr, index, bits int, lifetime time.Duration) {
	a := &fakeAddress{bits: bits}
	if lifetime > 0 {
		a.expires = time.Now().Add(lifetime)
	}
	h.set(func() { h.on[spot{ip, index}] = a })
	if h.hints != nil {
		h.hint()
	}
}

func (h *fakeHost) takeAway(ip netip.Addr) {
	h.set(func() { delete(h.on, spot{ip, eth1}) })
	h.hint()
}

// has reports whether the host has an address on eth1.
func (h *fakeHost) has(ip netip.Addr) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.age()
	return h.on[spot{ip, eth1}] != nil
}

// done returns what was done since the last time.
func (h *fakeHost) done() []act {
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	d := h.did
	h.did = nil
	return d
}

// said is the same as text.
func (h *fakeHost) said() (out []string) {
	for _, a := range h.done() {
		out = append(out, a.String())
	}
	return out
}

// agent stands for the engine's owner.
type agent struct {
	t      *testing.T
	engine *Engine
	dir    string
	log    *lockedBuffer

	mu      sync.Mutex
	reports []Report
	added   [][]netip.Addr // since the latest report
	early   [][]netip.Addr // before it
	dead    bool           // what Alive says the opposite of
	hold    time.Duration  // how long Report holds the engine up
}

func newAgent(t *testing.T, dir string) *agent {
	a := &agent{t: t, dir: dir, log: &lockedBuffer{}}
	a.engine = New(Options{
		StateDir: dir,
		Alive:    func() bool { a.mu.Lock(); defer a.mu.Unlock(); return !a.dead },
		Report: func(r Report) {
			a.mu.Lock()
			a.reports = append(a.reports, r)
			a.early, a.added = a.added, nil
			hold := a.hold
			a.hold = 0
			a.mu.Unlock()
			time.Sleep(hold)
		},
		Added: func(list []netip.Addr) { a.set(func() { a.added = append(a.added, list) }) },
		Log:   slog.New(slog.NewTextHandler(a.log, nil)),
	})
	return a
}

func (a *agent) set(change func()) { a.mu.Lock(); defer a.mu.Unlock(); change() }

func (a *agent) latest() Report {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.reports) == 0 {
		return Report{}
	}
	return a.reports[len(a.reports)-1]
}

func (a *agent) count() int { a.mu.Lock(); defer a.mu.Unlock(); return len(a.reports) }

func (a *agent) apply(l ...Lease) { a.engine.Apply(l); synctest.Wait() }

func (a *agent) fact(ip netip.Addr) vip.Address { synctest.Wait(); return a.latest().Addresses[ip] }

// bubble runs body beside an engine over h, in fake time. Prepare comes first.
func bubble(t *testing.T, h *fakeHost, prepare func(a *agent), body func(t *testing.T, a *agent)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h.hints = make(chan struct{}, 1)
		a := newAgent(t, dir)
		a.engine.disk.life = durable.Life{Boot: "b"}
		if prepare != nil {
			prepare(a)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { a.engine.run(ctx, h, h, h.hints) })
		synctest.Wait()
		body(t, a)
		cancel()
		ended := time.Now()
		running.Wait()
		if took := time.Since(ended); took > patience {
			t.Errorf("Run ended %s late", took)
		}
		time.Sleep(2 * patience) // a disk that hangs comes back meanwhile
	})
}

func (a *agent) file() string { return filepath.Join(a.dir, "leases.json") }

// writeFile writes what an earlier run knew to be on eth1.
func (a *agent) writeFile(ips ...netip.Addr) {
	a.t.Helper()
	books := map[spot]string{}
	for _, ip := range ips {
		books[spot{ip, eth1}] = "eth1"
	}
	raw, err := encode(books, durable.Life{Boot: "b"})
	if err == nil {
		err = os.WriteFile(a.file(), raw, 0o600)
	}
	if err != nil {
		a.t.Fatal(err)
	}
}

// written lists what the file has.
func (a *agent) written() (out []string) {
	raw, err := os.ReadFile(a.file())
	if err != nil {
		return nil
	}
	books, err := decode(raw, durable.Life{Boot: "b"})
	if err != nil {
		return []string{err.Error()}
	}
	for s := range books {
		out = append(out, s.addr.String())
	}
	slices.Sort(out)
	return out
}

func many(n int) []netip.Addr {
	out := make([]netip.Addr, n)
	for i := range out {
		out[i] = netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)})
	}
	return out
}

// lockedBuffer is a log that a test reads while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}
func (l *lockedBuffer) String() string        { l.mu.Lock(); defer l.mu.Unlock(); return l.b.String() }
func (l *lockedBuffer) count(part string) int { return strings.Count(l.String(), part) }
func (l *lockedBuffer) has(part string) bool  { return l.count(part) > 0 }
