package memory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/anyvip/anyvip/pkg/durable"
	"github.com/anyvip/anyvip/pkg/policy"
)

type memories = map[string]*policy.ServiceMemory

// running is a Store at work, and what it logged.
type running struct {
	*Store
	t      *testing.T
	loaded memories
	log    logged
	writes chan struct{}
	ended  chan error
	stop   context.CancelFunc
}

// logged is what was logged.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// start runs a Store in a bubble: a write that went well is told in writes.
func start(t *testing.T, dir string) *running {
	t.Helper()
	r := &running{t: t, writes: make(chan struct{}, 100), ended: make(chan error, 1)}
	r.Store = New(Options{StateDir: dir, Clock: clock, Log: slog.New(slog.NewTextHandler(&r.log, nil))})
	r.disk.Replace = func(path string, raw []byte) error {
		err := durable.Replace(path, raw)
		if err == nil {
			r.writes <- struct{}{}
		}
		return err
	}
	r.loaded = r.Load()
	var ctx context.Context
	ctx, r.stop = context.WithCancel(t.Context())
	go func() { r.ended <- r.Run(ctx) }()
	return r
}

// clock is that of the bubble.
func clock() (durable.Moment, error) {
	return durable.Moment{Now: time.Now(), Boot: "a", Up: time.Duration(time.Now().UnixNano())}, nil
}

func (r *running) end() {
	r.t.Helper()
	r.stop()
	if err := <-r.ended; !errors.Is(err, context.Canceled) {
		r.t.Error(err)
	}
}

// keep is Keep, and the wait until what follows at once is done. It says how often the
// file was written.
func (r *running) keep(m memories) int {
	before := len(r.writes)
	r.Keep(m)
	synctest.Wait()
	return len(r.writes) - before
}

func (r *running) logs(text string) {
	r.t.Helper()
	if got := r.log.String(); strings.Count(got, text) != 1 {
		r.t.Errorf("%q is not there once:\n%s", text, got)
	}
}

func failed(ago time.Duration) *policy.ServiceMemory {
	return &policy.ServiceMemory{Disposition: policy.Withdrawn, Since: time.Now(), Failed: true, Flaps: []time.Time{time.Now().Add(-ago)}}
}

func TestFailuresSurviveARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "state")
		s := start(t, dir)
		if len(s.loaded) > 0 || s.keep(memories{"web": {Disposition: policy.Announced}}) != 0 {
			t.Errorf("of nothing something was kept, or read: %v", s.loaded)
		}
		web, gone := failed(time.Minute), failed(0)
		web.RecoverAt = time.Now().Add(time.Minute)
		if n := s.keep(memories{"web": web, "gone": gone, "api": {}}); n != 1 {
			t.Errorf("written %d times", n)
		}
		again := *web
		again.Disposition, again.Since = policy.Recovering, time.Now()
		if n := s.keep(memories{"web": &again, "gone": gone}); n != 0 {
			t.Errorf("written %d times, and it says the same", n)
		}
		if n := s.keep(memories{"web": web}); n != 1 {
			t.Errorf("a service that was removed: written %d times", n)
		}
		s.end()
		time.Sleep(20 * time.Second)
		next := start(t, dir)
		want := memories{"web": {Failed: true, Flaps: web.Flaps, RecoverAt: web.RecoverAt}}
		if diff := cmp.Diff(want, next.loaded, cmpopts.EquateApproxTime(0)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if n := next.keep(next.loaded); n != 0 {
			t.Errorf("what was read is written again, %d times", n)
		}
		if n := next.keep(memories{}); n != 1 {
			t.Errorf("no service is left: written %d times", n)
		}
		next.end()
		if info, err := os.Stat(filepath.Join(dir, fileName)); err != nil || info.Mode().Perm() != 0o600 || next.log.String() != "" {
			t.Errorf("%v, %v, log %s", info, err, next.log.String())
		}
	})
}

func TestTheLastIsWrittenAtTheEnd(t *testing.T) {
	dir := t.TempDir()
	for i := range 20 { // of what may come first either may
		s := New(Options{StateDir: dir, Clock: clock, Log: slog.New(slog.DiscardHandler)})
		s.Load()
		s.Keep(memories{fmt.Sprint(i): failed(0)})
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Run(ended); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if raw, err := os.ReadFile(s.path); err != nil || !strings.Contains(string(raw), fmt.Sprintf("%q", fmt.Sprint(i))) {
			t.Errorf("%d: %q, %v", i, raw, err)
		}
	}
}

func TestAFileThatCannotBeReadIsReplaced(t *testing.T) {
	for name, put := range map[string]func(path string) error{
		"nonsense":          func(path string) error { return os.WriteFile(path, []byte("nonsense"), 0o600) },
		"of a later anyvip": func(path string) error { return os.WriteFile(path, []byte(`{"version": 2}`), 0o600) },
		"a pipe":            func(path string) error { return syscall.Mkfifo(path, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := put(filepath.Join(dir, fileName)); err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				start(t, dir).end() // which had nothing to say
				s := start(t, dir)
				s.logs("failures before this start are not known")
				if len(s.loaded) > 0 || s.keep(memories{"web": {}}) != 1 {
					t.Errorf("%v, or it was not replaced", s.loaded)
				}
				s.end()
				next := start(t, dir)
				if next.end(); next.log.String() != "" {
					t.Error(next.log.String())
				}
			})
		})
	}
}

// A disk that refuses is tried again, later and later, whatever is decided meanwhile.
func TestADirectoryThatCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	blocked := filepath.Join(dir, "state")
	synctest.Test(t, func(t *testing.T) {
		s := start(t, blocked)
		if err := os.WriteFile(blocked, nil, 0o600); err != nil { // a file where the directory should be
			t.Fatal(err)
		}
		var tries atomic.Int32
		write := s.disk.Replace
		s.disk.Replace = func(path string, raw []byte) error { tries.Add(1); return write(path, raw) }
		for range 1000 {
			s.keep(memories{"web": failed(0)})
			time.Sleep(100 * time.Millisecond)
		}
		if n := tries.Load(); n < 5 || n > 10 {
			t.Errorf("tried %d times in 100 s", n)
		}
		s.logs("failures of services are not on disk")
		if err := os.Remove(blocked); err != nil {
			t.Fatal(err)
		}
		time.Sleep(cappedRetry)
		synctest.Wait()
		s.logs("failures of services are on disk again")
		s.end()
		next := start(t, blocked)
		if next.loaded["web"] == nil {
			t.Errorf("%v", next.loaded)
		}
		next.end()
	})
}

// A disk that hangs keeps nobody waiting, also not the end.
func TestADiskThatHangs(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := start(t, dir)
		release := make(chan struct{})
		write := s.disk.Replace
		s.disk.Replace = func(path string, raw []byte) error { <-release; return write(path, raw) }
		begin := time.Now()
		for range 10 {
			s.keep(memories{"web": failed(0)})
		}
		if took := time.Since(begin); took > 0 {
			t.Errorf("Keep took %s", took)
		}
		time.Sleep(time.Minute)
		s.logs("the disk has not answered")
		begin = time.Now()
		s.end()
		if took := time.Since(begin); took > 3*time.Second {
			t.Errorf("its end took %s", took)
		}
		close(release)
		synctest.Wait()
		next := start(t, dir)
		if next.loaded["web"] == nil {
			t.Errorf("%v", next.loaded)
		}
		next.end()
	})
}

// A disk with no room keeps what it has, and takes the rest once there is some.
func TestAFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount a small disk")
	}
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("cannot mount a small disk: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	synctest.Test(t, func(t *testing.T) {
		s := start(t, dir)
		s.keep(memories{"first": failed(0)})
		big := filepath.Join(dir, "big")
		_ = os.WriteFile(big, make([]byte, 1<<20), 0o600) // takes what there is
		s.keep(memories{"second": failed(0)})
		s.logs("no space left on device")
		if raw, err := os.ReadFile(s.path); err != nil || !strings.Contains(string(raw), "first") {
			t.Errorf("the old file is gone: %q, %v", raw, err)
		}
		if err := os.Remove(big); err != nil {
			t.Fatal(err)
		}
		time.Sleep(firstRetry)
		synctest.Wait()
		s.logs("failures of services are on disk again")
		s.end()
		next := start(t, dir)
		if next.loaded["second"] == nil || next.loaded["first"] != nil {
			t.Errorf("%v", next.loaded)
		}
		next.end()
	})
}
