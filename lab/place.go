package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/anyvip/anyvip/lab/internal/supervisor"
	"github.com/anyvip/anyvip/lab/internal/wire"
)

// NotRunningError says that a lab of that name does not run for this user.
type NotRunningError struct{ Name string }

// Error says what to do.
func (e *NotRunningError) Error() string {
	return fmt.Sprintf("lab %s does not run for this user; start it with `anyvip-lab up FILE`", e.Name)
}

// RunningError says that a lab of that name runs already.
type RunningError struct{ Name string }

// Error says what to do.
func (e *RunningError) Error() string {
	return fmt.Sprintf("lab %s runs already; end it with `anyvip-lab down %s`", e.Name, e.Name)
}

// bases are the directories in which this user's labs have theirs, the preferred
// one first. All of them are searched, since XDG_RUNTIME_DIR is not set everywhere.
func bases() []string {
	var dirs []string
	if os.Geteuid() == 0 {
		dirs = append(dirs, "/run/anyvip-lab")
	} else if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		dirs = append(dirs, filepath.Join(dir, "anyvip-lab"))
	}
	return append(dirs, filepath.Join("/tmp", "anyvip-lab-"+strconv.Itoa(os.Geteuid())))
}

// place is the runtime directory of one lab: its sockets and its logs. An
// exclusive lock on the directory is held as long as anything of the lab lives.
type place struct {
	path string
	dir  *os.File // holds the lock if the place is ours
}

// claim makes the runtime directory of a new lab. What a dead lab left is removed.
func claim(name string) (*place, error) {
	if _, err := find(name); err == nil {
		return nil, &RunningError{Name: name}
	}
	var errs []error
	for _, base := range bases() {
		p, err := claimIn(base, name)
		var running *RunningError
		if err == nil || errors.As(err, &running) {
			return p, err
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("make a directory for the lab: %w", errors.Join(errs...))
}

func claimIn(base, name string) (*place, error) {
	path := filepath.Join(base, name)
	for {
		if err := makeBase(base); err != nil {
			return nil, err
		}
		if err := os.Mkdir(path, 0o700); errors.Is(err, fs.ErrNotExist) {
			continue // another lab's end removed base
		} else if err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		p, err := lock(path, name)
		if err != nil {
			return nil, err
		}
		if p == nil {
			continue // another lab's end removed path
		}
		if err := p.empty(); err != nil {
			return nil, errors.Join(err, p.remove())
		}
		return p, nil
	}
}

// makeBase makes base, or makes sure that nobody else prepared it for us: /tmp is
// open to all.
func makeBase(base string) error {
	if err := os.Mkdir(base, 0o700); err == nil || !errors.Is(err, fs.ErrExist) {
		return err
	}
	var st unix.Stat_t
	if err := unix.Lstat(base, &st); err != nil {
		return nil // just removed; the next step tells
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) != os.Geteuid() || st.Mode&0o077 != 0 {
		return fmt.Errorf("%s is not a directory of this user with mode 0700; remove it", base)
	}
	return nil
}

// lock opens and locks the directory. It returns nil if that is to be tried again:
// path is not that directory any more.
func lock(path, name string) (*place, error) {
	dir, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		dir.Close()
		if _, err := find(name); err == nil {
			return nil, &RunningError{Name: name}
		}
		return nil, nil // somebody only looked
	}
	opened, err1 := dir.Stat()
	named, err2 := os.Stat(path)
	if err1 != nil || err2 != nil || !os.SameFile(opened, named) {
		dir.Close()
		return nil, nil
	}
	return &place{path: path, dir: dir}, nil
}

// empty removes what a dead lab left.
func (p *place) empty() error {
	names, err := p.dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := os.RemoveAll(filepath.Join(p.path, name)); err != nil {
			return err
		}
	}
	return nil
}

// logs is where Attach finds the logs.
func (p *place) logs() string { return filepath.Join(p.path, "logs") }

// makeLogs makes the directory for the logs: dir, or one in the place itself.
func (p *place) makeLogs(dir string) (string, error) {
	if dir == "" {
		return p.logs(), os.Mkdir(p.logs(), 0o700)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	return dir, os.Symlink(dir, p.logs())
}

// remove gives the place up with all that is in it.
func (p *place) remove() error {
	err := os.RemoveAll(p.path)
	_ = os.Remove(filepath.Dir(p.path)) // goes if no other lab is in it
	return errors.Join(err, p.dir.Close())
}

// find returns the place of a running lab.
func find(name string) (*place, error) {
	for _, base := range bases() {
		dir, err := os.Open(filepath.Join(base, name))
		if err != nil {
			continue
		}
		if err := unix.Flock(int(dir.Fd()), unix.LOCK_SH|unix.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
			return &place{path: dir.Name(), dir: dir}, nil
		}
		dir.Close()
	}
	return nil, &NotRunningError{Name: name}
}

// askDown asks the supervisor for the lab's end and waits until nothing of it is
// left, the directory included.
func (p *place) askDown(patience time.Duration) error {
	deadline := time.Now().Add(patience)
	conn, err := wire.Dial(p.dir, supervisor.SocketName)
	if err == nil {
		defer conn.Close()
		for err = conn.Send(wire.Request{Op: wire.OpDown}); err == nil; {
			_, err = conn.Receive(&wire.Reply{}) // fails when the supervisor has ended
		}
	}
	for time.Now().Before(deadline) {
		if _, err := os.Stat(p.path); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err := unix.Flock(int(p.dir.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil {
			return os.RemoveAll(p.path) // its owners died without removing it
		}
		time.Sleep(2 * time.Millisecond)
	}
	return fmt.Errorf("the lab did not end within %s; its directory is %s", patience, p.path)
}
