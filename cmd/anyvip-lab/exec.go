package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"github.com/anyvip/anyvip/lab"
)

const execArgs = "FILE|NAME NODE [--] COMMAND..."

// forwarded are the signals that reach the command in the node.
var forwarded = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH}

// execute runs a command in a node with our own stdin, stdout and stderr, and ends
// with its exit code.
func execute(args []string) error {
	flags := newFlags("exec", execArgs)
	if err := flags.Parse(args); err != nil {
		return errUsage
	}
	args = flags.Args()
	if len(args) > 2 && args[2] == "--" {
		args = append(args[:2:2], args[3:]...)
	}
	if len(args) < 3 {
		flags.Usage()
		return errUsage
	}
	l, err := attach(args[0])
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }() // a directory opened for reading
	cmd := l.Command(context.Background(), args[1], args[2:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = []string{"TERM=" + os.Getenv("TERM")}
	cmd.Dir, _ = os.Getwd()
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, forwarded...)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() {
		for s := range signals {
			_ = cmd.Signal(s.(syscall.Signal)) // fails if the command has just ended: Wait tells
		}
	}()
	return exitOf(cmd.Wait())
}

// exitOf turns the end of the command into ours, a signal as shells do.
func exitOf(err error) error {
	var exit *lab.ExitError
	switch {
	case !errors.As(err, &exit):
		return err
	case exit.Signal != 0:
		return exitCode(128 + int(exit.Signal))
	}
	return exitCode(exit.Code)
}
