package hint

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestWhatHappensToAFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a", "b", "file")
	w := watch(t, Watch{Check: "web", Files: []string{path}})
	w.settled()
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"its directories come", func() error { return os.MkdirAll(filepath.Dir(path), 0o755) }},
		{"it is made", func() error { return os.WriteFile(path, nil, 0o644) }},
		{"it is changed", func() error { return os.WriteFile(path, []byte("x"), 0o644) }},
		{"it is replaced", func() error {
			write(t, path, "y")
			return nil
		}},
		{"it is removed", func() error { return os.Remove(path) }},
		{"it comes with its directories", func() error {
			if err := os.RemoveAll(filepath.Join(dir, "a")); err != nil {
				return err
			}
			if err := os.MkdirAll(filepath.Join(dir, "other", "b"), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(dir, "other", "b", "file"), nil, 0o644); err != nil {
				return err
			}
			return os.Rename(filepath.Join(dir, "other"), filepath.Join(dir, "a"))
		}},
		{"it goes with them", func() error { return os.Rename(filepath.Join(dir, "a"), filepath.Join(dir, "other")) }},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		if step.name == "its directories come" {
			w.settled()
			continue
		}
		w.wait(step.name, came("web", File))
		w.settled() // more events of the same
		w.mu.Lock()
		w.hints = nil
		w.mu.Unlock()
	}
	if err := os.WriteFile(filepath.Join(dir, "neighbour"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	w.silent(200*time.Millisecond, "another file")
}

func TestTheBeginOfAWatchIsToldToWhoWants(t *testing.T) {
	w := watch(t, Watch{Check: "drain", Files: []string{"/tmp/anyvip-no-such-file"}, Begin: true}, Watch{Check: "web", Files: []string{"/tmp/anyvip-none-either"}})
	w.wait("the begin", came("drain", File))
	w.silent(100*time.Millisecond, "the other wants none")
}

func TestNothingIsLeftOfManySets(t *testing.T) {
	needRoot(t)
	descriptors := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	before, ignore := descriptors(), goleak.IgnoreCurrent()
	dir := t.TempDir()
	t.Run("500 sets", func(t *testing.T) {
		w := watch(t)
		for i := range 500 {
			w.Apply([]Watch{{Check: "web", PIDFile: filepath.Join(dir, "pid"), Files: []string{filepath.Join(dir, string(rune('a'+i%26)))}},
				listener("other", []string{"127.0.0.1:8071", "127.0.0.1:8072"}[i%2])})
			if i%10 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
	})
	goleak.VerifyNone(t, ignore)
	if after := descriptors(); after > before {
		t.Errorf("%d descriptors, and %d before", after, before)
	}
}
