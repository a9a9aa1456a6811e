package kernel

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The tests against the real kernel run their bodies in a child process that
// was started inside a network namespace of its own, so that no thread of the
// test ever switches. As an ordinary user the child has a user namespace too.

const (
	envInside  = "ANYVIP_KERNEL_TEST_INSIDE" // set: we are that child
	envRole    = "ANYVIP_KERNEL_TEST_ROLE"   // set: we are a helper of that child, see roles
	envRequire = "ANYVIP_REQUIRE_INTEGRATION"
)

func TestMain(m *testing.M) {
	if role := os.Getenv(envRole); role != "" {
		if err := roles()[role](); err != nil {
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
		return true
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), envInside+"=1", "GORACE=atexit_sleep_ms=0")
	cmd.SysProcAttr = newNamespace()
	out, err := output(cmd)
	var refused *fs.PathError
	if errors.As(err, &refused) && errors.Is(err, syscall.EPERM) {
		skip(t, "this machine allows no network namespace: "+err.Error())
	}
	t.Logf("inside its namespace:\n%s", out)
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Errorf("test failed inside its namespace: %v", err)
	}
	return false
}

func newNamespace() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if os.Getuid() != 0 {
		a.Cloneflags |= syscall.CLONE_NEWUSER
		a.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	return a
}

// output runs cmd from a locked thread, which Pdeathsig follows.
func output(cmd *exec.Cmd) ([]byte, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return cmd.CombinedOutput()
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

func ip(t *testing.T, args string) string {
	t.Helper()
	return run(t, append([]string{"ip"}, strings.Fields(args)...)...)
}

// eventually polls until what holds, and fails after five seconds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 5 s: %s\n%s", what, run(t, "ip", "addr"))
		}
	}
}

// helper is another process of a test. It ends when its standard input does.
type helper struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// roles are what a helper can do.
func roles() map[string]func() error {
	return map[string]func() error{
		"keep":         keep,
		"neighbour":    neighbour,
		"route":        routeKeeper,
		"unprivileged": unprivileged,
	}
}

// startHelper starts a process with a role in this namespace, or in a new one.
func startHelper(t *testing.T, role string, cloneflags uintptr, args ...string) *helper {
	t.Helper()
	h := &helper{cmd: exec.Command("/proc/self/exe", args...)}
	h.cmd.Env = append(os.Environ(), envRole+"="+role)
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: cloneflags}
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
	t.Cleanup(func() { _ = in.Close(); _ = h.cmd.Wait() })
	h.in, h.out = in, bufio.NewReader(out)
	return h
}

// line waits for the helper's next line.
func (h *helper) line(t *testing.T) string {
	t.Helper()
	line, err := h.out.ReadString('\n')
	if err != nil {
		t.Fatalf("helper ended early: %v", err)
	}
	return strings.TrimSpace(line)
}

// ask sends a line and waits for the answer.
func (h *helper) ask(t *testing.T, question string) string {
	t.Helper()
	if _, err := fmt.Fprintln(h.in, question); err != nil {
		t.Fatal(err)
	}
	return h.line(t)
}
