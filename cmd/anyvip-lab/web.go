package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	labload "github.com/anyvip/anyvip/lab/load"
)

const webArgs = "[-d] [--pidfile FILE] [--listen ADDRESS] --name NAME"

// web is a web server that answers every path with its name, and with the gateway's that a request came through. With -d it returns once the port is open and leaves a
// server behind, so that an `exec:` line of a lab can start one.
func web(args []string) error {
	flags := newFlags("web", webArgs)
	detach := flags.Bool("d", false, "return when the port is open, and go on in the background")
	pidFile := flags.String("pidfile", "", "write the server's process id to `FILE`, and remove it at the end")
	listen := flags.String("listen", ":80", "`ADDRESS` to listen on")
	name := flags.String("name", "", "what the server answers")
	if err := flags.Parse(args); err != nil {
		return errUsage
	}
	if flags.NArg() != 0 || *name == "" {
		flags.Usage()
		return errUsage
	}
	if *detach {
		return webDetached("--pidfile="+*pidFile, "--listen="+*listen, "--name="+*name)
	}
	_, pipe := report()
	ctx, stop := untilSignal()
	defer stop()
	server, err := labload.ListenWeb(ctx, *listen, *name)
	if err != nil {
		return reportFailure(ctx, pipe, err)
	}
	if *pidFile != "" {
		if err := os.WriteFile(*pidFile, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o644); err != nil {
			return reportFailure(ctx, pipe, fmt.Errorf("write the process id: %w", err))
		}
		defer func() { _ = os.Remove(*pidFile) }()
	}
	if pipe != nil {
		fmt.Fprintln(pipe, ready)
		pipe.Close()
	}
	return server.Run(ctx)
}

// webDetached runs this command again without -d in a session of its own.
func webDetached(args ...string) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	server := exec.Command("/proc/self/exe", append([]string{"web"}, args...)...)
	server.Env = append(os.Environ(), envReport+"=1")
	server.ExtraFiles = []*os.File{w}
	server.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = server.Start()
	w.Close()
	if err != nil {
		return err
	}
	said := bufio.NewScanner(r)
	said.Scan()
	if said.Text() == ready {
		return server.Process.Release()
	}
	fmt.Fprintln(os.Stderr, said.Text())
	_ = server.Wait() // it said why already
	return exitCode(1)
}
