package lease

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

// The tests against the real kernel run their bodies in a child process that was
// started inside a network namespace of its own, so that no thread of the test ever
// switches. As an ordinary user the child has a user namespace too.

const (
	envInside  = "ANYVIP_LEASE_TEST_INSIDE" // set: we are that child
	envHolder  = "ANYVIP_LEASE_TEST_HOLDER" // set: we are a process that holds leases, see hold
	envRequire = "ANYVIP_REQUIRE_INTEGRATION"
)

func TestMain(m *testing.M) {
	if os.Getenv(envHolder) != "" {
		if err := hold(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// inNamespace reports whether the test is inside its namespace, which has lo and eth1.
// Outside, it runs the same test inside, and waits.
func inNamespace(t testing.TB, flags ...string) bool {
	t.Helper()
	if os.Getenv(envInside) != "" {
		ip(t, "link set lo up")
		ip(t, "link add eth1 type veth peer name peer1")
		ip(t, "link set peer1 up")
		ip(t, "link set eth1 up")
		return true
	}
	cmd := exec.Command("/proc/self/exe", append([]string{"-test.run=^" + t.Name() + "$", "-test.v", "-test.timeout=2m"}, flags...)...)
	cmd.Env = append(os.Environ(), envInside+"=1", "GORACE=atexit_sleep_ms=0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	runtime.LockOSThread() // Pdeathsig follows the thread
	defer runtime.UnlockOSThread()
	out, err := cmd.CombinedOutput()
	var refused *fs.PathError
	if errors.As(err, &refused) && errors.Is(err, syscall.EPERM) {
		skip(t, "this machine allows no network namespace: "+err.Error())
	}
	_, bench := t.(*testing.B)
	if bench {
		fmt.Printf("%s\n", out)
	} else if t.Logf("inside its namespace:\n%s", out); !bytes.Contains(out, []byte("--- PASS: "+t.Name())) && err == nil {
		err = errors.New("it did not run")
	}
	if err != nil {
		t.Errorf("failed inside its namespace: %v", err)
	} else if bench {
		t.Skip("its figures are above; the time out here is none")
	}
	return false
}

func skip(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv(envRequire) != "" {
		t.Fatalf("skipped although %s is set: %s", envRequire, reason)
	}
	t.Skip(reason)
}

func run(t testing.TB, command ...string) string {
	t.Helper()
	out, err := exec.Command(command[0], command[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, out)
	}
	return string(out)
}

func ip(t testing.TB, args string) string {
	t.Helper()
	return run(t, append([]string{"ip"}, strings.Fields(args)...)...)
}

func indexOf(t testing.TB, link string) int {
	t.Helper()
	nif, err := net.InterfaceByName(link)
	if err != nil {
		t.Fatal(err)
	}
	return nif.Index
}

// leasesOn are leases on a link of this namespace, held.
func leasesOn(t testing.TB, link string, interval time.Duration, ips ...netip.Addr) []Lease {
	t.Helper()
	index := indexOf(t, link)
	out := make([]Lease, len(ips))
	for i, a := range ips {
		out[i] = Lease{Addr: a, Link: link, Index: index, Interval: interval, Held: true}
	}
	return out
}

// released is the same, not held.
func released(l []Lease) []Lease {
	out := make([]Lease, len(l))
	for i := range l {
		out[i] = l[i]
		out[i].Held = false
	}
	return out
}

// eventually polls until what holds, and fails after five seconds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 5 s: %s\n%s", what, run(t, "ip", "addr"))
		}
	}
}

// start runs an engine until the test or stop ends it.
func start(t testing.TB, dir string, l ...Lease) (a *agent, stop func()) {
	t.Helper()
	a = newAgent(nil, dir)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.engine.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		if t.Failed() {
			t.Logf("the engine's log:\n%s", a.log)
		}
	})
	t.Cleanup(stop)
	a.engine.Apply(l)
	return a, stop
}

// until waits for leases to be in a state.
func (a *agent) until(t testing.TB, s vip.AddressState, l ...Lease) {
	t.Helper()
	eventually(t, "all are "+s.String(), func() bool {
		r := a.latest()
		for _, x := range l {
			if f, known := r.Addresses[x.Addr]; !known || f.State != s {
				return false
			}
		}
		return true
	})
}

// ipAddr is one address as iproute2, and not our own code, sees it.
type ipAddr struct {
	Local     netip.Addr `json:"local"`
	Prefixlen int        `json:"prefixlen"`
	Scope     string     `json:"scope"`
	Nodad     bool       `json:"nodad"`
	Tentative bool       `json:"tentative"`
	Valid     uint32     `json:"valid_life_time"`
	Preferred uint32     `json:"preferred_life_time"`
	Link      string     `json:"-"`
}

// onHost lists where an address is.
func onHost(t testing.TB, addr netip.Addr) (out []ipAddr) {
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

// holder is a process of its own that holds leases, to be killed or stopped.
type holder struct {
	cmd *exec.Cmd
	out *bufio.Reader
}

// startHolder starts one, with more namespaces of its own if flags ask for them.
func startHolder(t *testing.T, dir string, flags uintptr, l ...Lease) *holder {
	t.Helper()
	raw, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	h := &holder{cmd: exec.Command("/proc/self/exe", dir, string(raw))}
	h.cmd.Env = append(os.Environ(), envHolder+"=1")
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
	h.cmd.Stderr = os.Stderr
	in, err := h.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = h.cmd.Process.Kill() // it may be stopped
		_ = h.cmd.Wait()
	})
	h.out = bufio.NewReader(out)
	return h
}

// line waits for the next report.
func (h *holder) line(t *testing.T) string {
	t.Helper()
	line, err := h.out.ReadString('\n')
	if err != nil {
		t.Fatalf("holder ended early: %v", err)
	}
	return line
}

// hold runs an engine with the leases of the command line, prints its reports, and
// ends when the standard input does.
func hold() error {
	var l []Lease
	if err := json.Unmarshal([]byte(os.Args[2]), &l); err != nil {
		return err
	}
	e := New(Options{
		StateDir: os.Args[1],
		Alive:    func() bool { return true },
		Report: func(r Report) {
			for _, f := range r.Addresses {
				fmt.Printf("%s %s ours=%t %s;", f.Addr, f.State, f.Ours, f.Detail)
			}
			fmt.Println()
		},
		Added: func([]netip.Addr) {},
		Log:   slog.New(slog.DiscardHandler),
	})
	e.Apply(l)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	return e.Run(ctx)
}
