// Package supervisor is the first process of a lab, pid 1 of its pid namespace.
// It starts the nodes, connects them, and waits for a reason to end: the caller
// closed its stream or died, a client asked for it, or the start failed. All of
// the lab lives below it, so its end by any means is the end of the lab; the
// kernel sees to that.
//
// Goroutines: the reaper, one reader per node, one for the caller's stream, one
// for the lab's socket. The main goroutine owns all state; the others send to it.
package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/anyvip/anyvip/lab/internal/child"
	"github.com/anyvip/anyvip/lab/internal/wire"
)

// The file descriptors that the caller passes, after stdin, stdout and stderr.
const (
	FDStream  = 3
	FDRuntime = 4 // the lab's runtime directory, locked: the lock lives as long as we do
)

// SocketName is the lab's own socket in the runtime directory.
const SocketName = "lab.sock"

// NodeSocket is the name of a node's socket in the runtime directory.
func NodeSocket(node string) string { return node + ".node" }

// Supervisor holds the lab together.
type Supervisor struct {
	spec    wire.Spec
	self    string // the name under which nodes are started
	caller  *wire.Stream
	runtime *os.File
	family  *child.Family
	nodes   map[string]*node
	events  chan wire.Event
	down    chan *wire.Conn // a client that waits for the end
	orphan  chan struct{}   // closed when the caller is gone
}

type node struct {
	process *child.Child
	stream  *wire.Stream
}

// Main is the whole life of the process; nodeName marks a node's process in its
// argv[0]. It returns an exit code.
func Main(nodeName string) int {
	caller, err := wire.NewStream(os.NewFile(FDStream, "stream"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	s := &Supervisor{
		self:    nodeName,
		caller:  caller,
		runtime: os.NewFile(FDRuntime, "runtime directory"),
		family:  child.New(),
		nodes:   make(map[string]*node),
		events:  make(chan wire.Event),
		down:    make(chan *wire.Conn),
		orphan:  make(chan struct{}),
	}
	syscall.CloseOnExec(FDRuntime)
	if err := caller.Receive(&s.spec); err != nil {
		return 1 // the caller gave up
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go s.family.Run(ctx)
	if err := s.run(); err != nil {
		s.tell(wire.Event{State: wire.StateFailed, Text: err.Error()})
		return 1
	}
	return 0
}

func (s *Supervisor) run() error {
	defer s.cleanUp()
	go s.watchCaller()
	if err := s.listen(); err != nil {
		return err
	}
	for _, n := range s.spec.Nodes {
		if err := s.startNode(n); err != nil {
			return fmt.Errorf("node %s: %w", n.Name, err)
		}
	}
	if err := s.collect(wire.StateWaiting); err != nil {
		return err
	}
	if err := s.connect(); err != nil {
		return err
	}
	if err := s.collect(wire.StateUp); err != nil {
		return err
	}
	s.tell(wire.Event{State: wire.StateReady})
	return s.stay()
}

// tell sends an event to the caller. If it is gone, watchCaller notices.
func (s *Supervisor) tell(e wire.Event) { _ = s.caller.Send(e) }

// watchCaller reads the caller's stream, which carries nothing after the spec.
func (s *Supervisor) watchCaller() {
	var nothing struct{}
	for s.caller.Receive(&nothing) == nil {
	}
	close(s.orphan)
}

// listen serves the lab's socket. The one request, down, is answered by our end.
func (s *Supervisor) listen() error {
	l, err := wire.Listen(s.runtime, SocketName)
	if err != nil {
		return err
	}
	go func() {
		for {
			conn, err := wire.Accept(l)
			if err != nil {
				return
			}
			var r wire.Request
			if _, err := conn.Receive(&r); err == nil && r.Op == wire.OpDown {
				s.down <- conn
				return
			}
			conn.Close()
		}
	}()
	return nil
}

// startNode starts the process of a node and hands it its spec.
func (s *Supervisor) startNode(spec wire.Node) error {
	ours, theirs, err := wire.Socketpair()
	if err != nil {
		return err
	}
	defer theirs.Close()
	stream, err := wire.NewStream(ours)
	if err != nil {
		return err
	}
	l, err := wire.Listen(s.runtime, NodeSocket(spec.Name))
	if err != nil {
		return err
	}
	socket, err := l.File()
	_ = l.Close() // the file is the node's socket from here on
	if err != nil {
		return err
	}
	defer socket.Close()
	log, err := os.OpenFile(filepath.Join(s.spec.LogDir, spec.Name+".log"), os.O_CREATE|os.O_RDWR|os.O_APPEND|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	process, err := s.family.Start("/proc/self/exe", []string{s.self, s.spec.Lab + "/" + spec.Name}, &syscall.ProcAttr{
		Env:   os.Environ(),
		Files: []uintptr{null.Fd(), log.Fd(), log.Fd(), theirs.Fd(), socket.Fd()},
		Sys: &syscall.SysProcAttr{
			Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWPID,
			Setpgid:    true,
		},
	})
	if err != nil {
		return err
	}
	n := &node{process: process, stream: stream}
	s.nodes[spec.Name] = n
	go s.readNode(spec.Name, n)
	return stream.Send(spec)
}

// readNode passes a node's events on, the last of them being its end.
func (s *Supervisor) readNode(name string, n *node) {
	for {
		var e wire.Event
		if err := n.stream.Receive(&e); err != nil {
			break
		}
		s.events <- e
	}
	<-n.process.Done()
	s.events <- wire.Event{Node: name, State: wire.StateGone, Text: child.Describe(n.process.Status())}
}

// collect waits until every node has reached want. A node that fails does not
// hide the failure of another: all are heard.
func (s *Supervisor) collect(want wire.State) error {
	missing := make(map[string]bool)
	for name := range s.nodes {
		missing[name] = true
	}
	var failures []error
	for len(missing) > 0 {
		select {
		case e := <-s.events:
			if missing[e.Node] { // the end of a node that failed is no news
				s.tell(e)
			}
			switch {
			case e.State == want:
				delete(missing, e.Node)
			case missing[e.Node] && (e.State == wire.StateFailed || e.State == wire.StateGone):
				delete(missing, e.Node)
				failures = append(failures, fmt.Errorf("node %s: %s", e.Node, e.Text))
			}
		case <-s.down:
			return errors.New("ended by `down` while it came up")
		case <-s.orphan:
			return errors.New("the caller is gone")
		}
	}
	slices.SortFunc(failures, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(failures...)
}

// connect makes the links and tells every node that it has its own.
func (s *Supervisor) connect() error {
	for _, l := range s.spec.Links {
		if err := addLink(l, s.nodes[l.A.Node].process.Pid, s.nodes[l.B.Node].process.Pid); err != nil {
			return err
		}
	}
	for name, n := range s.nodes {
		if err := n.stream.Send(true); err != nil {
			return fmt.Errorf("node %s: %w", name, err)
		}
	}
	return nil
}

// stay passes events on until somebody ends the lab.
func (s *Supervisor) stay() error {
	for {
		select {
		case e := <-s.events:
			s.tell(e)
		case <-s.down:
			return nil
		case <-s.orphan:
			return nil
		}
	}
}

// cleanUp removes what the lab has on disk. The caller does the same, and reports
// what it cannot remove; this is for the case that it was killed.
func (s *Supervisor) cleanUp() {
	_ = os.RemoveAll(s.spec.RuntimeDir)
	_ = os.Remove(filepath.Dir(s.spec.RuntimeDir)) // goes if no other lab is in it
}
