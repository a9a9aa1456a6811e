package neighbor

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

// The tests with real links run their bodies in a child process inside a network
// namespace of its own. The other end of its link is in the namespace of another
// child, which ends with the test; neither has a name, so nothing is left.

const (
	envInside  = "ANYVIP_NEIGHBOR_TEST_INSIDE" // set: we are that child
	envFarEnd  = "ANYVIP_NEIGHBOR_TEST_FAR"    // set: we are the other one
	envRequire = "ANYVIP_REQUIRE_INTEGRATION"
)

func TestMain(m *testing.M) {
	if os.Getenv(envFarEnd) != "" {
		if err := farEnd(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// inNamespace reports whether the test is inside its namespace. Outside, it
// runs the same test inside, and waits.
func inNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv(envInside) != "" {
		run(t, "ip", "link", "set", "lo", "up")
		sysctl(t, "default/accept_ra", "0") // or the kernel solicits routers too
		return true
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), envInside+"=1", "GORACE=atexit_sleep_ms=0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
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
	t.Logf("inside its namespace:\n%s", out)
	if err == nil && bytes.Contains(out, []byte("--- SKIP: "+t.Name())) {
		t.Skip("see above")
	}
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Errorf("test failed inside its namespace: %v", err)
	}
	return false
}

func skip(t *testing.T, reason string) {
	t.Helper()
	if os.Getenv(envRequire) != "" {
		t.Fatalf("skipped although %s is set: %s", envRequire, reason)
	}
	t.Skip(reason)
}

func run(t *testing.T, command ...string) string {
	t.Helper()
	out, err := exec.Command(command[0], command[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, out)
	}
	return string(out)
}

// sysctl sets one of net.ipv6.conf in our namespace.
func sysctl(t *testing.T, name, value string) {
	t.Helper()
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/"+name, []byte(value), 0o644); err != nil {
		skip(t, err.Error())
	}
}

// eventually polls until what holds.
func eventually(t *testing.T, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", limit, what)
		}
	}
}

// far is the namespace at the other end of our link eth1; the link is eth0
// there.
type far struct {
	t   *testing.T
	pid int
	in  io.Writer
	out <-chan string // lines
}

// newFar makes the namespace and the link; our end is up, the other is not.
func newFar(t *testing.T) *far {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), envFarEnd+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 1000)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		_ = in.Close()
		for range lines {
			continue // until it ended
		}
		_ = cmd.Wait()
	})
	f := &far{t: t, pid: cmd.Process.Pid, in: in, out: lines}
	f.makeLink()
	return f
}

func (f *far) makeLink() {
	f.t.Helper()
	run(f.t, "ip", "link", "add", "eth1", "type", "veth", "peer", "name", "eth0", "netns", strconv.Itoa(f.pid))
	run(f.t, "ip", "link", "set", "eth1", "up")
}

// command is a command in the other namespace.
func (f *far) command(argv ...string) []string {
	return append([]string{"nsenter", "-t", strconv.Itoa(f.pid), "-n"}, argv...)
}

func (f *far) run(argv ...string) string {
	f.t.Helper()
	return run(f.t, f.command(argv...)...)
}

func (f *far) up() { f.t.Helper(); f.run("ip", "link", "set", "eth0", "up") }

// engineRig is an engine that really runs.
type engineRig struct {
	t      *testing.T
	engine *Engine

	mutex sync.Mutex
	last  Report
}

func startEngine(t *testing.T) *engineRig {
	t.Helper()
	r := &engineRig{t: t}
	r.engine = New(Options{Report: r.report, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.engine.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *engineRig) report(now Report) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.last = now
}

func (r *engineRig) neighbor() vip.Neighbor {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.last.Neighbors["eth1"]
}

// want applies eth1, as it is now.
func (r *engineRig) want(isUp bool) {
	r.t.Helper()
	ifi, err := net.InterfaceByName("eth1")
	if err != nil {
		r.t.Fatal(err)
	}
	r.engine.Apply(Desired{Links: []Link{{Link: vip.Link{Name: "eth1", Index: ifi.Index, Up: isUp}}}})
}
