package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/anyvip/anyvip/lab/internal/wire"
)

// Cmd runs a command in a node. It is used like exec.Cmd: set fields, then Start
// and Wait, or Run, Output or CombinedOutput; once.
//
// The command starts with the node's environment and PATH, in a process group of
// its own. If the context ends, or the calling process, the whole group is killed.
type Cmd struct {
	Args []string
	Env  []string // KEY=value, added to the node's environment
	Dir  string   // default: /

	// An *os.File is passed as it is, nil is /dev/null. Anything else is copied:
	// then Wait also waits for a Read of Stdin to return, and for the outputs to
	// end, but for those at most half a second if a process that the command left
	// behind still holds them.
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer

	lab  *Lab
	node string
	ctx  context.Context

	conn    *wire.Conn
	stop    func() bool
	outputs []*os.File // our ends of the pipes
	copies  sync.WaitGroup
	stdin   *os.File
	copyErr chan error
}

// leftBehind is how long output is read after the end of the command.
const leftBehind = 500 * time.Millisecond

// ExitError is how a command ended that did not end with success.
type ExitError struct {
	Node   string
	Args   []string
	Code   int            // -1 if a signal ended it
	Signal syscall.Signal // 0 if none did
	Stderr []byte         // from Output, if Stderr was nil
}

// Error names the node, the command, how it ended and what it complained about.
func (e *ExitError) Error() string {
	how := fmt.Sprintf("exit status %d", e.Code)
	if e.Signal != 0 {
		how = "signal: " + e.Signal.String()
	}
	text := fmt.Sprintf("%s: %s: %s", e.Node, strings.Join(e.Args, " "), how)
	if complaint := bytes.TrimSpace(e.Stderr); len(complaint) > 0 {
		text += ": " + string(complaint)
	}
	return text
}

// Command prepares a command for a node; it is looked up in the node's PATH.
func (l *Lab) Command(ctx context.Context, node string, argv ...string) *Cmd {
	return &Cmd{Args: argv, lab: l, node: node, ctx: ctx}
}

// Start starts the command. It fails if the command cannot be started.
func (c *Cmd) Start() error {
	if c.conn != nil {
		return errors.New("lab: Start of a command that was started before")
	}
	if err := c.start(); err != nil {
		return fmt.Errorf("%s: %s: %w", c.node, strings.Join(c.Args, " "), err)
	}
	return nil
}

func (c *Cmd) start() error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	conn, err := c.lab.dial(c.node)
	if err != nil {
		return err
	}
	files, closeTheirs, err := c.files()
	defer closeTheirs()
	if err == nil {
		err = conn.Send(wire.Request{Op: wire.OpRun, Argv: c.Args, Env: c.Env, Dir: c.Dir}, files...)
	}
	closeTheirs()
	c.stop = context.AfterFunc(c.ctx, func() { conn.Close() })
	var reply wire.Reply
	if err == nil {
		_, err = conn.Receive(&reply)
	}
	if err == nil && !reply.Started {
		err = errors.New(reply.Error)
	}
	c.conn = conn
	if err != nil {
		return errors.Join(err, c.finish())
	}
	return nil
}

// files returns what the command gets as stdin, stdout and stderr. It starts the
// goroutines that copy. closeTheirs closes the ends that only the command needs.
func (c *Cmd) files() (files []*os.File, closeTheirs func(), err error) {
	var theirs []*os.File
	closeTheirs = func() {
		for _, f := range theirs {
			f.Close()
		}
		theirs = nil
	}
	c.copyErr = make(chan error, 3)
	in, err := c.input(&theirs)
	if err != nil {
		return nil, closeTheirs, err
	}
	out, err := c.output(c.Stdout, &theirs)
	if err != nil {
		return nil, closeTheirs, err
	}
	errFile := out
	if !same(c.Stdout, c.Stderr) {
		if errFile, err = c.output(c.Stderr, &theirs); err != nil {
			return nil, closeTheirs, err
		}
	}
	return []*os.File{in, out, errFile}, closeTheirs, nil
}

// same tells whether two writers are one, which then must not be written to by
// two goroutines.
func same(a, b io.Writer) bool {
	defer func() { _ = recover() }() // values that cannot be compared are not the same
	return a == b
}

func (c *Cmd) input(theirs *[]*os.File) (*os.File, error) {
	if f, ok := c.Stdin.(*os.File); ok {
		return f, nil
	}
	if c.Stdin == nil {
		f, err := os.Open(os.DevNull)
		*theirs = append(*theirs, f)
		return f, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	*theirs = append(*theirs, r)
	c.stdin = w
	c.copies.Go(func() {
		_, err := io.Copy(w, c.Stdin)
		w.Close()
		if err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, os.ErrClosed) {
			c.copyErr <- err
		}
	})
	return r, nil
}

func (c *Cmd) output(to io.Writer, theirs *[]*os.File) (*os.File, error) {
	if f, ok := to.(*os.File); ok {
		return f, nil
	}
	if to == nil {
		f, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		*theirs = append(*theirs, f)
		return f, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	*theirs = append(*theirs, w)
	c.outputs = append(c.outputs, r)
	c.copies.Go(func() {
		_, err := io.Copy(to, r)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			c.copyErr <- err
		}
	})
	return w, nil
}

// Wait waits for the end of the command and of the copying. The error is an
// *ExitError if the command did not end with status 0.
func (c *Cmd) Wait() error {
	if c.conn == nil {
		return errors.New("lab: Wait for a command that was not started")
	}
	var reply wire.Reply
	_, err := c.conn.Receive(&reply)
	copyErr := c.finish()
	switch {
	case c.ctx.Err() != nil:
		return context.Cause(c.ctx)
	case err != nil || reply.Exit == nil:
		return fmt.Errorf("%s: %s: the node is gone", c.node, strings.Join(c.Args, " "))
	case *reply.Exit != wire.Exit{}:
		return &ExitError{Node: c.node, Args: c.Args, Code: reply.Exit.Code, Signal: syscall.Signal(reply.Exit.Signal)}
	}
	return copyErr
}

// finish releases what Start took and waits for the goroutines.
func (c *Cmd) finish() error {
	c.stop()
	c.conn.Close()
	if c.stdin != nil {
		c.stdin.Close()
	}
	for _, r := range c.outputs {
		_ = r.SetReadDeadline(time.Now().Add(leftBehind)) // pipes have deadlines
	}
	c.copies.Wait()
	for _, r := range c.outputs {
		r.Close()
	}
	select {
	case err := <-c.copyErr:
		return err
	default:
		return nil
	}
}

// Run starts the command and waits for its end.
func (c *Cmd) Run() error {
	if err := c.Start(); err != nil {
		return err
	}
	return c.Wait()
}

// Output runs the command and returns its standard output. If Stderr is nil, it
// is kept for the error.
func (c *Cmd) Output() ([]byte, error) {
	var out, complaint bytes.Buffer
	c.Stdout = &out
	if c.Stderr == nil {
		c.Stderr = &complaint
	}
	err := c.Run()
	var exit *ExitError
	if errors.As(err, &exit) {
		exit.Stderr = complaint.Bytes()
	}
	return out.Bytes(), err
}

// CombinedOutput runs the command and returns its standard output and error.
func (c *Cmd) CombinedOutput() ([]byte, error) {
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	return out.Bytes(), err
}

// Signal sends a signal to the command.
func (c *Cmd) Signal(sig syscall.Signal) error {
	if c.conn == nil {
		return errors.New("lab: Signal to a command that was not started")
	}
	return c.conn.Send(wire.Request{Op: wire.OpSignal, Signal: int(sig)})
}

// Kill kills the command.
func (c *Cmd) Kill() error { return c.Signal(syscall.SIGKILL) }
