package checks

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/anyvip/anyvip/pkg/child"
	"github.com/anyvip/anyvip/pkg/vip"
)

func shell(script string) *Exec { return &Exec{Command: []string{"/bin/sh", "-c", script}} }

func TestExec(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	writeFile(t, plain, "not executable")
	orphan := filepath.Join(dir, "orphan")
	writeFile(t, orphan, "#!/no/such/interpreter\n")
	if err := os.Chmod(orphan, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name    string
		exec    *Exec
		timeout time.Duration
		outcome vip.Outcome
		class   vip.Class
		detail  string
	}{
		{"exit 0 passes", shell("echo; echo all well; echo more"), long, vip.Pass, vip.ClassNone, "all well"},
		{"exit 0 without a word", shell("exit 0"), long, vip.Pass, vip.ClassNone, ""},
		{"exit 1 is degraded", shell("echo slow; exit 1"), long, vip.Degraded, vip.ClassStatus, "exit code 1: slow"},
		{"exit 2 fails", shell("echo down >&2; exit 2"), long, vip.Fail, vip.ClassStatus, "exit code 2: down"},
		{"exit 3 could not ask", shell("exit 3"), long, vip.Error, vip.ClassStatus, "exit code 3"},
		{"any other exit fails", shell("exit 77"), long, vip.Fail, vip.ClassStatus, "exit code 77"},
		{"death by a signal fails", shell("echo oh; kill -SEGV $$"), long, vip.Fail, vip.ClassStatus, "ended by a signal: segmentation fault: oh"},
		{"SIGKILL by somebody else is no timeout", shell("kill -KILL $$"), long, vip.Fail, vip.ClassStatus, "ended by a signal: killed"},
		{"a command that hangs", shell("exec sleep 1000"), short, vip.Fail, vip.ClassTimeout, "killed at the timeout"},
		{"a command that ignores signals", shell("trap '' TERM INT HUP; while :; do sleep 1; done"), short, vip.Fail, vip.ClassTimeout, "killed at the timeout"},
		{"a command that says more than is kept", shell("echo much; i=0; while [ $i -lt 3000 ]; do echo 0123456789012345678901234567890123456789; i=$((i+1)); done; exit 1"),
			long, vip.Degraded, vip.ClassStatus, "exit code 1: much"},
		{"arguments go through no shell", &Exec{Command: []string{"/bin/echo", "$HOME;", "a  b"}}, long, vip.Pass, vip.ClassNone, "$HOME; a  b"},
		{"standard input is empty, the directory is /", shell("cat; pwd"), long, vip.Pass, vip.ClassNone, "/"},
		{"unprintable output", shell(`printf 'a\033[31mb\000c\tü\377\n'`), long, vip.Pass, vip.ClassNone, "a [31mb c ü\uFFFD"},
		{"a program that is not there", &Exec{Command: []string{"/no/such/program"}}, long, vip.Error, vip.ClassLocal,
			"start: fork/exec /no/such/program: no such file or directory"},
		{"a program that may not be executed", &Exec{Command: []string{plain}}, long, vip.Error, vip.ClassLocal,
			"start: fork/exec " + plain + ": permission denied"},
		{"a script whose interpreter is not there", &Exec{Command: []string{orphan}}, long, vip.Error, vip.ClassLocal,
			"start: fork/exec " + orphan + ": no such file or directory"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			expect(t, probe(t, tc.exec, tc.timeout), tc.outcome, tc.class, tc.detail)
		})
	}
}

func TestExecWithoutDescriptorsCouldNotAsk(t *testing.T) {
	withoutDescriptors(t, func() {
		expect(t, probe(t, shell("exit 0"), long), vip.Error, vip.ClassLocal, "start: open /dev/null: too many open files")
	})
}

func TestExecEnvironment(t *testing.T) {
	t.Setenv("SECRET", "of the agent")
	dir := t.TempDir()
	e := &Exec{Command: []string{"/usr/bin/env"}, Env: []string{"B=2=3", "A="}}
	// env says one variable per line, and a detail is one line: the output itself is read.
	e.Command = []string{"/bin/sh", "-c", "/usr/bin/env -u PWD -u ANYVIP_CHILD | sort > " + dir + "/env"}
	expect(t, probe(t, e, long), vip.Pass, vip.ClassNone, "")
	got, err := os.ReadFile(dir + "/env")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("A=\nB=2=3\n"+child.Path+"\n", string(got)); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
}

// The whole group dies with a probe that is cut: 50 children of a shell, and
// their children.
func TestExecKillsTheWholeGroup(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	c, err := shell("echo starting; i=0; while [ $i -lt 50 ]; do (sleep 1000 & echo $! >> " + pids + "; wait) & echo $! >> " + pids + "; i=$((i+1)); done; wait").Checker()
	if err != nil {
		t.Fatal(err)
	}
	// The timeout comes when all of them are there.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	result := make(chan vip.Result, 1)
	go func() { result <- c.Probe(ctx) }()
	eventually(t, "100 processes have been forked", func() bool { return len(readPIDs(t, pids)) == 100 })
	for _, pid := range readPIDs(t, pids) {
		if !running(pid) {
			t.Errorf("process %d is not there before the timeout: this test shows nothing", pid)
		}
	}
	timeout := time.Now()
	cancel()
	expect(t, <-result, vip.Fail, vip.ClassTimeout, "killed at the timeout: starting")
	if took := time.Since(timeout); took > time.Second {
		t.Errorf("the probe ended %s after its timeout", took)
	}
	eventually(t, "all of the group are dead", func() bool { return countRunning(readPIDs(t, pids)) == 0 })
}

// timeout(1) makes itself a process group of its own.
func TestExecKillsTheWholeSession(t *testing.T) {
	for _, tc := range []struct {
		name, script string
		want         vip.Outcome
	}{
		{"at the timeout", "timeout 1000 sh -c 'echo $$ > PIDS; timeout 1000 sleep 1000; :'; :", vip.Fail},
		{"at the timeout, with its output closed", "timeout 1000 sh -c 'echo $$ > PIDS; timeout 1000 sleep 1000; :' >/dev/null 2>&1; :", vip.Fail},
		{"where its output is held open after its end", "timeout 1000 sh -c 'echo $$ > PIDS; exec sleep 1000' & while ! [ -s PIDS ]; do sleep 0.01; done", vip.Pass},
	} {
		t.Run(tc.name, func(t *testing.T) {
			pids := filepath.Join(t.TempDir(), "pids")
			r := probe(t, shell(strings.ReplaceAll(tc.script, "PIDS", pids)), 500*time.Millisecond)
			if r.Outcome != tc.want {
				t.Errorf("result %+v, want %s", r, tc.want)
			}
			left := readPIDs(t, pids)
			if len(left) != 1 {
				t.Fatalf("%d processes wrote their ids: this test shows nothing", len(left))
			}
			eventually(t, "it is dead", func() bool { return countRunning(left) == 0 })
		})
	}
}

// A child that holds the output does not delay what the timeout found.
func TestExecEndsAtTheTimeout(t *testing.T) {
	const timeout = 50 * time.Millisecond
	best := time.Hour
	for range 10 { // on a busy machine, one try may be late
		start := time.Now()
		expect(t, probe(t, shell("sleep 1000; true"), timeout), vip.Fail, vip.ClassTimeout, "killed at the timeout")
		best = min(best, time.Since(start)-timeout)
	}
	t.Logf("the probe ended %s after its timeout", best)
	if best >= child.OutputGrace {
		t.Errorf("the probe always ended %s or more after its timeout", best)
	}
}

func TestExecKillsWhatACommandLeavesBehind(t *testing.T) {
	for _, tc := range []struct{ name, redirect string }{
		{"with its output closed", " >/dev/null 2>&1"},
		{"holding its output open", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			pids := filepath.Join(t.TempDir(), "pids")
			start := time.Now()
			expect(t, probe(t, shell("sleep 1000"+tc.redirect+" & echo $! > "+pids+"; echo ok"), long), vip.Pass, vip.ClassNone, "ok")
			if took := time.Since(start); took > 3*time.Second {
				t.Errorf("the probe took %s", took)
			}
			if n := len(readPIDs(t, pids)); n != 1 {
				t.Fatalf("%d processes were left behind", n)
			}
			eventually(t, "it is dead", func() bool { return countRunning(readPIDs(t, pids)) == 0 })
		})
	}
}

// What leaves the session on purpose is not killed, but does not hold the probe.
func TestExecIsNotHeldByADaemon(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	start := time.Now()
	expect(t, probe(t, shell("setsid sh -c 'echo $$ > "+pids+"; exec sleep 1000' & while ! [ -s "+pids+" ]; do sleep 0.01; done; echo ok"), long),
		vip.Pass, vip.ClassNone, "ok")
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("the probe took %s", took)
	}
	for _, pid := range readPIDs(t, pids) {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Errorf("the daemon %d is not there: %v", pid, err)
		}
	}
}

// eventually polls until is true.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// readPIDs returns the process ids in a file, one per line; none without a file.
func readPIDs(t *testing.T, file string) (pids []int) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(content), "\n")
	for _, line := range lines[:max(0, len(lines)-1)] {
		pid, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

// running says whether a process is there and no zombie.
func running(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(after, "Z") && !strings.HasPrefix(after, "X")
}

func countRunning(pids []int) (n int) {
	for _, pid := range pids {
		if running(pid) {
			n++
		}
	}
	return n
}
