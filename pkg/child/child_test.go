package child

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

	"golang.org/x/sys/unix"
)

func sh(script string) Command { return Command{Argv: []string{"/bin/sh", "-c", script}} }

func mustRun(t *testing.T, c Command) End {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	end, err := Run(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	return end
}

func TestACommandHasNoCapabilitiesAndGetsNone(t *testing.T) {
	end := mustRun(t, sh("cat /proc/self/status"))
	seen := 0
	for line := range strings.Lines(string(end.Output)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":\t")
		switch name {
		case "CapInh", "CapPrm", "CapEff", "CapAmb":
			seen++
			if strings.Trim(value, "0") != "" {
				t.Errorf("%s is %s", name, value)
			}
		case "CapBnd":
			seen++
			if os.Geteuid() == 0 && strings.Trim(value, "0") != "" {
				t.Errorf("%s is %s", name, value)
			}
		case "NoNewPrivs":
			seen++
			if value != "1" {
				t.Errorf("%s is %s", name, value)
			}
		}
	}
	if seen != 6 {
		t.Errorf("%d lines of six:\n%s", seen, end.Output)
	}
}

// What the thread of a start gives up, no other thread misses.
func TestTheAgentKeepsItsCapabilities(t *testing.T) {
	capabilities := func() (out []string) {
		tasks, err := filepath.Glob("/proc/self/task/*/status")
		if err != nil {
			t.Fatal(err)
		}
		for _, task := range tasks {
			text, err := os.ReadFile(task)
			if err != nil {
				continue // it has ended
			}
			for line := range strings.Lines(string(text)) {
				if strings.HasPrefix(line, "CapEff") {
					out = append(out, strings.TrimSpace(line))
				}
			}
		}
		return out
	}
	want := capabilities()[0]
	for range 50 {
		mustRun(t, sh("exit 0"))
	}
	time.Sleep(100 * time.Millisecond) // threads that started something end
	for _, got := range capabilities() {
		if got != want {
			t.Errorf("a thread has %s, want %s", got, want)
		}
	}
	if os.Geteuid() == 0 {
		if err := unix.Setpriority(unix.PRIO_PROCESS, 0, 0); err != nil {
			t.Error(err)
		}
	}
}

func TestInputOutputAndEnvironment(t *testing.T) {
	c := sh("cat; pwd; echo $A; echo err >&2")
	c.Env, c.Stdin = []string{"A=b c"}, []byte("in\n")
	if got := mustRun(t, c); string(got.Output) != "in\n/\nb c\nerr\n" || got.FirstLine() != "in" || got.Status != 0 {
		t.Errorf("%q, %v", got.Output, got.Status)
	}
	if got := mustRun(t, sh("cat; yes | head -c 1000000; exit 7")); len(got.Output) != MaxOutput || got.Status.ExitStatus() != 7 {
		t.Errorf("%d bytes, %v", len(got.Output), got.Status)
	}
	c = sh("exit 0")
	c.Stdin = make([]byte, 1<<20) // which nobody reads
	if got := mustRun(t, c); got.Status != 0 {
		t.Errorf("%v", got.Status)
	}
}

// Whatever a command does to get away, it is dead after its time.
func TestTheWholeTreeDies(t *testing.T) {
	for name, script := range map[string]string{
		"a child":                         "sleep 1000 & echo $! >> PIDS; wait",
		"a session of its own":            "setsid sh -c 'echo $$ >> PIDS; exec sleep 1000' & wait",
		"twice forked, and all is closed": "setsid sh -c '(echo; exec 0<&- 1>&- 2>&-; sh -c \"echo \\$\\$ >> PIDS; exec sleep 1000\" &) ; exit 0'; sleep 1000",
		"forked by what has left":         "setsid sh -c 'setsid sh -c \"echo \\$\\$ >> PIDS; exec sleep 1000\" & echo $$ >> PIDS; exec sleep 1000' & sleep 1000",
		"without the environment":         "env -i setsid sh -c 'echo $$ >> PIDS; exec sleep 1000' & sleep 1000",
		"the environment is long":         "setsid env A=$(head -c 100000 /dev/zero | tr '\\0' x) sh -c 'echo $$ >> PIDS; exec sleep 1000' & sleep 1000",
		"deaf to signals":                 "trap '' TERM INT HUP; setsid sh -c 'trap \"\" TERM HUP INT; echo $$ >> PIDS; while :; do sleep 1; done' & while :; do sleep 1; done",
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "pids")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan error, 1)
			go func() { _, err := Run(ctx, sh(strings.ReplaceAll(script, "PIDS", file))); done <- err }()
			var pids []int
			for limit := time.Now().Add(10 * time.Second); len(pids) == 0 || strings.Contains(name, "left") && len(pids) < 2; time.Sleep(10 * time.Millisecond) {
				if time.Now().After(limit) {
					t.Fatal("nothing was started: this test shows nothing")
				}
				pids = nil
				text, _ := os.ReadFile(file)
				for _, f := range strings.Fields(string(text)) {
					if pid, err := strconv.Atoi(f); err == nil {
						pids = append(pids, pid)
					}
				}
			}
			time.Sleep(50 * time.Millisecond) // for the last of them to be what it will be
			cancel()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			for _, pid := range pids {
				for limit := time.Now().Add(2 * time.Second); alive(pid); time.Sleep(5 * time.Millisecond) {
					if time.Now().After(limit) {
						_ = syscall.Kill(pid, syscall.SIGKILL)
						t.Errorf("process %d lives", pid)
						break
					}
				}
			}
		})
	}
}

// alive says whether a process runs; a zombie does not.
func alive(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	return rest != "" && rest[0] != 'Z' && rest[0] != 'X'
}

// Other commands, and other processes with a session of their own, are let alone.
func TestNobodyElseDies(t *testing.T) {
	other := make(chan End, 1)
	go func() { other <- mustRun(t, sh("sleep 2; echo fine")) }()
	time.Sleep(50 * time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := Run(ctx, sh("sleep 1000")); err != nil {
		t.Fatal(err)
	}
	later := mustRun(t, sh("setsid sh -c 'sleep 0.1; echo fine'"))
	if end := <-other; end.FirstLine() != "fine" || later.FirstLine() != "fine" {
		t.Errorf("%v %q, %v %q", end.Status, end.Output, later.Status, later.Output)
	}
}

func TestWhomWeTrust(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to give files away")
	}
	script := func(t *testing.T, dir string, mode os.FileMode) string {
		t.Helper()
		path := filepath.Join(dir, "script")
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, tc := range map[string]struct {
		make func(t *testing.T, dir string) (program string)
		want string // in the error; empty: trusted
	}{
		"root's":              {func(t *testing.T, dir string) string { return script(t, dir, 0o755) }, ""},
		"a system program":    {func(*testing.T, string) string { return "/bin/sh" }, ""},
		"not there":           {func(*testing.T, string) string { return "/no/such/program" }, ""},
		"the group may write": {func(t *testing.T, dir string) string { return script(t, dir, 0o775) }, "chmod go-w"},
		"all may write":       {func(t *testing.T, dir string) string { return script(t, dir, 0o757) }, "chmod go-w"},
		"another's": {func(t *testing.T, dir string) string {
			path := script(t, dir, 0o755)
			if err := os.Chown(path, 12345, 0); err != nil {
				t.Fatal(err)
			}
			return path
		}, "belongs to user 12345"},
		"a directory that all may write": {func(t *testing.T, dir string) string {
			if err := os.Chmod(dir, 0o777); err != nil {
				t.Fatal(err)
			}
			return script(t, dir, 0o755)
		}, "chmod go-w"},
		"a sticky directory": {func(t *testing.T, dir string) string {
			if err := os.Chmod(dir, 0o777|os.ModeSticky); err != nil {
				t.Fatal(err)
			}
			return script(t, dir, 0o755)
		}, ""},
		"a link to what all may write": {func(t *testing.T, dir string) string {
			link := filepath.Join(dir, "link")
			if err := os.Symlink(script(t, dir, 0o777), link); err != nil {
				t.Fatal(err)
			}
			return link
		}, "script may be written by others"},
		"a chain of links through another's": {func(t *testing.T, dir string) string {
			theirs := filepath.Join(dir, "theirs")
			if err := os.Mkdir(theirs, 0o755); err != nil {
				t.Fatal(err)
			}
			for link, to := range map[string]string{filepath.Join(theirs, "link"): "/bin/true", filepath.Join(dir, "prog"): "theirs/../theirs/link"} {
				if err := os.Symlink(to, link); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Chown(theirs, 12345, 0); err != nil {
				t.Fatal(err)
			}
			return filepath.Join(dir, "prog")
		}, "theirs belongs to user 12345"},
		"links in a circle": {func(t *testing.T, dir string) string {
			link := filepath.Join(dir, "round")
			if err := os.Symlink("round", link); err != nil {
				t.Fatal(err)
			}
			return link
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "d")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			err := Trusted(tc.make(t, dir))
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
	dir := t.TempDir()
	if _, err := Run(t.Context(), Command{Argv: []string{script(t, dir, 0o777)}}); err == nil || !strings.Contains(err.Error(), "not started: ") {
		t.Errorf("it ran: %v", err)
	}
}

func BenchmarkRun(b *testing.B) {
	for b.Loop() {
		if _, err := Run(b.Context(), Command{Argv: []string{"/bin/true"}}); err != nil {
			b.Fatal(err)
		}
	}
}
