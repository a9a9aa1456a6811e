package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestHostRunsItsLinesAndWaitsForASignal(t *testing.T) {
	first, second := filepath.Join(t.TempDir(), "first"), filepath.Join(t.TempDir(), "second")
	cmd := anyvipLab(t, "host", "touch "+first, "touch  "+second)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(second); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the second line was not run")
		}
	}
	if _, err := os.Stat(first); err != nil {
		t.Errorf("the first line was not run before the second: %v", err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func TestHostEndsWithALineThatFails(t *testing.T) {
	for line, want := range map[string]string{
		"false":         "anyvip-lab: false: exit status 1\n",
		"no-such-thing": "anyvip-lab: no-such-thing: exec: \"no-such-thing\": executable file not found in $PATH\n",
		" ":             "anyvip-lab: a line is empty\n",
	} {
		var complaint bytes.Buffer
		cmd := anyvipLab(t, "host", line, "true")
		cmd.Stderr = &complaint
		var exit *exec.ExitError
		if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != 1 || complaint.String() != want {
			t.Errorf("%q: %v, it said %q", line, err, complaint.String())
		}
	}
}

// Our container images have no other ip.
func TestItIsIPByThatName(t *testing.T) {
	name := filepath.Join(t.TempDir(), "ip")
	if err := os.Symlink(anyvipLab(t).Path, name); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), name, "address", "add", "192.0.2.1/24", "dev", "no-such-link").CombinedOutput()
	const want = "anyvip-lab: interface \"no-such-link\": Link not found\n"
	if err == nil || string(out) != want {
		t.Errorf("%v: %q, want %q", err, out, want)
	}
}
