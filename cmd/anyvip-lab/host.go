package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

const hostArgs = "[LINE]..."

// host is a host that does nothing by itself, for labs made of containers: it runs each LINE, as `exec:` of a topology
// file does, and waits for a signal. Words are separated by blanks; there is no shell.
func host(args []string) error {
	flags := newFlags("host", hostArgs)
	if err := flags.Parse(args); err != nil {
		return errUsage
	}
	ctx, stop := untilSignal()
	defer stop()
	for _, line := range flags.Args() {
		words := strings.Fields(line)
		if len(words) == 0 {
			return errors.New("a line is empty")
		}
		cmd := exec.CommandContext(ctx, words[0], words[1:]...)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		err := cmd.Run()
		if ctx.Err() != nil {
			return nil // the signal ended the line too
		}
		if err != nil {
			return fmt.Errorf("%s: %w", line, err)
		}
	}
	<-ctx.Done()
	return nil
}
