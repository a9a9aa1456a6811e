package lab_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/anyvip/anyvip/lab"
	"github.com/anyvip/anyvip/lab/labtest"
)

// twoNodes is a link with a daemon on one side.
const twoNodes = `
name: two
topology:
  defaults: {kind: linux, image: debian:12}
  nodes:
    a:
      exec:
        - ip address add 10.0.0.1/24 dev eth1
        - ip address add fd00::1/64 dev eth1 nodad
      sysctls: {net.ipv4.ip_forward: 1}
      env: {COLOUR: "deep blue"}
      binds:
        - testdata/everything.txt:/etc/made/for/it.txt:ro
        - testdata:/data
    b:
      cmd: sh -c 'echo started; exec sleep 1000'
      exec: [ip address add 10.0.0.2/24 dev eth1]
  links:
    - endpoints: ["a:eth1", "b:eth1"]
`

// pinger is this test binary under the name that makes it ping.
func pinger(t *testing.T, target string) []string {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return []string{"bash", "-c", fmt.Sprintf("GORACE=atexit_sleep_ms=0 exec -a lab-test-ping %s %s", self, target)}
}

// eventually polls until check returns nil.
func eventually(t *testing.T, patience time.Duration, check func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %v", patience, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// logsStarted waits for what the daemon of b says, and nothing else: it is up before it has.
func logsStarted(t *testing.T, l *lab.Lab) {
	t.Helper()
	eventually(t, 5*time.Second, func() error {
		if log := l.Logs("b"); log != "started\n" {
			return fmt.Errorf("the log of b is %q", log)
		}
		return nil
	})
}

func TestLabShowsItsNodes(t *testing.T) {
	labtest.Need(t, "namespaces", "ip")
	l := labtest.Up(t, labtest.Parse(t, ".", twoNodes), lab.Options{})
	tests := []struct {
		name, node, line, want string
	}{
		{"the host name is the node's", "a", "hostname", "a"},
		{"sysctls are set", "a", "cat /proc/sys/net/ipv4/ip_forward", "1"},
		{"sysctls of one node are not another's", "b", "cat /proc/sys/net/ipv4/ip_forward", "0"},
		{"the environment is the node's", "a", "echo $COLOUR", "deep blue"},
		{"sysfs is the node's", "a", "ls /sys/class/net", "eth1\nlo"},
		{"a bind makes its own mount point", "a", "cat /etc/made/for/it.txt", "x"},
		{"a directory is bound", "a", "cat /data/everything.txt", "x"},
		{"a read-only bind is", "a", "echo y >/etc/made/for/it.txt || echo refused", "refused"},
		{"what is written to /etc is the node's", "a", "echo y >/etc/lab-test-file; cat /etc/lab-test-file", "y"},
		{"and not another's", "b", "ls /etc/lab-test-file || echo none", "none"},
		{"/run is empty", "a", "ls /run", "home"},
		{"processes are the node's", "a", "ls /proc | grep -c '^[0-9]*$'", "5"},
		{"System V memory is the node's", "a", "ipcmk -M 64 >/dev/null; ipcs -m | grep -c ^0x", "1"},
		{"and no other node's", "b", "ipcs -m | grep -c ^0x || true", "0"},
		{"the host's programs are there", "b", "basename $(command -v sh)", "sh"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := strings.TrimSpace(labtest.Output(t, l, test.node, "sh", "-c", test.line))
			if test.name == "processes are the node's" {
				if len(got) != 1 {
					t.Errorf("%s processes", got)
				}
			} else if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
	if _, err := os.Stat("/etc/lab-test-file"); err == nil {
		t.Error("a node wrote to the host's /etc")
	}
	logsStarted(t, l)
}

func TestLabLinkCarriesAndCuts(t *testing.T) {
	labtest.Need(t, "namespaces", "ip")
	l := labtest.Up(t, labtest.Parse(t, ".", twoNodes), lab.Options{})
	labtest.Output(t, l, "a", pinger(t, "10.0.0.2")...)
	labtest.Output(t, l, "b", pinger(t, "10.0.0.1")...)
	if err := l.SetLink("a:eth1", false); err != nil {
		t.Fatal(err)
	}
	if out := labtest.Output(t, l, "b", "cat", "/sys/class/net/eth1/carrier"); out != "0\n" {
		t.Errorf("carrier of the other end after the cut: %q", out)
	}
	if err := l.Command(t.Context(), "a", pinger(t, "10.0.0.2")...).Run(); err == nil {
		t.Error("ping through a cut link")
	}
	if err := l.SetLink("a:eth1", true); err != nil {
		t.Fatal(err)
	}
	labtest.Output(t, l, "b", pinger(t, "10.0.0.1")...)
	if out := labtest.Output(t, l, "a", "ip", "-6", "-brief", "address", "show", "dev", "eth1"); !strings.Contains(out, "fd00::1/64") {
		t.Errorf("IPv6 address after the cut healed: %q", out)
	}
	for _, bad := range []string{"a", "a:eth9", "z:eth1"} {
		if err := l.SetLink(bad, false); err == nil {
			t.Errorf("SetLink of %s: no error", bad)
		}
	}
}

func TestLabCommand(t *testing.T) {
	l := labtest.Up(t, labtest.Parse(t, ".", twoNodes), lab.Options{})

	t.Run("exit codes", func(t *testing.T) {
		var exit *lab.ExitError
		err := l.Command(t.Context(), "a", "sh", "-c", "echo bad >&2; exit 7").Run()
		if !errors.As(err, &exit) || exit.Code != 7 || exit.Signal != 0 {
			t.Errorf("error %v", err)
		}
		err = l.Command(t.Context(), "a", "sh", "-c", "kill -9 $$").Run()
		if !errors.As(err, &exit) || exit.Code != -1 || exit.Signal != syscall.SIGKILL {
			t.Errorf("error %v", err)
		}
		_, err = l.Command(t.Context(), "a", "sh", "-c", "echo bad >&2; exit 7").Output()
		if want := "a: sh -c echo bad >&2; exit 7: exit status 7: bad"; err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	})

	t.Run("what cannot be started", func(t *testing.T) {
		for _, test := range []struct{ node, command, want string }{
			{"a", "no-such-program", "executable file not found"},
			{"z", "true", "has no node z"},
		} {
			err := l.Command(t.Context(), test.node, test.command).Run()
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		}
	})

	t.Run("stdio", func(t *testing.T) {
		cmd := l.Command(t.Context(), "a", "sh", "-c", "cat; echo complaint >&2; pwd; echo $X")
		cmd.Stdin = strings.NewReader("input\n")
		cmd.Dir, cmd.Env = "/usr", []string{"X=y"}
		var complaint bytes.Buffer
		cmd.Stderr = &complaint
		out, err := cmd.Output()
		if err != nil || string(out) != "input\n/usr\ny\n" || complaint.String() != "complaint\n" {
			t.Errorf("out %q, err %q, error %v", out, complaint.String(), err)
		}
		both, err := l.Command(t.Context(), "a", "sh", "-c", "echo 1; echo 2 >&2; echo 3").CombinedOutput()
		if err != nil || string(both) != "1\n2\n3\n" {
			t.Errorf("combined %q, error %v", both, err)
		}
	})

	t.Run("much output", func(t *testing.T) {
		out, err := l.Command(t.Context(), "a", "head", "-c", "3000000", "/dev/zero").Output()
		if err != nil || len(out) != 3000000 {
			t.Errorf("%d bytes, error %v", len(out), err)
		}
	})

	t.Run("input that nobody reads", func(t *testing.T) {
		cmd := l.Command(t.Context(), "a", "true")
		cmd.Stdin = bytes.NewReader(make([]byte, 1<<20))
		if err := cmd.Run(); err != nil {
			t.Error(err)
		}
	})

	t.Run("a process left behind does not hold Wait", func(t *testing.T) {
		out, err := l.Command(t.Context(), "a", "sh", "-c", "sleep 1000 & echo done").Output()
		if err != nil || string(out) != "done\n" {
			t.Errorf("out %q, error %v", out, err)
		}
	})

	t.Run("orphans are reaped", func(t *testing.T) {
		labtest.Output(t, l, "a", "sh", "-c", "(sh -c 'exit 3' &) ; (sleep 0.01 &)")
		eventually(t, 5*time.Second, func() error {
			out, err := l.Command(t.Context(), "a", "sh", "-c", "grep -l '^State:.Z' /proc/[0-9]*/status").Output()
			if err == nil {
				return fmt.Errorf("zombies: %s", out)
			}
			return nil
		})
	})

	t.Run("signals", func(t *testing.T) {
		cmd := l.Command(t.Context(), "a", "sh", "-c", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.01; done")
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		cmd.Stdout = w
		err = cmd.Start()
		w.Close()
		if err != nil {
			t.Fatal(err)
		}
		line := make([]byte, 6)
		if _, err := r.Read(line); err != nil || string(line) != "ready\n" {
			t.Fatalf("%q, error %v", line, err)
		}
		if err := cmd.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		var exit *lab.ExitError
		if err := cmd.Wait(); !errors.As(err, &exit) || exit.Code != 5 {
			t.Errorf("error %v", err)
		}
	})

	t.Run("the end of the context kills the whole command", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cmd := l.Command(ctx, "a", "sh", "-c", "sleep 4321 & sleep 4321")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := cmd.Wait(); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		eventually(t, 5*time.Second, func() error {
			if out, err := l.Command(t.Context(), "a", "pgrep", "-f", "sleep 4321").Output(); err == nil {
				return fmt.Errorf("still there: %s", out)
			}
			return nil
		})
	})
}

func TestLabDaemon(t *testing.T) {
	lines := make(chan string, 16)
	l := labtest.Up(t, labtest.Parse(t, ".", twoNodes), lab.Options{Progress: func(line string) { lines <- line }})
	d := l.Daemon("b")
	said := func(times int) { // each says it once it runs
		t.Helper()
		eventually(t, 5*time.Second, func() error {
			if n := strings.Count(l.Logs("b"), "started"); n != times {
				return fmt.Errorf("it said started %d times, want %d", n, times)
			}
			return nil
		})
	}
	said(1)
	first, err := d.State()
	if err != nil || !first.Running || first.Program != "sh" || first.Pid == 0 {
		t.Fatalf("state %+v, error %v", first, err)
	}
	if err := d.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s, err := d.State(); err != nil || s.Running || s.Ended != "sh: signal: terminated" {
		t.Errorf("state after Stop %+v, error %v", s, err)
	}
	if err := d.Signal(syscall.SIGHUP); err == nil {
		t.Error("Signal to a daemon that does not run: no error")
	}
	if err := d.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	said(2)
	second, err := d.State()
	if err != nil || !second.Running || second.Pid == first.Pid {
		t.Errorf("state after Restart %+v, error %v", second, err)
	}
	if err := d.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if s, err := d.Wait(t.Context()); err != nil || s.Running || s.Ended != "sh: signal: killed" {
		t.Errorf("state after Wait %+v, error %v", s, err)
	}
	if err := d.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	said(3)
	if err := d.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := d.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	said(4)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := d.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Wait with a deadline: %v", err)
	}
	if _, err := l.Daemon("a").State(); err == nil {
		t.Error("daemon of a node without one: no error")
	}

	// A death that nobody asked for is told.
	s, err := d.State()
	if err != nil {
		t.Fatal(err)
	}
	labtest.Output(t, l, "b", "kill", "-9", fmt.Sprint(s.Pid))
	for line := range lines {
		if strings.Contains(line, "died") {
			if !strings.HasPrefix(line, "b ") || !strings.Contains(line, "sh: signal: killed") || !strings.Contains(line, "started") {
				t.Errorf("line %q", line)
			}
			break
		}
	}
}

func TestLabUpFailsLoudly(t *testing.T) {
	labtest.Need(t, "namespaces")
	tests := []struct{ name, text, want string }{
		{
			"an exec line fails",
			`{name: x, topology: {nodes: {a: {kind: linux, image: debian, exec: ["sh -c 'echo the reason; exit 3'"]}, b: {kind: linux, image: debian, exec: ["no-such-program"]}}}}`,
			"node a: exec sh -c echo the reason; exit 3: exit status 3\n    the reason\nnode b: exec no-such-program: exec: \"no-such-program\": executable file not found in $PATH",
		},
		{
			"a sysctl is unknown",
			`{name: x, topology: {nodes: {a: {kind: linux, image: debian, sysctls: {net.no.such: 1}}}}}`,
			"sysctl net.no.such = 1: ",
		},
		{
			"programs are missing",
			`{name: x, topology: {nodes: {a: {kind: linux, image: debian, cmd: no-such-program}, b: {kind: linux, image: debian, cmd: /no/such}}}}`,
			"node a: no-such-program is not on this machine\nnode b: /no/such is not on this machine",
		},
		{
			"a bind goes where it cannot",
			`{name: x, topology: {nodes: {a: {kind: linux, image: debian, binds: ["testdata:/proc/x"]}}}}`,
			"node a: bind /proc/x: a node has its own /proc",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l, err := lab.Up(t.Context(), labtest.Parse(t, ".", test.text), lab.Options{})
			if err == nil {
				l.Down()
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("error\n%v\nwant one with\n%s", err, test.want)
			}
		})
	}
}

func TestLabNamesAreTakenOnce(t *testing.T) {
	topo := labtest.Parse(t, ".", twoNodes)
	l := labtest.Up(t, topo, lab.Options{})
	var running *lab.RunningError
	if _, err := lab.Up(t.Context(), topo, lab.Options{}); !errors.As(err, &running) {
		t.Errorf("second Up: %v", err)
	}
	other, err := lab.Attach(topo.Name)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := other.Command(t.Context(), "b", "hostname").Output(); err != nil || string(out) != "b\n" {
		t.Errorf("through Attach: %q, %v", out, err)
	}
	logsStarted(t, other)
	if err := other.Down(); err != nil {
		t.Error(err)
	}
	<-l.Done()
	if l.Err() == nil {
		t.Error("the lab was ended by another, and Err says nothing")
	}
	var gone *lab.NotRunningError
	if _, err := lab.Attach(topo.Name); !errors.As(err, &gone) {
		t.Errorf("Attach to a lab that ended: %v", err)
	}
	if err := l.Command(t.Context(), "b", "true").Run(); !errors.As(err, &gone) {
		t.Errorf("Command in a lab that ended: %v", err)
	}
}

func TestLabUpEndsWithItsContext(t *testing.T) {
	labtest.Need(t, "namespaces")
	marker := filepath.Join(t.TempDir(), "reached")
	topo := labtest.Parse(t, ".", `{name: slow, topology: {nodes: {a: {kind: linux, image: debian, exec: ["touch `+marker+`", "sleep 1000"]}}}}`)
	before := hostState(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := lab.Up(ctx, topo, lab.Options{})
		done <- err
	}()
	eventually(t, 10*time.Second, func() error { _, err := os.Stat(marker); return err })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	nothingLeft(t, topo.Name, before)
}

func TestLabLeavesNothing(t *testing.T) {
	ends := map[string]func(t *testing.T, l *lab.Lab, supervisor int){
		"Down": func(t *testing.T, l *lab.Lab, _ int) {
			if err := l.Down(); err != nil {
				t.Error(err)
			}
		},
		"kill -9 of the supervisor": func(t *testing.T, l *lab.Lab, supervisor int) {
			if err := syscall.Kill(supervisor, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			<-l.Done()
			if l.Err() == nil {
				t.Error("Err says nothing")
			}
		},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			before := hostState(t)
			topo := labtest.Parse(t, ".", twoNodes)
			l := labtest.Up(t, topo, lab.Options{})
			processes := processesOf(t, topo.Name)
			supervisor := slices.IndexFunc(processes, func(p process) bool { return strings.HasPrefix(p.command, "anyvip-lab-supervisor") })
			if len(processes) != 4 || supervisor < 0 { // the supervisor, two nodes, sleep
				t.Fatalf("processes of the lab: %v", processes)
			}
			end(t, l, processes[supervisor].pid)
			nothingLeft(t, topo.Name, before)
		})
	}
}
