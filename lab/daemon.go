package lab

import (
	"context"
	"fmt"
	"syscall"

	"github.com/anyvip/anyvip/lab/internal/wire"
)

// Daemon is the daemon of a node: one program, or several of which the last one
// is the main one (FRR: zebra, staticd, bgpd).
type Daemon struct {
	lab  *Lab
	node string
}

// DaemonState is what a Daemon does.
type DaemonState struct {
	Program string // name of the main program
	Running bool
	Pid     int    // of the main program, as commands in the node see it
	Ended   string // how a program ended last, like "bgpd: signal: killed"
}

// Daemon returns the daemon of a node. Its methods fail if the node has none.
func (l *Lab) Daemon(node string) *Daemon { return &Daemon{lab: l, node: node} }

// State tells what the daemon does now.
func (d *Daemon) State() (DaemonState, error) {
	return d.do(context.Background(), wire.Request{Op: wire.OpDaemon})
}

// Start starts the daemon and returns when it serves. A running one is left alone.
func (d *Daemon) Start(ctx context.Context) error {
	_, err := d.do(ctx, wire.Request{Op: wire.OpDaemonStart})
	return err
}

// Stop sends SIGTERM to the daemon's programs, the main one first, and returns
// when they have ended.
func (d *Daemon) Stop(ctx context.Context) error {
	_, err := d.do(ctx, wire.Request{Op: wire.OpDaemonStop, Signal: int(syscall.SIGTERM)})
	return err
}

// Kill sends SIGKILL to the daemon's programs and returns when they have ended.
func (d *Daemon) Kill() error {
	_, err := d.do(context.Background(), wire.Request{Op: wire.OpDaemonStop, Signal: int(syscall.SIGKILL)})
	return err
}

// Restart is Stop and Start.
func (d *Daemon) Restart(ctx context.Context) error {
	if err := d.Stop(ctx); err != nil {
		return err
	}
	return d.Start(ctx)
}

// Signal sends sig to the main program and returns at once.
func (d *Daemon) Signal(sig syscall.Signal) error {
	_, err := d.do(context.Background(), wire.Request{Op: wire.OpDaemonKill, Signal: int(sig)})
	return err
}

// Wait returns when the main program has ended, with how.
func (d *Daemon) Wait(ctx context.Context) (DaemonState, error) {
	return d.do(ctx, wire.Request{Op: wire.OpDaemonWait})
}

func (d *Daemon) do(ctx context.Context, r wire.Request) (DaemonState, error) {
	reply, err := d.lab.ask(ctx, d.node, r)
	if err != nil {
		return DaemonState{}, fmt.Errorf("daemon of %s: %w", d.node, err)
	}
	if reply.Daemon == nil {
		return DaemonState{}, fmt.Errorf("daemon of %s: no answer", d.node)
	}
	return DaemonState(*reply.Daemon), nil
}
