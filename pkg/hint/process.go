package hint

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxPIDFile   = 64                     // bytes
	lookAgain    = 500 * time.Millisecond // for a process that is not there: its file may change at any time
	pollReadable = 0                      // poll(2) returns at once
)

func hasProcess(w Watch) bool { return w.PIDFile != "" }

func (e *Engine) runProcesses(ctx context.Context, s source) error {
	return e.again(ctx, s, hasProcess, e.watchProcesses)
}

// watchProcesses follows each process from its file to its end, and then its successor.
func (e *Engine) watchProcesses(ctx context.Context, set []Watch) error {
	p := processes{engine: e, missing: map[string]string{}}
	var wg sync.WaitGroup
	for _, w := range set {
		wg.Go(func() { p.follow(ctx, w) })
	}
	wg.Wait()
	return nil
}

type processes struct {
	engine *Engine

	mu      sync.Mutex
	missing map[string]string // by check
}

// lack says what is missing for one check; nothing with an empty detail.
func (p *processes) lack(check, detail string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if was, ok := p.missing[check]; ok && was == detail {
		return
	}
	p.missing[check] = detail
	var list []Missing
	for c, d := range p.missing {
		if d != "" {
			list = append(list, Missing{c, Process, d})
		}
	}
	p.engine.lacks(Process, list)
}

func (p *processes) follow(ctx context.Context, w Watch) {
	ticker := time.NewTicker(lookAgain)
	defer ticker.Stop()
	last := 0 // the process that ended
	for ctx.Err() == nil {
		pid, fd, err := openProcess(w.PIDFile)
		switch {
		case err != nil:
			p.lack(w.Check, err.Error())
		default:
			p.lack(w.Check, "")
			if last != 0 {
				p.engine.tell(w.Check, Process, false, fmt.Sprintf("process %d is there (%s)", pid, w.PIDFile))
			}
			if ended(ctx, fd) {
				last = pid
				p.engine.tell(w.Check, Process, true, fmt.Sprintf("process %d ended (%s)", pid, w.PIDFile))
			}
		}
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}

// openProcess opens the process that a file names.
func openProcess(path string) (pid int, fd *os.File, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a FIFO must not hold us up
	if err != nil {
		return 0, nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return 0, nil, errors.Join(err, fmt.Errorf("%s is no regular file", path))
	}
	buf := make([]byte, maxPIDFile)
	n, err := f.Read(buf)
	if err != nil && n == 0 {
		return 0, nil, fmt.Errorf("%s has no process id: %w", path, err)
	}
	pid, err = strconv.Atoi(string(bytes.TrimSpace(buf[:n])))
	switch {
	case err != nil:
		return 0, nil, fmt.Errorf("%s has no process id, but %q", path, buf[:n])
	case pid <= 1 || pid == os.Getpid():
		return 0, nil, fmt.Errorf("%s names process %d, which is no service", path, pid)
	}
	fd, err = openPID(pid)
	if errors.Is(err, unix.ESRCH) {
		return 0, nil, fmt.Errorf("%s names process %d, which is not there", path, pid)
	}
	if err != nil {
		return 0, nil, fmt.Errorf("watch process %d of %s: %w", pid, path, err)
	}
	return pid, fd, nil
}

// openPID opens a process, so that its end can be waited for.
func openPID(pid int) (*os.File, error) {
	raw, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(raw), "pidfd"), nil
}

// ended waits for the end of a process, or of ctx, and says which came.
func ended(ctx context.Context, fd *os.File) bool {
	defer fd.Close()
	stop := context.AfterFunc(ctx, func() { _ = fd.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	c, err := fd.SyscallConn()
	if err != nil {
		return false
	}
	over := false
	_ = c.Read(func(raw uintptr) bool {
		fds := []unix.PollFd{{Fd: int32(raw), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, pollReadable)
		over = err == nil && n == 1
		return over
	})
	return over
}
