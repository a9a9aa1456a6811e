package checks

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

const (
	maxOutput = 4 << 10 // bytes of a command's output that are kept

	// outputGrace is how long a probe waits for the end of the output after its
	// command has ended: someone else may hold it open.
	outputGrace = 50 * time.Millisecond

	execPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// Exec runs a command and judges its exit code as Nagios does: 0 passes, 1 is
// degraded, 2 fails, 3 could not ask; any other, and death by a signal, fails.
// The first line of its output, standard error included, is the detail.
//
// There is no shell, standard input is empty, the directory is /, and the
// environment has PATH and what Env adds. The command leads a session and a
// process group of its own. The group gets SIGKILL at the timeout, and also when
// the command has ended by itself. After a timeout, and where somebody still holds
// the output open, the whole session gets it, for what left the group alone:
// timeout(1) and shells with job control do. So a probe that hangs leaves nothing
// behind but what left the session on purpose (setsid), and one that ends in time
// what left the group besides, if it closed its output: to look through all
// processes after every probe costs too much.
//
// There is no Pdeathsig: it follows the thread that forked, not the process, and
// reaches the leader alone. What an agent that is killed leaves behind, its systemd
// unit or container ends.
type Exec struct {
	Command []string `yaml:"command" doc:"program (absolute path) and arguments; no shell. Exit code 0: pass, 1: degraded, 2: fail, 3: could not ask, other: fail"`
	Env     []string `yaml:"env" doc:"NAME=VALUE, besides PATH; nothing else is inherited"`
}

// Describe returns exec and the command line.
func (e *Exec) Describe() (name, target string) { return "exec", strings.Join(e.Command, " ") }

// Validate finds what is wrong. Whether the program is there is seen at each probe.
func (e *Exec) Validate() (ps []vip.Problem) {
	switch {
	case len(e.Command) == 0:
		ps = append(ps, vip.Problem{Path: "command", Message: "is missing", Allowed: "[PROGRAM, ARGUMENT, ...]"})
	case !filepath.IsAbs(e.Command[0]):
		ps = append(ps, vip.Problem{Path: "command[0]", Value: e.Command[0], Message: "is not an absolute path"})
	}
	for i, arg := range e.Command {
		if strings.ContainsRune(arg, 0) {
			ps = append(ps, vip.Problem{Path: fmt.Sprintf("command[%d]", i), Value: strconv.Quote(arg), Message: "has a zero byte"})
		}
	}
	for i, v := range e.Env {
		if strings.Index(v, "=") < 1 || strings.ContainsRune(v, 0) {
			ps = append(ps, vip.Problem{Path: fmt.Sprintf("env[%d]", i), Value: strconv.Quote(v), Message: "is no assignment", Allowed: "NAME=VALUE"})
		}
	}
	return ps
}

// Checker returns the probe; its error is always nil.
func (e *Exec) Checker() (Checker, error) { return execChecker{e}, nil }

type execChecker struct{ *Exec }

// Probe runs the command once.
func (e execChecker) Probe(ctx context.Context) vip.Result {
	var out output
	cmd := exec.CommandContext(ctx, e.Command[0], e.Command[1:]...)
	cmd.Dir = "/"
	cmd.Env = append([]string{execPath}, e.Env...)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return killGroup(cmd.Process.Pid) }
	cmd.WaitDelay = outputGrace
	err := children.run(cmd)
	if cmd.Process != nil {
		cleanUp(cmd.Process.Pid, ctx.Err() != nil || errors.Is(err, exec.ErrWaitDelay))
	}
	if cmd.ProcessState == nil {
		return vip.Result{Outcome: vip.Error, Class: vip.ClassLocal, Detail: "start: " + err.Error()}
	}
	return judge(ctx, cmd.ProcessState.Sys().(syscall.WaitStatus), out.firstLine())
}

// cleanUp ends what the command that leader was has left behind, and reaps what
// of it comes to us. It searches the session only where it is known to be needed.
func cleanUp(leader int, search bool) {
	groups := []int{leader}
	if search {
		groups = append(groups, killTree(leader)...)
	} else {
		_ = killGroup(leader) // nobody left is what we hope for
	}
	for _, group := range groups {
		reapGroup(group)
	}
	children.reapStrays()
}

// judge turns the end of a command into a result; line is what it said.
func judge(ctx context.Context, end syscall.WaitStatus, line string) vip.Result {
	if end.Signaled() {
		if ctx.Err() != nil && end.Signal() == syscall.SIGKILL {
			return vip.Result{Outcome: vip.Fail, Class: vip.ClassTimeout, Detail: say("killed at the timeout", line)}
		}
		return vip.Result{Outcome: vip.Fail, Class: vip.ClassStatus, Detail: say("ended by a signal: "+end.Signal().String(), line)}
	}
	code := end.ExitStatus()
	switch code {
	case 0:
		return vip.Result{Outcome: vip.Pass, Detail: line}
	case 1:
		return vip.Result{Outcome: vip.Degraded, Class: vip.ClassStatus, Detail: say("exit code 1", line)}
	case 3:
		return vip.Result{Outcome: vip.Error, Class: vip.ClassStatus, Detail: say("exit code 3", line)}
	}
	return vip.Result{Outcome: vip.Fail, Class: vip.ClassStatus, Detail: say("exit code "+strconv.Itoa(code), line)}
}

func say(what, line string) string {
	if line == "" {
		return what
	}
	return what + ": " + line
}

// output keeps the start of what is written to it and takes the rest, so that
// a command that talks a lot does not block.
type output struct{ kept []byte }

func (o *output) Write(p []byte) (int, error) {
	o.kept = append(o.kept, p[:min(len(p), maxOutput-len(o.kept))]...)
	return len(p), nil
}

// firstLine is the first line with anything in it.
func (o *output) firstLine() string {
	text := strings.TrimSpace(string(o.kept))
	line, _, _ := strings.Cut(text, "\n")
	return line
}
