package integration

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/anyvip/anyvip/lab/labtest"
)

// users are who runs the demo: ourselves, and, where we are root, somebody who
// owns nothing.
func users() map[string]*syscall.Credential {
	who := map[string]*syscall.Credential{fmt.Sprintf("user %d", os.Geteuid()): nil}
	if os.Geteuid() == 0 {
		who[fmt.Sprintf("user %d", ordinaryUser)] = &syscall.Credential{Uid: ordinaryUser, Gid: ordinaryUser}
	}
	return who
}

// demoLab is the name of the demo's lab here, so that somebody's `make demo` may
// run at the same time.
var demoLab = fmt.Sprintf("demo-%d", os.Getpid())

// demo prepares `anyvip-lab demo` in a directory of its own, which the user can
// read: the lab's files below lab, and the binaries on PATH.
func demo(t *testing.T, who *syscall.Credential) *exec.Cmd {
	t.Helper()
	labtest.Need(t, "namespaces")
	dir := readable(t)
	if err := os.CopyFS(filepath.Join(dir, "lab", "ecmp"), os.DirFS("../ecmp")); err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(read(t, "../ecmp.clab.yml"), "name: ecmp\n", "name: "+demoLab+"\n", 1)
	file := filepath.Join(dir, "lab", "ecmp.clab.yml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("anyvip-lab", "demo", file)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_RUNTIME_DIR=")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who}
	return cmd
}

func TestDemoTellsItsStory(t *testing.T) {
	for name, who := range users() {
		t.Run(name, func(t *testing.T) {
			before := marks(t)
			cmd := demo(t, who)
			begin := time.Now()
			out, err := cmd.CombinedOutput()
			t.Logf("after %.1f s:\n%s", time.Since(begin).Seconds(), out)
			if err != nil {
				t.Error(err)
			}
			if !strings.Contains(string(out), "All of it was seen") {
				t.Error("it does not say that all was seen")
			}
			if took := time.Since(begin); took > 45*time.Second {
				t.Errorf("it took %s", took)
			}
			if strings.ContainsAny(string(out), "\r\x1b") {
				t.Error("piped, its lines are not plain")
			}
			nothingNew(t, before)
		})
	}
}

// TestDemoFailsWithoutWhatItPromises has a third server that never announces.
func TestDemoFailsWithoutWhatItPromises(t *testing.T) {
	before := marks(t)
	cmd := demo(t, nil)
	config := filepath.Join(cmd.Dir, "lab", "ecmp", "s3.yaml")
	text := strings.Replace(read(t, config), "status: [200]", "status: [299]", 1)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.CombinedOutput()
	t.Logf("it says:\n%s", out)
	if cmd.ProcessState.ExitCode() != 1 || strings.Contains(string(out), "All of it was seen") || !strings.Contains(string(out), "not seen within") {
		t.Errorf("%v, want exit code 1 and what was not seen", err)
	}
	nothingNew(t, before)
}

// TestDemoInterrupted presses Ctrl-C in the middle of the story.
func TestDemoInterrupted(t *testing.T) {
	for name, who := range users() {
		t.Run(name, func(t *testing.T) {
			before := marks(t)
			cmd := demo(t, who)
			out, in := io.Pipe()
			var all bytes.Buffer
			cmd.Stdout, cmd.Stderr = in, in
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() {
				ended <- cmd.Wait()
				in.Close()
			}()
			for lines := bufio.NewScanner(io.TeeReader(out, &all)); lines.Scan(); {
				// Once: a second Ctrl-C ends it as it is, without a word.
				if strings.Contains(lines.Text(), "192.0.2.10/32 has 3 next hops") {
					if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
						t.Error(err)
					}
				}
			}
			err := <-ended
			t.Logf("%v:\n%s", err, &all)
			if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(all.String(), "interrupted") {
				t.Errorf("it ended with %v, want exit code 1 and the word interrupted", err)
			}
			nothingNew(t, before)
		})
	}
}

// marks are what a demo could leave behind: processes of its lab, and runtime
// directories.
func marks(t *testing.T) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		line, _ := os.ReadFile(p + "/cmdline") // fails for a process that has just ended
		if text := strings.ReplaceAll(string(line), "\x00", " "); strings.Contains(text, "anyvip-lab-supervisor "+demoLab) || strings.Contains(text, "anyvip-lab-node "+demoLab+"/") {
			found[filepath.Base(p)+" "+text] = true
		}
	}
	for _, pattern := range []string{"/run/anyvip-lab/" + demoLab, "/tmp/anyvip-lab-*/" + demoLab} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			found[f] = true
		}
	}
	return found
}

// nothingNew fails the test for what is there and was not before.
func nothingNew(t *testing.T, before map[string]bool) {
	t.Helper()
	eventually(t, patience, func() error {
		for mark := range marks(t) {
			if !before[mark] {
				return fmt.Errorf("left behind: %s", mark)
			}
		}
		return nil
	})
}
