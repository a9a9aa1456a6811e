// Package child starts and reaps processes for a process that is pid 1 of a pid
// namespace. Orphans of the whole namespace become children of pid 1, so one
// wait for all of them is needed, and os/exec, which waits for its own, would
// race with it.
//
// Family.Run is the only goroutine; it is the only caller of wait4.
package child

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// Family starts children and learns of their ends.
type Family struct {
	mu    sync.Mutex // held across fork and wait4: no child is reaped before it is in known
	known map[int]*Child
}

// Child is a process that Family started.
type Child struct {
	Pid    int
	family *Family
	done   chan struct{}
	status syscall.WaitStatus
}

// New returns an empty Family. Children are reaped while Run runs.
func New() *Family { return &Family{known: make(map[int]*Child)} }

// Run reaps every child, known or orphaned, until ctx ends.
func (f *Family) Run(ctx context.Context) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGCHLD)
	defer signal.Stop(signals)
	for {
		f.reap()
		select {
		case <-signals:
		case <-ctx.Done():
			return
		}
	}
}

func (f *Family) reap() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		if c := f.known[pid]; c != nil {
			delete(f.known, pid)
			c.status = status
			close(c.done)
		}
	}
}

// Start runs the program at path. attr.Files are inherited as they are.
func (f *Family) Start(path string, argv []string, attr *syscall.ProcAttr) (*Child, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	pid, err := syscall.ForkExec(path, argv, attr)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	c := &Child{Pid: pid, family: f, done: make(chan struct{})}
	f.known[pid] = c
	return c, nil
}

// Done is closed when the child has ended.
func (c *Child) Done() <-chan struct{} { return c.done }

// Status says how the child ended. It may be called once Done is closed.
func (c *Child) Status() syscall.WaitStatus { return c.status }

// Signal sends sig to the child, or with group to its whole process group. After
// the child's end the signal is dropped, since its pid may be another's by then.
func (c *Child) Signal(sig syscall.Signal, group bool) {
	c.family.mu.Lock()
	defer c.family.mu.Unlock()
	if c.family.known[c.Pid] != c {
		return
	}
	pid := c.Pid
	if group {
		pid = -pid
	}
	// The child is not reaped, so it can be signalled; we are its ancestor, so we may.
	_ = syscall.Kill(pid, sig)
}

// Describe says in words how a process ended: "exit status 1", "signal: killed".
func Describe(status syscall.WaitStatus) string {
	if status.Signaled() {
		return "signal: " + status.Signal().String()
	}
	return fmt.Sprintf("exit status %d", status.ExitStatus())
}
