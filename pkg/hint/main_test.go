package hint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	envInside = "ANYVIP_TEST_HINT_INSIDE"
	envListen = "ANYVIP_TEST_HINT_LISTEN"
)

// patience is for what should come at once, or with the second or third try; and a test
// that fails may take its time.
const patience = 20 * time.Second

// TestMain runs the tests again in a network namespace of their own, and is also the
// service that listens, and dies.
func TestMain(m *testing.M) {
	if address := os.Getenv(envListen); address != "" {
		serve(address)
	}
	if os.Getenv(envInside) != "" || os.Geteuid() != 0 {
		os.Exit(m.Run())
	}
	child := exec.Command("/proc/self/exe", os.Args[1:]...)
	child.Env = append(os.Environ(), envInside+"=1")
	child.Stdout, child.Stderr = os.Stdout, os.Stderr
	child.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	err := child.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		os.Exit(max(exit.ExitCode(), 1))
	}
	if err != nil {
		os.Exit(m.Run()) // without the privilege, the tests that need it skip
	}
}

// serve listens until it is killed, beside others at the same address.
func serve(address string) {
	c := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		return errors.Join(c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }), err)
	}}
	network := "tcp"
	if address[0] != '[' {
		network = "tcp4" // Go takes 0.0.0.0 for all of both families otherwise
	}
	l, err := c.Listen(context.Background(), network, address)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("listening")
	for {
		if c, err := l.Accept(); err == nil {
			_ = c.Close()
		}
	}
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Getenv(envInside) != "" {
		if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return
	}
	if os.Getenv("ANYVIP_REQUIRE_INTEGRATION") == "1" {
		t.Fatal("needs root: a network namespace")
	}
	t.Skip("needs root: a network namespace")
}

// service is a process that listens.
type service struct{ *exec.Cmd }

func listen(t testing.TB, address string) service {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), envListen+"="+address)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := service{cmd}
	t.Cleanup(s.die)
	if _, err := io.ReadFull(out, make([]byte, len("listening"))); err != nil {
		t.Fatalf("nobody listens at %s: %v", address, err)
	}
	return s
}

func (s service) die() {
	_ = s.Process.Kill()
	_ = s.Wait()
}

// watching is an engine at work, and what it said.
type watching struct {
	*Engine
	t     testing.TB
	mu    sync.Mutex
	hints []Hint
	last  Report
	more  chan struct{}
}

func watch(t testing.TB, set ...Watch) *watching {
	t.Helper()
	w := &watching{t: t, more: make(chan struct{}, 1)}
	w.Engine = New(Options{Log: slog.New(slog.DiscardHandler),
		Hint: func(h Hint) {
			w.mu.Lock()
			w.hints = append(w.hints, h)
			w.mu.Unlock()
			w.ring()
		},
		Report: func(r Report) {
			w.mu.Lock()
			w.last = r
			w.mu.Unlock()
			w.ring()
		}})
	w.Apply(set)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Run returned %v", err)
			}
		case <-time.After(5 * time.Second):
			t.Error("Run does not end")
		}
	})
	return w
}

func (w *watching) ring() {
	select {
	case w.more <- struct{}{}:
	default:
	}
}

// wait returns the first hint that match likes, and forgets it and those before.
func (w *watching) wait(what string, match func(Hint) bool) Hint {
	w.t.Helper()
	hints := w.until(what, match)
	return hints[len(hints)-1]
}

// until is like wait, and returns also those before.
func (w *watching) until(what string, match func(Hint) bool) []Hint {
	w.t.Helper()
	limit := time.After(patience)
	for {
		w.mu.Lock()
		if i := slices.IndexFunc(w.hints, match); i >= 0 {
			hints := w.hints[:i+1]
			w.hints = w.hints[i+1:]
			w.mu.Unlock()
			return hints
		}
		w.mu.Unlock()
		select {
		case <-w.more:
		case <-limit:
			w.t.Fatalf("not seen: %s; hints %+v, missing %+v", what, w.said(), w.report())
		}
	}
}

func (w *watching) said() []Hint {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.hints)
}

func (w *watching) report() Report {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

func (w *watching) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hints = nil
}

// silent fails the test if there is a hint within a while.
func (w *watching) silent(d time.Duration, why string) {
	w.t.Helper()
	<-time.After(d)
	if got := w.said(); len(got) > 0 {
		w.t.Errorf("%s: %+v", why, got)
	}
}

// settled waits until the sources have taken the set: there is nothing to see of it.
func (w *watching) settled() { <-time.After(ownersDelay + 200*time.Millisecond) }

func gone(check string, s Source) func(Hint) bool {
	return func(h Hint) bool { return h.Check == check && h.Source == s && h.Gone }
}

func came(check string, s Source) func(Hint) bool {
	return func(h Hint) bool { return h.Check == check && h.Source == s && !h.Gone }
}

// reports waits for a report that match likes.
func (w *watching) reports(what string, match func(Report) bool) Report {
	w.t.Helper()
	limit := time.After(patience)
	for {
		r := w.report()
		if match(r) {
			return r
		}
		select {
		case <-w.more:
		case <-limit:
			w.t.Fatalf("not reported: %s; missing %+v", what, r)
		}
	}
}

func descriptors(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
