package checks

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

func TestFile(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	writeFile(t, in("ready"), "state: ready\n")
	writeFile(t, in("empty"), "")
	writeFile(t, in("late"), strings.Repeat("x", maxContains-3)+"ready")
	writeFile(t, in("old"), "ready")
	writeFile(t, in("future"), "ready")
	now := time.Now()
	for name, when := range map[string]time.Time{"old": now.Add(-time.Hour), "future": now.Add(time.Hour)} {
		if err := os.Chtimes(in(name), when, when); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range []error{
		os.Symlink("ready", in("link")), os.Symlink("nowhere", in("dangling")), os.Symlink("loop", in("loop")),
		syscall.Mkfifo(in("fifo"), 0o600), os.Mkdir(in("dir"), 0o700),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	const minute = time.Minute
	for _, tc := range []struct {
		name    string
		file    File
		outcome vip.Outcome
		class   vip.Class
		detail  string // DIR stands for the directory
	}{
		{"it is there", File{Path: "ready", Exists: true}, vip.Pass, vip.ClassNone, "exists"},
		{"it is there by a link", File{Path: "link", Exists: true}, vip.Pass, vip.ClassNone, "exists"},
		{"it is not there", File{Path: "none", Exists: true}, vip.Fail, vip.ClassStatus, "does not exist"},
		{"its directory is not there", File{Path: "none/ready", Exists: true}, vip.Fail, vip.ClassStatus, "does not exist"},
		{"its directory is a file", File{Path: "ready/ready", Exists: true}, vip.Fail, vip.ClassStatus, "does not exist"},
		{"a link to nowhere", File{Path: "dangling", Exists: true}, vip.Fail, vip.ClassStatus, "does not exist"},
		{"a link to itself", File{Path: "loop", Exists: true}, vip.Error, vip.ClassLocal, "stat DIR/loop: too many levels of symbolic links"},
		{"a marker that is not there", File{Path: "none"}, vip.Pass, vip.ClassNone, "does not exist"},
		{"a marker that is there", File{Path: "ready"}, vip.Fail, vip.ClassStatus, "exists"},
		{"a marker of any kind", File{Path: "fifo"}, vip.Fail, vip.ClassStatus, "exists"},
		{"fresh enough", File{Path: "ready", Exists: true, MaxAge: minute}, vip.Pass, vip.ClassNone, "exists"},
		{"from the future", File{Path: "future", Exists: true, MaxAge: time.Nanosecond}, vip.Pass, vip.ClassNone, "exists"},
		{"of any age", File{Path: "old", Exists: true}, vip.Pass, vip.ClassNone, "exists"},
		{"the content", File{Path: "ready", Exists: true, Contains: "ready"}, vip.Pass, vip.ClassNone, "exists"},
		{"other content", File{Path: "ready", Exists: true, Contains: "sick"}, vip.Fail, vip.ClassBody, `no "sick" in its first 4 KiB`},
		{"no content", File{Path: "empty", Exists: true, Contains: "ready"}, vip.Fail, vip.ClassBody, `no "ready" in its first 4 KiB`},
		{"the content, but too far behind", File{Path: "late", Exists: true, Contains: "ready"}, vip.Fail, vip.ClassBody, `no "ready" in its first 4 KiB`},
		{"a FIFO does not block", File{Path: "fifo", Exists: true, Contains: "ready"}, vip.Error, vip.ClassLocal, "DIR/fifo is a FIFO, not a regular file"},
		{"a directory", File{Path: "dir", Exists: true}, vip.Error, vip.ClassLocal, "DIR/dir is a directory, not a regular file"},
		{"a device", File{Path: "/dev/zero", Exists: true, Contains: "x"}, vip.Error, vip.ClassLocal, "/dev/zero is a device, not a regular file"},
		{"an error in reading", File{Path: "/proc/self/mem", Exists: true, Contains: "x"}, vip.Error, vip.ClassLocal, "read /proc/self/mem: input/output error"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if !filepath.IsAbs(tc.file.Path) {
				tc.file.Path = in(tc.file.Path)
			}
			expect(t, probe(t, &tc.file, long), tc.outcome, tc.class, strings.ReplaceAll(tc.detail, "DIR", dir))
		})
	}
	got := probe(t, &File{Path: in("old"), Exists: true, MaxAge: minute}, long)
	if !strings.HasPrefix(got.Detail, "was modified 1h0m") || !strings.HasSuffix(got.Detail, " ago, longer than 1m0s") {
		t.Errorf("detail %q", got.Detail)
	}
	got.Detail = ""
	expect(t, got, vip.Fail, vip.ClassStatus, "")
}

// Root may look into any directory, so the test does it as somebody else.
func TestAFileThatMayNotBeSeenCouldNotBeAsked(t *testing.T) {
	dir := t.TempDir()
	locked := filepath.Join(dir, "locked")
	if err := os.Mkdir(locked, 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(locked, "ready"), "ready")
	writeFile(t, filepath.Join(dir, "secret"), "ready")
	for name, mode := range map[string]os.FileMode{locked: 0, filepath.Join(dir, "secret"): 0, filepath.Dir(dir): 0o755} {
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
	}
	asNobody(t, func() {
		for _, exists := range []bool{true, false} {
			name := filepath.Join(locked, "ready")
			expect(t, probe(t, &File{Path: name, Exists: exists}, long), vip.Error, vip.ClassLocal, "stat "+name+": permission denied")
		}
		name := filepath.Join(dir, "secret")
		expect(t, probe(t, &File{Path: name, Exists: true}, long), vip.Pass, vip.ClassNone, "exists")
		expect(t, probe(t, &File{Path: name, Exists: true, Contains: "ready"}, long), vip.Error, vip.ClassLocal, "open "+name+": permission denied")
	})
}

func TestAFileThatGoesIsSeenByTheSameChecker(t *testing.T) {
	name := filepath.Join(t.TempDir(), "ready")
	c, err := (&File{Path: name, Exists: true, Contains: "ready"}).Checker()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []vip.Outcome{vip.Fail, vip.Pass, vip.Fail, vip.Pass} {
		if want == vip.Pass {
			writeFile(t, name, "ready")
		} else {
			_ = os.Remove(name)
		}
		if got := c.Probe(t.Context()); got.Outcome != want {
			t.Errorf("%+v, want %s", got, want)
		}
	}
}
