package api

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/anyvip/anyvip/lab/labtest"
)

// leaveStale makes a socket as an agent leaves it that was killed.
func leaveStale(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	if err := os.WriteFile(path+".lock", nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// mustBeEmpty checks that nothing was left behind.
func mustBeEmpty(t *testing.T, dir string) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		t.Errorf("left behind: %s", f.Name())
	}
}

func TestListenMakesTheDirectoryAndTheModes(t *testing.T) {
	for _, umask := range []int{0, 0o022, 0o077} {
		t.Run(fmt.Sprintf("umask %03o", umask), func(t *testing.T) {
			defer unix.Umask(unix.Umask(umask))
			dir := filepath.Join(t.TempDir(), "run")
			path := filepath.Join(dir, "anyvip.sock")
			k, err := listen(path)
			if err != nil {
				t.Fatal(err)
			}
			for file, want := range map[string]os.FileMode{path: os.ModeSocket | 0o660, path + ".lock": 0o600} {
				if info, err := os.Stat(file); err != nil || info.Mode() != want {
					t.Errorf("%s: mode %v, %v, want %v", file, info.Mode(), err, want)
				}
			}
			if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o755&^os.FileMode(umask) {
				t.Errorf("directory: %v, %v", info.Mode(), err)
			}
			if err := k.remove(); err != nil {
				t.Error(err)
			}
			mustBeEmpty(t, dir)
		})
	}
}

func TestTheSocketIsNeverOpenToAll(t *testing.T) {
	defer unix.Umask(unix.Umask(0))
	path := filepath.Join(t.TempDir(), "anyvip.sock")
	l, err := bind(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestASocketInUseIsAClearError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "anyvip.sock")
	k, err := listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer k.remove()
	_, err = listen(path)
	if err == nil {
		t.Fatal("two listen on one path")
	}
	for _, want := range []string{"an agent answers there already", fmt.Sprintf("pid %d", os.Getpid()), "--socket"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not say %q", err, want)
		}
	}
	if c, err := net.Dial("unix", path); err != nil {
		t.Errorf("the first one answers no more: %v", err)
	} else {
		c.Close()
	}
}

func TestASocketOfAnotherProgramIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "anyvip.sock")
	l, err := net.Listen("unix", path) // knows nothing of our lock
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := listen(path); err == nil || !strings.Contains(err.Error(), "answers there already") {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(path + ".lock"); err == nil {
		t.Error("a lock file is left behind")
	}
}

func TestALockedSocketThatDoesNotListenYet(t *testing.T) {
	path := filepath.Join(t.TempDir(), "anyvip.sock")
	lock, err := takeLock(path + ".lock")
	if err != nil {
		t.Fatal(err)
	}
	defer dropLock(lock)
	if _, err := listen(path); err == nil || !strings.Contains(err.Error(), "starting or stopping") {
		t.Errorf("error %v", err)
	}
}

func TestASocketOfADeadAgentIsTakenOver(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "anyvip.sock")
	leaveStale(t, path)
	k, err := listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.remove(); err != nil {
		t.Error(err)
	}
	mustBeEmpty(t, dir)
}

func TestWhatIsNoSocketIsNeverRemoved(t *testing.T) {
	for name, make := range map[string]func(path string) error{
		"file":      func(path string) error { return os.WriteFile(path, []byte("precious"), 0o644) },
		"directory": func(path string) error { return os.Mkdir(path, 0o755) },
		"link to a socket": func(path string) error {
			return os.Symlink(filepath.Join(filepath.Dir(path), "elsewhere"), path)
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "anyvip.sock")
			if err := make(path); err != nil {
				t.Fatal(err)
			}
			before, _ := os.Lstat(path)
			if _, err := listen(path); err == nil || !strings.Contains(err.Error(), "no socket") {
				t.Errorf("error %v", err)
			}
			if after, err := os.Lstat(path); err != nil || !os.SameFile(before, after) {
				t.Errorf("it is gone: %v", err)
			}
		})
	}
}

func TestAFileThatReplacedTheSocketStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "anyvip.sock")
	k, err := listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("precious"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := k.remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

func TestOfManyStartersExactlyOneWins(t *testing.T) {
	for round := range 100 {
		dir := t.TempDir()
		path := filepath.Join(dir, "anyvip.sock")
		if round%2 == 0 {
			leaveStale(t, path)
		}
		const starters = 8
		var won [starters]*socket
		var errs [starters]error
		var all sync.WaitGroup
		for i := range starters {
			all.Go(func() { won[i], errs[i] = listen(path) })
		}
		all.Wait()
		winners := 0
		for i, k := range won {
			switch {
			case k != nil:
				winners++
				defer k.remove()
				if c, err := net.Dial("unix", path); err != nil {
					t.Errorf("the winner does not answer: %v", err)
				} else {
					c.Close()
				}
			case !strings.Contains(errs[i].Error(), "already") && !strings.Contains(errs[i].Error(), "starting or stopping"):
				t.Errorf("unclear error: %v", errs[i])
			}
		}
		if winners != 1 {
			t.Fatalf("round %d: %d winners", round, winners)
		}
	}
}

// Owners come and go: at no moment are there two, and nothing is left.
func TestTheLockHasOneOwnerAtATime(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "lock")
	var owners, taken int
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 500 {
				f, err := takeLock(path)
				if err != nil {
					continue
				}
				mu.Lock()
				owners++
				taken++
				if owners > 1 {
					t.Error("two owners")
				}
				owners--
				mu.Unlock()
				if err := dropLock(f); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if taken == 0 {
		t.Error("nobody ever got it")
	}
	mustBeEmpty(t, dir)
}

// What cannot be is found before anything is made.
func TestAPathThatCannotBeASocketLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, strings.Repeat("x", maxSocket), "anyvip.sock")
	if _, err := listen(path); err == nil || !strings.Contains(err.Error(), "107 bytes") {
		t.Errorf("error %v", err)
	}
	mustBeEmpty(t, dir)
}

func TestADirectoryThatMayNotBeWritten(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "anyvip-api") // open to all, unlike t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "anyvip.sock"), filepath.Join(dir, "run", "anyvip.sock")} {
		labtest.AsNobody(t, func() { _, err = listen(path) })
		if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), dir) {
			t.Errorf("error %v", err)
		}
	}
	mustBeEmpty(t, dir)
}
