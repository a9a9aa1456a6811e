// Package nstest makes network namespaces for tests of the lab's instruments, which sit below the lab runner and are
// tested without it. A namespace lives as long as a process that holds it, so nothing is left behind however the test
// ends. Only tests import it; they ask labtest.Need for "root" and "ip" first.
package nstest

import (
	"bytes"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Host is a network namespace with its loopback up, forwarding as a ToR does.
type Host struct {
	Name string
	t    testing.TB
	pid  int
}

// NewHost makes a namespace that goes with the test.
func NewHost(t testing.TB, name string) *Host {
	t.Helper()
	holder := exec.Command("sleep", "3600")
	holder.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := holder.Start(); err != nil {
		t.Fatalf("make network namespace %s: %v", name, err)
	}
	t.Cleanup(func() {
		_ = holder.Process.Kill()
		_ = holder.Wait()
	})
	h := &Host{Name: name, t: t, pid: holder.Process.Pid}
	h.Run("ip", "link", "set", "lo", "up")
	h.Run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1",
		"net.ipv4.fib_multipath_hash_policy=1", "net.ipv6.fib_multipath_hash_policy=1",
		"net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0")
	return h
}

// Join makes a link between two hosts, named after the other end, and gives each end its addresses.
func Join(a *Host, aAddrs string, b *Host, bAddrs string) {
	a.t.Helper()
	a.Run("ip", "link", "add", b.Name, "type", "veth", "peer", "name", a.Name, "netns", strconv.Itoa(b.pid))
	for _, end := range []struct {
		host  *Host
		link  string
		addrs string
	}{{a, b.Name, aAddrs}, {b, a.Name, bAddrs}} {
		if strings.Contains(end.addrs, "fe80:") { // then that is its only link-local one: a daemon may take any
			end.host.Run("ip", "link", "set", end.link, "addrgenmode", "none")
		}
		for _, addr := range strings.Fields(end.addrs) {
			end.host.Run("ip", "addr", "add", addr, "dev", end.link, "nodad")
		}
		end.host.Run("ip", "link", "set", end.link, "up")
	}
}

// Command is a command to run in the namespace; it dies with the test process.
func (h *Host) Command(args ...string) *exec.Cmd {
	args = append([]string{"--target", strconv.Itoa(h.pid), "--net", "--"}, args...)
	cmd := exec.Command("nsenter", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// Run runs a command to its end and returns its standard output.
func (h *Host) Run(args ...string) string {
	h.t.Helper()
	cmd := h.Command(args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		h.t.Fatalf("%s: %s: %v: %s", h.Name, strings.Join(args, " "), err, &stderr)
	}
	return string(out)
}

// Start starts a daemon in the namespace. It is killed, and its exit waited for, when the test ends.
func (h *Host) Start(cmd *exec.Cmd) *exec.Cmd {
	h.t.Helper()
	if cmd.Stderr == nil {
		cmd.Stderr = &lines{t: h.t, name: h.Name}
	}
	if err := cmd.Start(); err != nil {
		h.t.Fatalf("%s: start %s: %v", h.Name, strings.Join(cmd.Args, " "), err)
	}
	h.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

// Eventually waits until check returns "", at most ten seconds; what it returned last is the failure.
func Eventually(t testing.TB, check func() string) {
	t.Helper()
	wrong := ""
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if wrong = check(); wrong == "" {
			return
		}
	}
	t.Fatal(wrong)
}

// lines logs what a daemon writes.
type lines struct {
	t    testing.TB
	name string
}

func (l *lines) Write(b []byte) (int, error) {
	l.t.Logf("%s: %s", l.name, bytes.TrimRight(b, "\n"))
	return len(b), nil
}
