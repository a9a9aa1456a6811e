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
		w.forget()
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
	before, ignore := descriptors(t), goleak.IgnoreCurrent()
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
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors, and %d before", after, before)
	}
}

// Whoever deploys a directory as a whole: nothing happens to the file's name in it.
func TestFileInADirectoryThatIsReplaced(t *testing.T) {
	for _, test := range []struct {
		name  string
		file  string // watched, in a directory with 1/d/file and 2/d/file
		begin func(t *testing.T, dir string)
		step  func(t *testing.T, dir string)
		after string // where the file is in the end
	}{
		{"its directory is renamed away and another put in its place", "live/d/file",
			func(t *testing.T, dir string) { rename(t, dir, "1", "live") },
			func(t *testing.T, dir string) {
				rename(t, dir, "live/d", "old")
				rename(t, dir, "2/d", "live/d")
			}, "live/d/file"},
		{"one above it is", "live/d/file",
			func(t *testing.T, dir string) { rename(t, dir, "1", "live") },
			func(t *testing.T, dir string) {
				rename(t, dir, "live", "old")
				rename(t, dir, "2", "live")
			}, "live/d/file"},
		{"a directory that is a symbolic link is switched", "live/d/file",
			func(t *testing.T, dir string) { symlink(t, dir, "1", "live") },
			func(t *testing.T, dir string) { symlink(t, dir, "2", "live") }, "2/d/file"},
		{"the file is a link through one, as in a Kubernetes ConfigMap", "file",
			func(t *testing.T, dir string) {
				symlink(t, dir, "1/d", "..data")
				symlink(t, dir, "..data/file", "file")
			},
			func(t *testing.T, dir string) { symlink(t, dir, "2/d", "..data") }, "2/d/file"},
		{"the file is a link to elsewhere, and what it leads to is replaced", "link",
			func(t *testing.T, dir string) { symlink(t, dir, "1/d/file", "link") },
			func(t *testing.T, dir string) { rename(t, dir, "2/d/file", "1/d/file") }, "1/d/file"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			for _, d := range []string{"1", "2"} {
				if err := os.MkdirAll(filepath.Join(dir, d, "d"), 0o755); err != nil {
					t.Fatal(err)
				}
				write(t, filepath.Join(dir, d, "d", "file"), "x") // the same in both
			}
			test.begin(t, dir)
			w := watch(t, Watch{Check: "web", Files: []string{filepath.Join(dir, test.file)}})
			w.settled()
			test.step(t, dir)
			w.wait(test.name, came("web", File))
			w.settled() // more events of the same
			w.forget()
			f, err := os.OpenFile(filepath.Join(dir, test.after), os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.WriteString("y"); err != nil {
				t.Fatal(err)
			}
			w.wait("then it is changed", came("web", File))
		})
	}
}

func rename(t testing.TB, dir, from, to string) {
	t.Helper()
	if err := os.Rename(filepath.Join(dir, from), filepath.Join(dir, to)); err != nil {
		t.Fatal(err)
	}
}

// symlink makes or replaces a symbolic link.
func symlink(t testing.TB, dir, to, name string) {
	t.Helper()
	if err := os.Symlink(to, filepath.Join(dir, "new")); err != nil {
		t.Fatal(err)
	}
	rename(t, dir, "new", name)
}
