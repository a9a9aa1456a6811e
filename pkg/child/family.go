package child

import (
	"errors"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// children are the commands that are under way. Whose child a process is holds for
// all of this process, so this does too.
//
// In an agent that is process 1 of its container every process that loses its
// parent becomes its child, and stays as a zombie until it is reaped, in the end
// until no process can be started. So there children reaps whatever it did not
// start itself, and nothing else in the agent may start one past it.
var children = family{leaders: map[int]bool{}}

type family struct {
	mu       sync.Mutex
	starting int          // starts under way: their children are not in leaders yet
	leaders  map[int]bool // the ids of children that os/exec waits for
}

// run starts cmd and waits for its end.
func (f *family) run(cmd *exec.Cmd) error {
	if err := f.start(cmd); err != nil {
		return err
	}
	defer f.forget(cmd.Process.Pid)
	return cmd.Wait()
}

func (f *family) start(cmd *exec.Cmd) error {
	f.count(1)
	defer f.count(-1)
	if err := startBare(cmd); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.leaders[cmd.Process.Pid] = true
	return nil
}

// leads says whether a process is a command of ours that is under way.
func (f *family) leads(pid int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.leaders[pid]
}

func (f *family) count(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.starting += n
}

func (f *family) forget(pid int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.leaders, pid)
}

// reapStrays reaps the orphans that have ended, where they come to us. It gives
// way to a start, and to a leader that has ended and is to be waited for: whoever
// does that comes by here next.
func (f *family) reapStrays() {
	if !adopts() {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.starting == 0 {
		pid := endedChild()
		if pid == 0 || f.leaders[pid] {
			return
		}
		_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil) // it has ended and nobody else waits for it
	}
}

// reapFor is how long the end of what was killed is waited for: a process in
// uninterruptible sleep ends when it pleases, and is reaped after a later command.
const reapFor = 100 * time.Millisecond

// reapGroup waits for those of a process group, all killed, that are children of
// ours because they lost their parents. Anywhere but in process 1 there are none.
func reapGroup(group int) {
	for end := time.Now().Add(reapFor); time.Now().Before(end); {
		pid, err := syscall.Wait4(-group, nil, syscall.WNOHANG, nil)
		switch {
		case err != nil && !errors.Is(err, syscall.EINTR):
			return
		case pid == 0:
			time.Sleep(time.Millisecond)
		}
	}
}

// adopts says whether orphans become children of this process.
func adopts() bool {
	var subreaper int32
	_ = unix.Prctl(unix.PR_GET_CHILD_SUBREAPER, uintptr(unsafe.Pointer(&subreaper)), 0, 0, 0) // 0 where the kernel has none
	return os.Getpid() == 1 || subreaper != 0
}

// endedChild returns the id of a child that has ended and leaves it to be waited
// for; 0: there is none.
func endedChild() int {
	var info unix.Siginfo
	for {
		err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || info.Signo == 0 {
			return 0
		}
		return int((*childInfo)(unsafe.Pointer(&info)).child.pid)
	}
}

// childInfo is siginfo_t as waitid fills it.
type childInfo struct {
	_     [3]int32 // signo, errno, code
	child struct {
		_   [0]uintptr // the kernel aligns what follows like a pointer
		pid int32
	}
}
