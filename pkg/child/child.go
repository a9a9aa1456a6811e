package child

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

const (
	// MaxOutput is how much of a command's output is kept, in bytes.
	MaxOutput = 4 << 10

	// OutputGrace is how long Run waits for the end of the output after its command has
	// ended: somebody else may hold it open.
	OutputGrace = 50 * time.Millisecond

	// Path is the one variable that every command has.
	Path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

	markName = "ANYVIP_CHILD"
)

// Command is what to run.
type Command struct {
	Argv  []string // the program, an absolute path, and its arguments
	Env   []string // NAME=VALUE, besides Path
	Stdin []byte   // nil: empty
}

// End is how a command ended.
type End struct {
	Status syscall.WaitStatus
	Output []byte // the first MaxOutput bytes of both standard output and standard error
}

// FirstLine is the first line of the output with anything in it.
func (e End) FirstLine() string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(e.Output)), "\n")
	return line
}

// Run runs a command until it ends or ctx does, and returns soon after. Any goroutine
// may call it. An error is a command that was not started, and says why; one that was
// killed at the end of ctx is none.
func Run(ctx context.Context, c Command) (End, error) {
	for _, file := range programs(c.Argv) {
		if err := Trusted(file); err != nil {
			return End{}, fmt.Errorf("not started: %w", err)
		}
	}
	var out output
	mark := newMark()
	cmd := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...)
	cmd.Dir = "/"
	cmd.Env = append([]string{mark, Path}, c.Env...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if c.Stdin != nil {
		cmd.Stdin = bytes.NewReader(c.Stdin)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return killDescent(cmd.Process.Pid) }
	cmd.WaitDelay = OutputGrace
	err := children.run(cmd)
	if cmd.Process != nil {
		cleanUp(cmd.Process.Pid, mark, ctx.Err() != nil || errors.Is(err, exec.ErrWaitDelay))
	}
	if cmd.ProcessState == nil {
		return End{}, fmt.Errorf("start: %w", err)
	}
	return End{Status: cmd.ProcessState.Sys().(syscall.WaitStatus), Output: out.kept}, nil
}

// newMark is a variable that no other process has.
func newMark() string {
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	return markName + "=" + hex.EncodeToString(random[:])
}

// cleanUp ends what the command that leader was has left behind, and reaps what
// of it comes to us. It searches for it only where it is known to be needed.
func cleanUp(leader int, mark string, search bool) {
	groups := []int{leader}
	if search {
		groups = append(groups, killTree(leader, mark)...)
	} else {
		_ = killGroup(leader) // nobody left is what we hope for
	}
	for _, group := range groups {
		reapGroup(group)
	}
	children.reapStrays()
}

// output keeps the start of what is written to it and takes the rest, so that
// a command that talks a lot does not block.
type output struct{ kept []byte }

func (o *output) Write(p []byte) (int, error) {
	o.kept = append(o.kept, p[:min(len(p), MaxOutput-len(o.kept))]...)
	return len(p), nil
}
