package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/anyvip/anyvip/lab"
	"github.com/anyvip/anyvip/lab/labtest"
)

// TestMain makes this binary anyvip-lab itself when it is called so, or by itself.
func TestMain(m *testing.M) {
	if name := filepath.Base(os.Args[0]); name == "anyvip-lab" || name == "exe" || name == "ip" || strings.HasPrefix(name, "anyvip-lab-") && !strings.HasSuffix(name, ".test") {
		main()
	}
	os.Setenv("GORACE", "atexit_sleep_ms=0") // a second at every end otherwise
	goleak.VerifyTestMain(m)
}

// binaries is a directory with this binary as anyvip-lab, and an anyvip that does
// nothing.
func binaries(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(dir, "anyvip-lab")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "anyvip"), []byte("#!/bin/sh\nexec sleep 100000\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// anyvipLab prepares a call of the command.
func anyvipLab(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	return exec.CommandContext(t.Context(), filepath.Join(binaries(t), "anyvip-lab"), args...)
}

// topology writes a file for a lab of a unique name.
func topology(t *testing.T, execLine string) (file, name string) {
	t.Helper()
	name = labtest.Unique(&lab.Topology{Name: "command"}).Name
	file = filepath.Join(t.TempDir(), "x.clab.yml")
	text := fmt.Sprintf("{name: %s, topology: {nodes: {a: {kind: linux, image: debian, cmd: sleep 100000, exec: [%q]}}}}", name, execLine)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file, name
}

// start runs `up` and returns once it has printed a line that contains until.
func start(t *testing.T, until string, args ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	cmd := anyvipLab(t, append([]string{"up"}, args...)...)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			cmd.Process.Kill()
			cmd.Wait()
		}
	})
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.Contains(lines.Text(), until) {
			return cmd, &complaint
		}
	}
	t.Fatalf("`up` did not say %q: %s", until, complaint.String())
	return nil, nil
}

// gone waits until nothing of the lab is left.
func gone(t *testing.T, name string) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		left := leftOf(name)
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("left of the lab: %q", left)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func leftOf(name string) []string {
	var left []string
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range lines {
		data, _ := os.ReadFile(path) // fails for a process that just ended
		line := strings.ReplaceAll(string(data), "\x00", " ")
		if strings.HasPrefix(line, "anyvip-lab-") && strings.Contains(line, name) {
			left = append(left, line)
		}
	}
	for _, pattern := range []string{"/run/anyvip-lab/", "/tmp/anyvip-lab-*/", os.Getenv("XDG_RUNTIME_DIR") + "/anyvip-lab/"} {
		files, _ := filepath.Glob(pattern + name)
		left = append(left, files...)
	}
	return left
}

func TestUpEndsWithASignal(t *testing.T) {
	labtest.Need(t, "namespaces")
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(sig.String(), func(t *testing.T) {
			file, name := topology(t, "true")
			cmd, complaint := start(t, "is up", file)
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("%v: %s", err, complaint)
			}
			if left := leftOf(name); len(left) > 0 {
				t.Errorf("left of the lab: %q", left)
			}
		})
	}
}

func TestUpCanBeInterruptedInTheMiddle(t *testing.T) {
	labtest.Need(t, "namespaces")
	marker := filepath.Join(t.TempDir(), "reached")
	file, name := topology(t, "sh -c 'touch "+marker+"; exec sleep 1000'")
	cmd := anyvipLab(t, "up", file)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(marker); err == nil {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("ended with %v", err)
	}
	if !strings.Contains(complaint.String(), "interrupted, nothing is left") {
		t.Errorf("it said %q", complaint.String())
	}
	if left := leftOf(name); len(left) > 0 {
		t.Errorf("left of the lab: %q", left)
	}
}

func TestKilledUpLeavesNothing(t *testing.T) {
	labtest.Need(t, "namespaces")
	file, name := topology(t, "true")
	cmd, _ := start(t, "is up", file)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	gone(t, name)
}

func TestDetachedLab(t *testing.T) {
	labtest.Need(t, "namespaces")
	file, name := topology(t, "true")
	out, err := anyvipLab(t, "up", "-d", file).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "a          up      sleep, pid ") || !strings.Contains(string(out), "lab "+name+" is up: 1 nodes, 0 links") {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() { anyvipLab(t, "down", name).Run() })

	t.Run("is not started twice", func(t *testing.T) {
		for _, args := range [][]string{{"up", file}, {"up", "-d", file}} {
			out, err := anyvipLab(t, args...).CombinedOutput()
			if err == nil || !strings.Contains(string(out), "lab "+name+" runs already") {
				t.Errorf("%v: %v: %s", args, err, out)
			}
		}
	})

	t.Run("runs commands", func(t *testing.T) {
		tests := []struct {
			args   []string
			stdin  string
			stdout string
			stderr string
			code   int
		}{
			{args: []string{file, "a", "--", "hostname"}, stdout: "a\n"},
			{args: []string{name, "a", "sh", "-c", "cat; echo bad >&2; exit 9"}, stdin: "input", stdout: "input", stderr: "bad\n", code: 9},
			{args: []string{name, "a", "sh", "-c", "kill -TERM $$"}, code: 128 + 15},
			{args: []string{name, "a", "no-such-program"}, stderr: "anyvip-lab: a: no-such-program: exec: \"no-such-program\": executable file not found in $PATH\n", code: 1},
			{args: []string{name, "b", "true"}, stderr: "anyvip-lab: b: true: lab " + name + " has no node b\n", code: 1},
			{args: []string{"no-such-lab", "a", "true"}, stderr: "anyvip-lab: lab no-such-lab does not run for this user; start it with `anyvip-lab up FILE`\n", code: 1},
			{args: []string{name, "a"}, stderr: "usage: anyvip-lab exec FILE|NAME NODE [--] COMMAND...\n", code: 2},
		}
		for _, test := range tests {
			var stdout, stderr bytes.Buffer
			cmd := anyvipLab(t, append([]string{"exec"}, test.args...)...)
			cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(test.stdin), &stdout, &stderr
			cmd.Run()
			if stdout.String() != test.stdout || stderr.String() != test.stderr || cmd.ProcessState.ExitCode() != test.code {
				t.Errorf("%q: code %d, stdout %q, stderr %q", test.args, cmd.ProcessState.ExitCode(), stdout.String(), stderr.String())
			}
		}
	})

	t.Run("forwards signals to commands", func(t *testing.T) {
		cmd := anyvipLab(t, "exec", name, "a", "sh", "-c", "trap 'exit 3' INT; echo ready; while :; do sleep 0.01; done")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		cmd.Process.Signal(os.Interrupt)
		var exit *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 3 {
			t.Errorf("ended with %v", err)
		}
	})

	t.Run("kills the command of a client that was killed", func(t *testing.T) {
		cmd := anyvipLab(t, "exec", name, "a", "sh", "-c", "echo ready; sleep 5432; true")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(out)
		if _, err := lines.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		cmd.Process.Kill()
		// The command holds the other end of the pipe: its end is the command's.
		if rest, err := lines.ReadString('\n'); err == nil {
			t.Errorf("read %q", rest)
		}
		cmd.Wait()
	})

	t.Run("ends with down", func(t *testing.T) {
		if out, err := anyvipLab(t, "down", file).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
		gone(t, name) // the detached process may need a moment to follow its lab
	})
}

func TestDetachedLabThatFailsSaysSo(t *testing.T) {
	labtest.Need(t, "namespaces")
	file, name := topology(t, "false")
	out, err := anyvipLab(t, "up", "-d", file).Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(exit.Stderr), "node a: exec false: exit status 1") || len(out) > 0 {
		t.Errorf("%v: %s", err, out)
	}
	gone(t, name)
}

func TestTheDemoTopologyComesUp(t *testing.T) {
	labtest.Need(t, "namespaces")
	topo := labtest.Load(t, "../../lab/ecmp.clab.yml")
	l := labtest.Up(t, topo, lab.Options{Binaries: binaries(t)})
	if s, err := l.Daemon("tor").State(); err != nil || !s.Running {
		t.Errorf("the ToR: %+v, %v", s, err)
	}
	for _, url := range []string{"http://10.0.1.2/", "http://[fd00:0:1::2]/"} {
		out, err := l.Command(t.Context(), "client", "anyvip-lab", "load", "--spread", "3", "--target", url).CombinedOutput()
		if err != nil || !strings.Contains(string(out), `"s1":3`) {
			t.Errorf("%s: %v: %s", url, err, out)
		}
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{}, {"help"}, {"no-such"}, {"up"}, {"up", "-x"}, {"down"}, {"exec", "x"}} {
		cmd := anyvipLab(t, args...)
		out, _ := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != 2 || !strings.Contains(string(out), "usage: anyvip-lab") {
			t.Errorf("%q: code %d: %s", args, cmd.ProcessState.ExitCode(), out)
		}
	}
}
