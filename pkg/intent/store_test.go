package intent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/anyvip/anyvip/pkg/durable"
)

// running is a Store at work, and what it reported.
type running struct {
	*Store
	t     *testing.T
	mu    sync.Mutex
	last  Report
	ended chan error
	stop  context.CancelFunc
}

func start(t *testing.T, dir string) *running {
	t.Helper()
	r := &running{t: t, ended: make(chan error, 1)}
	r.Store = New(Options{StateDir: dir, Log: slog.New(slog.DiscardHandler), Report: func(x Report) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.last = x
	}})
	r.last = r.Load()
	var ctx context.Context
	ctx, r.stop = context.WithCancel(t.Context())
	go func() { r.ended <- r.Run(ctx) }()
	t.Cleanup(r.end)
	return r
}

func (r *running) end() {
	r.stop()
	if err := <-r.ended; err != nil && !errors.Is(err, context.Canceled) {
		r.t.Error(err)
	}
	r.ended <- nil
}

func (r *running) report() Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// put and remove wait until it is done, with its Report before.
func (r *running) put(d Drain) error {
	done := make(chan error)
	if err := r.Put(d, func(err error) { done <- err }); err != nil {
		return err
	}
	return <-done
}

func (r *running) remove(service string) error {
	done := make(chan error)
	if err := r.Remove(service, func(err error) { done <- err }); err != nil {
		return err
	}
	return <-done
}

func (r *running) eventually(what string, ok func(Report) bool) {
	r.t.Helper()
	for limit := time.Now().Add(5 * time.Second); !ok(r.report()); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(limit) {
			r.t.Fatalf("not seen: %s: %+v", what, r.report())
		}
	}
}

func TestDrainsSurviveARestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	s := start(t, dir)
	if got := s.report(); len(got.Drains) > 0 || got.Detail != "" {
		t.Errorf("from nothing: %+v", got)
	}
	for _, d := range []Drain{{Service: "web", Reason: "disks", At: time.Now(), Left: time.Hour}, {Reason: "reboot", At: time.Now()}, {Service: "api", At: time.Now()}} {
		if err := s.put(d); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.remove("api"); err != nil {
		t.Fatal(err)
	}
	want := s.report().Drains
	s.end()
	next := start(t, dir)
	got := next.report()
	if got.Detail != "" || len(got.Drains) != 2 || got.Drains[0].Reason != "reboot" || got.Drains[1].Reason != "disks" {
		t.Fatalf("%+v", got)
	}
	if d := got.Drains[1].Until.Sub(want[1].Until).Abs(); d > 100*time.Millisecond {
		t.Errorf("its end moved by %s", d)
	}
}

func TestADrainEnds(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir)
	if err := s.put(Drain{Service: "web", At: time.Now(), Left: 100 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	s.eventually("its end", func(r Report) bool { return len(r.Drains) == 0 })
	s.end()
	if got := start(t, dir).report(); len(got.Drains) > 0 {
		t.Errorf("after a restart: %+v", got)
	}
}

func TestAFileThatCannotBeReadIsKeptAside(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, fileName)
	if err := os.WriteFile(path, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, dir)
	if got := s.report(); !strings.Contains(got.Detail, "drain again") || !strings.Contains(got.Detail, path+".corrupt") {
		t.Errorf("%+v", got)
	}
	if raw, err := os.ReadFile(path + ".corrupt"); err != nil || string(raw) != "nonsense" {
		t.Errorf("%q, %v", raw, err)
	}
	if err := s.put(Drain{At: time.Now()}); err != nil || s.report().Detail != "" {
		t.Errorf("after a new wish: %v, %+v", err, s.report())
	}
}

func TestADirectoryThatCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	blocked := filepath.Join(dir, "state")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil { // a file where the directory should be
		t.Fatal(err)
	}
	s := start(t, blocked)
	err := s.put(Drain{Service: "web", At: time.Now()})
	if got := s.report(); err == nil || len(got.Drains) != 1 || !strings.Contains(got.Detail, "will not survive") {
		t.Fatalf("%v, %+v", err, got)
	}
	if err := os.Remove(blocked); err != nil {
		t.Fatal(err)
	}
	s.eventually("it is written after all", func(r Report) bool { return r.Detail == "" })
	s.end()
	if got := start(t, blocked).report(); len(got.Drains) != 1 {
		t.Errorf("after a restart: %+v", got)
	}
}

// A disk that hangs keeps nobody waiting: the drain is in force at once, and what comes
// later too.
func TestADiskThatHangs(t *testing.T) {
	dir := t.TempDir()
	s := New(Options{StateDir: dir, Log: slog.New(slog.DiscardHandler)})
	reports := make(chan Report, 100)
	s.options.Report = func(r Report) { reports <- r }
	release := make(chan struct{})
	s.disk.Replace = func(path string, raw []byte) error {
		<-release
		return durable.Replace(path, raw)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	begin := time.Now()
	for i := range 2 {
		done := make(chan error, 1)
		if err := s.Put(Drain{Service: fmt.Sprint("service-", i), At: time.Now()}, func(err error) { done <- err }); err != nil {
			t.Fatal(err)
		}
		if r := <-reports; len(r.Drains) != i+1 {
			t.Errorf("%+v", r)
		}
		if took := time.Since(begin); i == 0 && took > time.Second {
			t.Errorf("in force after %s", took)
		}
		if err := <-done; err == nil || !strings.Contains(err.Error(), "has not answered") {
			t.Errorf("done says %v", err)
		}
		for len(reports) > 0 {
			<-reports
		}
	}
	close(release)
	for limit := time.After(10 * time.Second); ; {
		select {
		case r := <-reports:
			if r.Detail != "" {
				continue
			}
		case <-limit:
			t.Error("it is never written")
		}
		break
	}
	cancel()
	<-ended
	if got := New(Options{StateDir: dir, Log: slog.New(slog.DiscardHandler)}).Load(); len(got.Drains) != 2 {
		t.Errorf("%+v", got)
	}
}

func TestAPipeInPlaceOfTheFile(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, fileName), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := New(Options{StateDir: dir, Log: slog.New(slog.DiscardHandler)}).Load(); !strings.Contains(got.Detail, "no regular file") {
		t.Errorf("%+v", got)
	}
}

// A disk with no room: drains work in memory, and are written once there is some.
func TestAFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount a small disk")
	}
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("cannot mount a small disk: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	s := start(t, dir)
	if err := s.put(Drain{Service: "first", At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	big := filepath.Join(dir, "big")
	_ = os.WriteFile(big, make([]byte, 1<<20), 0o600) // takes what there is
	err := s.put(Drain{Service: "second", At: time.Now()})
	if got := s.report(); !errors.Is(err, syscall.ENOSPC) || len(got.Drains) != 2 || !strings.Contains(got.Detail, "will not survive") {
		t.Fatalf("%v, %+v", err, got)
	}
	if raw, err := os.ReadFile(filepath.Join(dir, fileName)); err != nil || !strings.Contains(string(raw), "first") {
		t.Errorf("the old file is gone: %q, %v", raw, err)
	}
	if err := os.Remove(big); err != nil {
		t.Fatal(err)
	}
	s.eventually("it is written after all", func(r Report) bool { return r.Detail == "" })
	s.end()
}

// TestMain is also the writer of TestKilledInTheMiddle.
func TestMain(m *testing.M) {
	dir := os.Getenv("ANYVIP_TEST_INTENTS")
	if dir == "" {
		os.Exit(m.Run())
	}
	s := New(Options{StateDir: dir, Log: slog.New(slog.DiscardHandler), Report: func(Report) {}})
	s.Load()
	go func() { _ = s.Run(context.Background()) }()
	for i := 0; ; i++ {
		done := make(chan error)
		err := s.Put(Drain{Service: fmt.Sprint("service-", i%50), Reason: strings.Repeat("x", i%4000), At: time.Now()}, func(err error) { done <- err })
		if err == nil && <-done == nil {
			fmt.Println(i) // on disk
		}
	}
}

// Killed at any moment, the file is whole, and has what was said to be on disk.
func TestKilledInTheMiddle(t *testing.T) {
	dir := t.TempDir()
	for round := range 50 {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), "ANYVIP_TEST_INTENTS="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var first [1]byte
		if _, err := out.Read(first[:]); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(round) * 300 * time.Microsecond) // another moment each time
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if got := New(Options{StateDir: dir, Log: slog.New(slog.DiscardHandler)}).Load(); got.Detail != "" || len(got.Drains) == 0 {
			t.Fatalf("round %d: %+v", round, got)
		}
	}
}

func TestTooManyWishesAreRefused(t *testing.T) {
	s := New(Options{StateDir: t.TempDir(), Log: slog.New(slog.DiscardHandler), Report: func(Report) {}})
	done := func(error) { t.Error("done with what was never begun") }
	for i := range maxWaiting {
		if err := s.Put(Drain{Service: fmt.Sprint(i), At: time.Now()}, done); err != nil {
			t.Fatalf("wish %d: %v", i, err)
		}
	}
	if err := s.Put(Drain{Service: "web", At: time.Now()}, done); !errors.Is(err, ErrRefused) {
		t.Errorf("a drain too many: %v", err)
	}
	if err := s.Remove("web", done); !errors.Is(err, ErrRefused) {
		t.Errorf("one taken back too many: %v", err)
	}
}
