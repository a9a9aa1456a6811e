package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"github.com/anyvip/anyvip/lab"
)

const (
	upArgs   = "[-d] [-logs DIR] [-bin DIR] FILE"
	downArgs = "FILE|NAME"
)

// fdReport is where a detached `up` reports to the one that started it; it is
// known to be open by the environment variable envReport.
const (
	fdReport  = 3
	envReport = "ANYVIP_LAB_DETACHED"
	ready     = "ready"
	complaint = "anyvip-lab:"
)

// up starts a lab and stays until it ends.
func up(args []string) error {
	flags := newFlags("up", upArgs)
	detach := flags.Bool("d", false, "return when the lab is up, and leave it running")
	logs := flags.String("logs", "", "keep the nodes' logs in `DIR`")
	binaries := flags.String("bin", "", "take anyvip and anyvip-lab from `DIR`")
	if err := flags.Parse(args); err != nil {
		return errUsage
	}
	if flags.NArg() != 1 {
		flags.Usage()
		return errUsage
	}
	topo, err := lab.Load(flags.Arg(0))
	if err != nil {
		return err
	}
	if *detach {
		return upDetached("-logs="+*logs, "-bin="+*binaries, flags.Arg(0))
	}
	out, report := report()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	l, err := lab.Up(ctx, topo, lab.Options{
		LogDir:   *logs,
		Binaries: *binaries,
		Progress: func(line string) { fmt.Fprintln(out, line) },
	})
	if err != nil {
		return reportFailure(ctx, report, err)
	}
	fmt.Fprintf(out, "lab %s is up: %d nodes, %d links; end it with Ctrl-C or `anyvip-lab down %s`\n",
		topo.Name, len(topo.Nodes), len(topo.Links), topo.Name)
	if report != nil {
		fmt.Fprintln(report, ready)
		report.Close()
	}
	select {
	case <-ctx.Done():
		fmt.Fprintf(out, "ending lab %s\n", topo.Name)
	case <-l.Done():
		fmt.Fprintf(out, "lab %s ended: %v\n", topo.Name, l.Err())
	}
	return l.Down()
}

// report returns where lines go, and the detached starter's pipe if there is one.
func report() (out io.Writer, pipe *os.File) {
	if os.Getenv(envReport) == "" {
		return os.Stdout, nil
	}
	_ = os.Unsetenv(envReport) // cannot fail for a valid name
	syscall.CloseOnExec(fdReport)
	pipe = os.NewFile(fdReport, "report")
	return pipe, pipe
}

// reportFailure makes the error visible. An interrupted start is the user's wish.
func reportFailure(ctx context.Context, pipe *os.File, err error) error {
	if ctx.Err() != nil {
		err = fmt.Errorf("interrupted, nothing is left: %w", err)
	}
	if pipe != nil {
		fmt.Fprintln(pipe, complaint, err)
	}
	return err
}

// upDetached runs this command again without -d in a session of its own, shows
// what it reports, and returns when the lab is up or has failed.
func upDetached(args ...string) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	c := exec.Command("/proc/self/exe", append([]string{"up"}, args...)...)
	c.Env = append(os.Environ(), envReport+"=1")
	c.ExtraFiles = []*os.File{w}
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = c.Start()
	w.Close()
	if err != nil {
		return err
	}
	out := os.Stdout
	for lines := bufio.NewScanner(r); lines.Scan(); {
		if lines.Text() == ready {
			return c.Process.Release()
		}
		if strings.HasPrefix(lines.Text(), complaint) {
			out = os.Stderr // it is the last thing said, on one line or more
		}
		_, _ = fmt.Fprintln(out, lines.Text())
	}
	if c.Wait() != nil {
		return exitCode(1)
	}
	return nil
}

// down ends a lab by its file or its name.
func down(args []string) error {
	flags := newFlags("down", downArgs)
	if err := flags.Parse(args); err != nil {
		return errUsage
	}
	if flags.NArg() != 1 {
		flags.Usage()
		return errUsage
	}
	l, err := attach(flags.Arg(0))
	if err != nil {
		return err
	}
	return l.Down()
}

// attach finds the running lab of a topology file, or of that name.
func attach(which string) (*lab.Lab, error) {
	name := which
	if strings.HasSuffix(which, ".yml") || strings.HasSuffix(which, ".yaml") {
		topo, err := lab.Load(which)
		if err != nil {
			return nil, err
		}
		name = topo.Name
	}
	return lab.Attach(name)
}
