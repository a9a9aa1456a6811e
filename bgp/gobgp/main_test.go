package gobgp

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	ossignal "os/signal"
	"strings"
	"syscall"
	"testing"
)

// nsEnv is set in the test process that runs in a network namespace of its own,
// to the prefix of the names of the namespaces that its routers may make.
const nsEnv = "ANYVIP_TEST_BGP_NS"

// TestMain runs the tests again as a child in a new network namespace: what we
// test dials from there, and its routers get namespaces beside it. The parent
// removes what the child leaves, whatever became of it.
func TestMain(m *testing.M) {
	if os.Getenv(dumbEnv) != "" {
		acceptAndSayNothing()
	}
	if os.Getenv(nsEnv) != "" || os.Geteuid() != 0 {
		os.Exit(m.Run())
	}
	prefix := fmt.Sprintf("avbgp%d-", os.Getpid())
	child := exec.Command("/proc/self/exe", os.Args[1:]...)
	child.Env = append(os.Environ(), nsEnv+"="+prefix)
	child.Stdout, child.Stderr = os.Stdout, os.Stderr
	child.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	signals := make(chan os.Signal, 1) // Ctrl-C reaches the child too; we stay to clean up
	ossignal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	err := child.Run()
	removeNamespaces(prefix)
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		os.Exit(max(exit.ExitCode(), 1))
	}
	if err != nil {
		// Without the privilege to make a namespace the tests that need one skip.
		os.Exit(m.Run())
	}
}

// dumbEnv is set in a process that listens for BGP and says nothing.
const dumbEnv = "ANYVIP_TEST_BGP_DUMB"

func acceptAndSayNothing() {
	l, err := net.Listen("tcp", ":179")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for {
		if c, err := l.Accept(); err == nil {
			go func() { _, _ = io.Copy(io.Discard, c) }() // until the dialler gives up
		}
	}
}

func removeNamespaces(prefix string) {
	out, _ := exec.Command("ip", "netns", "list").Output()
	for line := range strings.Lines(string(out)) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		pids, _ := exec.Command("ip", "netns", "pids", name).Output()
		for _, pid := range strings.Fields(string(pids)) {
			_ = exec.Command("kill", "-9", pid).Run()
		}
		_ = exec.Command("ip", "netns", "del", name).Run()
	}
}

// needNamespaces skips a test that cannot have network namespaces or a program.
// With ANYVIP_REQUIRE_INTEGRATION=1 that is a failure.
func needNamespaces(t testing.TB, programs ...string) {
	t.Helper()
	reason := ""
	if os.Getenv(nsEnv) == "" {
		reason = "needs root: network namespaces"
	}
	for _, p := range append([]string{"ip"}, programs...) {
		if _, err := exec.LookPath(p); err != nil {
			reason = err.Error()
		}
	}
	switch {
	case reason == "":
	case os.Getenv("ANYVIP_REQUIRE_INTEGRATION") == "1":
		t.Fatal(reason)
	default:
		t.Skip(reason)
	}
}
