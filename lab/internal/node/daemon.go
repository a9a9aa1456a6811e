package node

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/anyvip/anyvip/lab/internal/child"
	"github.com/anyvip/anyvip/lab/internal/wire"
)

// readyTimeout bounds the start of one program of a daemon.
const readyTimeout = 20 * time.Second

// daemon is the node's daemon: the programs of its spec, started in their order.
// The last one that stays is the main program, whose life is the daemon's.
type daemon struct {
	programs []wire.Program
	family   *child.Family
	died     func(text string)

	op    sync.Mutex // held by a start or a stop under way
	mu    sync.Mutex // guards what follows
	parts []part     // the programs that were started, main last
	asked bool       // the daemon's end was asked for
	ended string
}

type part struct {
	name string
	*child.Child
}

func newDaemon(spec wire.Node, family *child.Family, died func(string)) *daemon {
	return &daemon{programs: spec.Programs, family: family, died: died}
}

// mainName is empty if the node has no daemon.
func (d *daemon) mainName() string {
	name := ""
	for _, p := range d.programs {
		if !p.Once {
			name = p.Name
		}
	}
	return name
}

func (d *daemon) state() wire.Daemon {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := wire.Daemon{Program: d.mainName(), Ended: d.ended}
	main := d.main()
	switch {
	case main == nil:
	case running(main.Child):
		s.Running, s.Pid = true, main.Pid
	case s.Ended == "": // watch is about to note it
		s.Ended = main.name + ": " + child.Describe(main.Status())
	}
	return s
}

// describe is the daemon's part of the line that tells that the node is up.
func (d *daemon) describe() string {
	s := d.state()
	if s.Program == "" {
		return "no daemon"
	}
	return fmt.Sprintf("%s, pid %d", s.Program, s.Pid)
}

// main is the running or ended main program, nil before its start.
func (d *daemon) main() *part {
	for i := range d.parts {
		if d.parts[i].name == d.mainName() {
			return &d.parts[i]
		}
	}
	return nil
}

func running(c *child.Child) bool {
	select {
	case <-c.Done():
		return false
	default:
		return true
	}
}

// start brings all programs up, or none.
func (d *daemon) start() error {
	d.op.Lock()
	defer d.op.Unlock()
	if d.state().Running {
		return nil
	}
	d.end(syscall.SIGKILL) // what is left of the last run
	d.mu.Lock()
	d.parts, d.asked, d.ended = nil, false, ""
	d.mu.Unlock()
	for _, p := range d.programs {
		if err := d.startProgram(p); err != nil {
			d.end(syscall.SIGKILL)
			return err
		}
	}
	return nil
}

func (d *daemon) startProgram(p wire.Program) error {
	path, err := exec.LookPath(p.Argv[0])
	if err != nil {
		return err
	}
	if p.Ready != "" {
		_ = os.Remove(p.Ready) // a socket of the last run says nothing; there may be none
	}
	mark := logSize()
	c, err := d.family.Start(path, p.Argv, &syscall.ProcAttr{
		Dir: "/", Env: os.Environ(), Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{Setpgid: true},
	})
	if err != nil {
		return err
	}
	if p.Once {
		return waitOnce(p, c, mark)
	}
	d.mu.Lock()
	d.parts = append(d.parts, part{name: p.Name, Child: c})
	d.mu.Unlock()
	go d.watch(p.Name, c, mark)
	return waitReady(p, c, mark)
}

func waitOnce(p wire.Program, c *child.Child, mark int64) error {
	select {
	case <-c.Done():
	case <-time.After(readyTimeout):
		c.Signal(syscall.SIGKILL, true)
		<-c.Done()
		return fmt.Errorf("%s did not end within %s%s", p.Name, readyTimeout, tail(mark))
	}
	if status := c.Status(); status != 0 {
		return fmt.Errorf("%s: %s%s", p.Name, child.Describe(status), tail(mark))
	}
	return nil
}

// waitReady polls for the path that shows that p serves.
func waitReady(p wire.Program, c *child.Child, mark int64) error {
	deadline := time.NewTimer(readyTimeout)
	defer deadline.Stop()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for p.Ready != "" {
		if _, err := os.Stat(p.Ready); err == nil {
			return nil
		}
		select {
		case <-c.Done():
			return fmt.Errorf("%s: %s%s", p.Name, child.Describe(c.Status()), tail(mark))
		case <-deadline.C:
			return fmt.Errorf("%s did not make %s within %s%s", p.Name, p.Ready, readyTimeout, tail(mark))
		case <-poll.C:
		}
	}
	return nil
}

// watch notes the end of a program and reports one that nobody asked for.
func (d *daemon) watch(name string, c *child.Child, mark int64) {
	<-c.Done()
	text := name + ": " + child.Describe(c.Status())
	d.mu.Lock()
	asked := d.asked
	if name == d.mainName() || !asked {
		d.ended = text
	}
	d.mu.Unlock()
	if !asked {
		d.died(text + tail(mark))
	}
}

// stop sends sig to every program, the main one first, and waits for their ends.
func (d *daemon) stop(sig syscall.Signal) {
	d.op.Lock()
	defer d.op.Unlock()
	d.end(sig)
}

func (d *daemon) end(sig syscall.Signal) {
	d.mu.Lock()
	d.asked = true
	parts := d.parts
	d.mu.Unlock()
	for i := len(parts) - 1; i >= 0; i-- {
		parts[i].Signal(sig, false)
		<-parts[i].Done()
	}
}

// signal sends sig to the main program and does not wait.
func (d *daemon) signal(sig syscall.Signal) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	main := d.main()
	if main == nil || !running(main.Child) {
		return errors.New("the daemon does not run")
	}
	ends := []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT}
	for _, e := range ends {
		d.asked = d.asked || e == sig
	}
	main.Signal(sig, false)
	return nil
}

// wait returns when the main program has ended.
func (d *daemon) wait(cancel <-chan struct{}) {
	d.mu.Lock()
	main := d.main()
	d.mu.Unlock()
	if main == nil {
		return
	}
	select {
	case <-main.Done():
	case <-cancel:
	}
}

// handle answers the requests about the daemon.
func (d *daemon) handle(r wire.Request, cancel <-chan struct{}) wire.Reply {
	if len(d.programs) == 0 {
		return wire.Reply{Error: "the node has no daemon: its image runs none and the topology gives no cmd"}
	}
	var err error
	switch sig := syscall.Signal(r.Signal); r.Op {
	case wire.OpDaemon: // the answer is all that is asked for
	case wire.OpDaemonStart:
		err = d.start()
	case wire.OpDaemonStop:
		d.stop(sig)
	case wire.OpDaemonKill:
		err = d.signal(sig)
	case wire.OpDaemonWait:
		d.wait(cancel)
	case wire.OpDown, wire.OpRun, wire.OpSignal, wire.OpSetLink:
		err = fmt.Errorf("%q is no request about a daemon", r.Op)
	}
	if err != nil {
		return wire.Reply{Error: strings.TrimSpace(err.Error())}
	}
	s := d.state()
	return wire.Reply{Daemon: &s}
}
