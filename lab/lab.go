package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/anyvip/anyvip/lab/internal/supervisor"
	"github.com/anyvip/anyvip/lab/internal/wire"
)

// Options are all optional.
type Options struct {
	// LogDir gets NODE.log for every node, and keeps them. Without it the logs are
	// in the lab's runtime directory and go with the lab.
	LogDir string
	// Binaries is where the commands anyvip and anyvip-lab are. The default is the
	// directory of the running binary; the rest of PATH is searched after it.
	Binaries string
	// Progress is called with a line for every node that comes up, and for every
	// daemon that dies unasked. The calls do not overlap.
	Progress func(line string)
}

// Lab is a running lab. Its methods are for any goroutine.
type Lab struct {
	name   string
	place  *place
	logDir string

	// The rest is nil in a Lab from Attach.
	process *exec.Cmd
	stream  *wire.Stream
	ended   chan struct{} // closed when all is gone
	mu      sync.Mutex
	asked   bool  // Down was called
	err     error // why it ended, if Down was not called
	cleanup error // what could not be removed
}

// downTimeout bounds the wait for a lab of another process to end.
const downTimeout = 15 * time.Second

// Up starts the lab and returns when every node runs: its links are there, its
// exec lines are done and its daemon is started. ctx ends the start only; a
// running lab ends with Down, or with the calling process.
func Up(ctx context.Context, topo *Topology, o Options) (*Lab, error) {
	if os.Args[0] == supervisorName || os.Args[0] == nodeProcessName {
		panic("lab: this process was started by Up, and Init did not take it over: it has to be the first call of main and TestMain")
	}
	spec, err := specOf(topo, o)
	if err != nil {
		return nil, err
	}
	p, err := claim(topo.Name)
	if err != nil {
		return nil, err
	}
	spec.RuntimeDir = p.path
	if spec.LogDir, err = p.makeLogs(o.LogDir); err != nil {
		return nil, errors.Join(err, p.remove())
	}
	l := &Lab{name: topo.Name, place: p, logDir: spec.LogDir, ended: make(chan struct{})}
	if err := l.start(ctx, spec, o.Progress); err != nil {
		return nil, fmt.Errorf("lab %s: %w", topo.Name, err)
	}
	return l, nil
}

// start runs the supervisor and waits until the lab is up.
func (l *Lab) start(ctx context.Context, spec wire.Spec, progress func(string)) error {
	var stderr bytes.Buffer
	if err := l.startSupervisor(&stderr); err != nil {
		return errors.Join(err, l.place.remove())
	}
	up := make(chan error, 1)
	go l.follow(up, &stderr, progress)
	stop := context.AfterFunc(ctx, func() { l.stream.Close() })
	defer stop()
	err := l.stream.Send(spec)
	if err == nil {
		err = <-up
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return errors.Join(err, l.Down())
	}
	return nil
}

// startSupervisor starts this binary again, as pid 1 of the lab.
func (l *Lab) startSupervisor(stderr *bytes.Buffer) error {
	ours, theirs, err := wire.Socketpair()
	if err != nil {
		return err
	}
	defer theirs.Close()
	if l.stream, err = wire.NewStream(ours); err != nil {
		return err
	}
	l.process = &exec.Cmd{
		Path: "/proc/self/exe",
		// A program that forgot Init must not take itself for what it was started as, and
		// run its tests in the lab's namespaces: it trips over the flag.
		Args:        []string{supervisorName, "-supervisor", l.name},
		Dir:         "/",
		Stderr:      stderr,
		ExtraFiles:  []*os.File{theirs, l.place.dir},
		SysProcAttr: namespaces(),
	}
	if err := l.process.Start(); err != nil {
		l.stream.Close()
		return explain(fmt.Errorf("start the supervisor in its namespaces: %w", err))
	}
	return nil
}

// follow reads the supervisor's events until its end, and cleans up after it. It
// tells up how the start went.
func (l *Lab) follow(up chan<- error, stderr *bytes.Buffer, progress func(string)) {
	defer close(l.ended)
	var failure error
	for {
		var e wire.Event
		if l.stream.Receive(&e) != nil {
			break
		}
		switch e.State {
		case wire.StateReady:
			up <- nil
		case wire.StateFailed:
			if e.Node == "" {
				failure = explain(errors.New(e.Text))
			}
		case wire.StateWaiting: // one of many steps
		case wire.StateUp, wire.StateDied, wire.StateGone:
			if progress != nil {
				progress(describe(e))
			}
		}
	}
	l.stream.Close()
	exit := l.process.Wait()
	if failure == nil {
		failure = fmt.Errorf("the supervisor ended: %s %s", l.process.ProcessState, bytes.TrimSpace(stderr.Bytes()))
		if exit == nil {
			failure = errors.New("it was ended by `down`")
		}
	}
	l.mu.Lock()
	if !l.asked {
		l.err = failure
	}
	l.cleanup = l.place.remove()
	l.mu.Unlock()
	select {
	case up <- failure:
	default: // Up has its answer
	}
}

// describe is the line about a node for Options.Progress.
func describe(e wire.Event) string { return fmt.Sprintf("%-10s %-7s %s", e.Node, e.State, e.Text) }

// Attach returns a running lab of this user that another process started.
func Attach(name string) (*Lab, error) {
	p, err := find(name)
	if err != nil {
		return nil, err
	}
	return &Lab{name: name, place: p, logDir: p.logs()}, nil
}

// Close gives up a Lab from Attach; the lab runs on. For a Lab from Up it is Down.
func (l *Lab) Close() error {
	if l.process != nil {
		return l.Down()
	}
	return l.place.dir.Close()
}

// Down ends the lab and returns when nothing is left of it. A second call does
// nothing.
func (l *Lab) Down() error {
	if l.process == nil {
		return l.place.askDown(downTimeout)
	}
	l.mu.Lock()
	l.asked = true
	l.mu.Unlock()
	select {
	case <-l.ended: // its process id may be another's by now
	default:
		// It is pid 1 of the lab: all of it dies with it. The error would be that it
		// has just ended.
		_ = l.process.Process.Kill()
		<-l.ended
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cleanup
}

// Done is closed when the lab has ended and all is gone. It is for the process
// that called Up; for others it is nil.
func (l *Lab) Done() <-chan struct{} { return l.ended }

// Err says why the lab ended if Down did not end it. It is for use after Done.
func (l *Lab) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Logs returns what a node's daemon and exec lines wrote so far, or why that
// cannot be read.
func (l *Lab) Logs(node string) string {
	data, err := os.ReadFile(filepath.Join(l.logDir, node+".log"))
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// SetLink cuts or heals the link at one of its ends, "node:interface". That end
// goes down like a port that was shut, the other end loses its carrier. Addresses
// stay; routes through the named end go, as they do in the kernel.
func (l *Lab) SetLink(end string, up bool) error {
	node, name, ok := cutEndpoint(end)
	if !ok {
		return fmt.Errorf("set link: %q has to be NODE:INTERFACE", end)
	}
	_, err := l.ask(context.Background(), node, wire.Request{Op: wire.OpSetLink, Interface: name, Up: up})
	if err != nil {
		return fmt.Errorf("set link %s: %w", end, err)
	}
	return nil
}

// dial connects to a node.
func (l *Lab) dial(node string) (*wire.Conn, error) {
	conn, err := wire.Dial(l.place.dir, supervisor.NodeSocket(node))
	if err == nil {
		return conn, nil
	}
	nodes, _ := filepath.Glob(filepath.Join(l.place.path, supervisor.NodeSocket("*")))
	if len(nodes) == 0 {
		return nil, &NotRunningError{Name: l.name}
	}
	if _, statErr := os.Stat(filepath.Join(l.place.path, supervisor.NodeSocket(node))); statErr != nil {
		return nil, fmt.Errorf("lab %s has no node %s", l.name, node)
	}
	return nil, fmt.Errorf("node %s of lab %s does not answer: %w", node, l.name, err)
}

// ask sends one request to a node and returns its answer.
func (l *Lab) ask(ctx context.Context, node string, r wire.Request) (wire.Reply, error) {
	conn, err := l.dial(node)
	if err != nil {
		return wire.Reply{}, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	var reply wire.Reply
	if err = conn.Send(r); err == nil {
		_, err = conn.Receive(&reply)
	}
	if ctx.Err() != nil {
		return wire.Reply{}, context.Cause(ctx)
	}
	if err != nil {
		return wire.Reply{}, fmt.Errorf("node %s is gone: %w", node, err)
	}
	if reply.Error != "" {
		return wire.Reply{}, errors.New(reply.Error)
	}
	return reply, nil
}
