package hint

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func sleeper(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "3600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func TestAProcessIsFollowedThroughItsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "web.pid")
	w := watch(t, Watch{Check: "web", PIDFile: path})
	missing := func(part string) {
		t.Helper()
		for limit := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			m := w.report().Missing
			if part == "" && len(m) == 0 || part != "" && len(m) == 1 && m[0].Source == Process && strings.Contains(m[0].Detail, part) {
				return
			}
			if time.Now().After(limit) {
				t.Fatalf("missing %+v, want %q", m, part)
			}
		}
	}
	missing("no such file")
	for text, want := range map[string]string{"": "no process id", "nonsense\n": `but "nonsense`, "1\n": "no service", "-5": "no service",
		fmt.Sprint(os.Getpid()): "no service", "4194000\n": "not there"} {
		write(t, path, text)
		missing(want)
	}
	if err := errors.Join(syscall.Mkfifo(path+".fifo", 0o644), os.Rename(path+".fifo", path)); err != nil {
		t.Fatal(err)
	}
	missing("no regular file")
	first := sleeper(t)
	write(t, path, fmt.Sprintf("%d\n", first.Process.Pid))
	missing("")
	if got := w.said(); len(got) > 0 {
		t.Errorf("before anything ended: %+v", got)
	}
	killed := time.Now()
	_ = first.Process.Kill()
	h := w.wait("its end", gone("web", Process))
	t.Logf("SIGKILL to hint: %s", h.At.Sub(killed))
	_ = first.Wait()
	second := sleeper(t)
	write(t, path, fmt.Sprintf("%d\n", second.Process.Pid))
	w.wait("its successor", came("web", Process))
	_ = second.Process.Kill()
	w.wait("the successor's end", gone("web", Process))
}
