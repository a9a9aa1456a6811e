package kernel

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/anyvip/anyvip/pkg/vip"
)

var (
	v4 = netip.MustParseAddr("192.0.2.10")
	v6 = netip.MustParseAddr("2001:db8:10::10")
)

// agent stands for the engine's owner.
type agent struct {
	t      *testing.T
	engine *Engine
	dir    string
	log    *lockedBuffer
	stop   func()

	mu      sync.Mutex
	reports []Report
	dead    bool // what Alive says the opposite of
}

func newAgent(t *testing.T, dir string) *agent {
	a := &agent{t: t, dir: dir, log: &lockedBuffer{}}
	a.engine = New(Options{
		StateDir: dir,
		Alive:    func() bool { a.mu.Lock(); defer a.mu.Unlock(); return !a.dead },
		Report:   func(r Report) { a.mu.Lock(); defer a.mu.Unlock(); a.reports = append(a.reports, r) },
		Log:      slog.New(slog.NewTextHandler(a.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	return a
}

// start runs an engine until the test or stop ends it.
func start(t *testing.T, dir string, wanted ...netip.Addr) *agent {
	t.Helper()
	a := newAgent(t, dir)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.engine.Run(ctx) }()
	a.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		if t.Failed() {
			lines := strings.SplitAfter(a.log.String(), "\n")
			t.Logf("end of the engine's log:\n%s", strings.Join(lines[max(0, len(lines)-40):], ""))
		}
	})
	t.Cleanup(a.stop)
	a.engine.Apply(Desired{Addresses: wanted})
	return a
}

// openParts makes what runOn needs.
func (a *agent) openParts() (*rtnetlink, *mainTable, *watch) {
	a.t.Helper()
	k, err := openKernel()
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(k.close)
	w, err := openWatch(a.engine.isOthers, a.engine.options.Log)
	if err != nil {
		a.t.Fatal(err)
	}
	table, err := openMainTable(k.handle, w)
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(table.close)
	a.engine.ledger.life = k.life
	return k, table, w
}

// runOn runs the engine on parts that the test made or changed.
func (a *agent) runOn(k *rtnetlink, table routeTable, w *watch) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(w.run)
	running.Go(func() { a.engine.run(ctx, k, table, w.hints) })
	return func() { cancel(); w.close(); running.Wait() }
}

func (a *agent) latest() Report {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.reports) == 0 {
		return Report{}
	}
	return a.reports[len(a.reports)-1]
}

func (a *agent) all() []Report {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.reports)
}

// until waits for a VIP to be in a state.
func (a *agent) until(ip netip.Addr, s vip.AddressState) vip.Address {
	a.t.Helper()
	eventually(a.t, ip.String()+" is "+s.String(), func() bool {
		f, known := a.latest().Addresses[ip]
		return known && f.State == s
	})
	return a.latest().Addresses[ip]
}

// untilBack waits for the report that a VIP was lost and is present again; the
// kernel has it back a moment before.
func (a *agent) untilBack(ip netip.Addr) vip.Address {
	a.t.Helper()
	var f vip.Address
	eventually(a.t, ip.String()+" was lost and is back", func() bool {
		f = a.latest().Addresses[ip]
		return len(f.Lost) > 0 && f.State == vip.AddressPresent
	})
	return f
}

// untilAll waits for all VIPs to be in a state.
func (a *agent) untilAll(ips []netip.Addr, s vip.AddressState) {
	a.t.Helper()
	eventually(a.t, "all are "+s.String(), func() bool {
		r := a.latest()
		for _, ip := range ips {
			if f, known := r.Addresses[ip]; !known || f.State != s {
				return false
			}
		}
		return true
	})
}

// untilNone waits for a report without addresses.
func (a *agent) untilNone() {
	a.t.Helper()
	eventually(a.t, "no address is reported", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.reports) > 0 && len(a.reports[len(a.reports)-1].Addresses) == 0
	})
}

// ipAddr is one address as iproute2, and not our own code, sees it.
type ipAddr struct {
	Local      netip.Addr `json:"local"`
	Prefixlen  int        `json:"prefixlen"`
	Scope      string     `json:"scope"`
	Deprecated bool       `json:"deprecated"`
	Nodad      bool       `json:"nodad"`
	Tentative  bool       `json:"tentative"`
	Valid      uint32     `json:"valid_life_time"`
	Preferred  uint32     `json:"preferred_life_time"`
	Link       string     `json:"-"`
}

// onHost lists where ip is.
func onHost(t *testing.T, addr netip.Addr) (out []ipAddr) {
	t.Helper()
	var links []struct {
		Ifname   string   `json:"ifname"`
		AddrInfo []ipAddr `json:"addr_info"`
	}
	if err := json.Unmarshal([]byte(ip(t, "-j addr")), &links); err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		for _, a := range l.AddrInfo {
			if a.Local == addr {
				a.Link = l.Ifname
				out = append(out, a)
			}
		}
	}
	return out
}

func manyVIPs(n int) []netip.Addr {
	out := make([]netip.Addr, n)
	for i := range out {
		if i%2 == 0 {
			out[i] = netip.AddrFrom4([4]byte{203, 0, 113 - byte(i>>9), byte(i >> 1)})
		} else {
			b := v6.As16()
			b[13], b[14], b[15] = 1, byte(i>>8), byte(i)
			out[i] = netip.AddrFrom16(b)
		}
	}
	return out
}

func setSysctl(t *testing.T, key, value string) {
	t.Helper()
	if err := os.WriteFile("/proc/sys/"+key, []byte(value), 0o644); err != nil {
		t.Fatal(err)
	}
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
func (l *lockedBuffer) String() string    { l.mu.Lock(); defer l.mu.Unlock(); return l.b.String() }
func (l *lockedBuffer) has(s string) bool { return strings.Contains(l.String(), s) }
