package checks

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"github.com/anyvip/anyvip/pkg/child"
	"github.com/anyvip/anyvip/pkg/vip"
)

// Exec runs a command and judges its exit code as Nagios does: 0 passes, 1 is
// degraded, 2 fails, 3 could not ask; any other, and death by a signal, fails.
// The first line of its output, standard error included, is the detail.
//
// How a command runs, with which environment, without which rights, and what becomes of
// what it leaves behind, package child says.
type Exec struct {
	Command []string `yaml:"command" doc:"program (absolute path) and arguments; no shell. Exit code 0: pass, 1: degraded, 2: fail, 3: could not ask, other: fail"`
	Env     []string `yaml:"env" doc:"NAME=VALUE, besides PATH; nothing else is inherited"`
}

// Describe returns exec and the command line.
func (e *Exec) Describe() (name, target string) { return "exec", strings.Join(e.Command, " ") }

// Validate finds what is wrong. Whether the program is there is seen at each probe.
func (e *Exec) Validate() (ps []vip.Problem) {
	ps = vip.CommandProblems("command", e.Command)
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
	end, err := child.Run(ctx, child.Command{Argv: e.Command, Env: e.Env})
	if err != nil {
		return vip.Result{Outcome: vip.Error, Class: vip.ClassLocal, Detail: err.Error()}
	}
	return judge(ctx, end.Status, end.FirstLine())
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
