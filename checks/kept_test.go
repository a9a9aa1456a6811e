package checks

import (
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// needProgram returns the path of a program that a test runs for real. Without it
// the test is skipped, or fails if ANYVIP_REQUIRE_INTEGRATION=1. pattern may match
// several versions: the last one counts.
func needProgram(t testing.TB, pkg, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	switch {
	case err != nil:
		t.Fatal(err)
	case len(found) != 0:
		return found[len(found)-1]
	case os.Getenv("ANYVIP_REQUIRE_INTEGRATION") == "1":
		t.Fatalf("there is no %s; install it with `apt-get install %s`", pattern, pkg)
	}
	t.Skipf("there is no %s; install it with `apt-get install %s`", pattern, pkg)
	return ""
}

// keeper waits until its input ends, which it does with this process whatever
// became of it. Then it ends every process that has left its id in the directory,
// and removes it.
const keeper = `
cat >/dev/null
cd "$0" || exit
for f in *.pid; do
	[ -e "$f" ] || continue
	pid=$(cat "$f")
	kill -QUIT "$pid" 2>/dev/null
	n=0
	while kill -0 "$pid" 2>/dev/null && [ $n -lt 50 ]; do sleep 0.1; n=$((n+1)); done
	kill -KILL "$pid" 2>/dev/null
done
cd /
rm -rf "$0"
`

// keptDir is a directory for real servers and their data. It belongs to an ordinary
// user, since PostgreSQL will not run as root, and goes with the test or, if that
// dies without a word, soon after it, together with the servers.
func keptDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "anyvip-checks-") // short: it holds unix sockets
	if err != nil {
		t.Fatal(err)
	}
	if id := ordinary(t); id != nil {
		if err := os.Chown(dir, int(id.Uid), int(id.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("sh", "-c", keeper, dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // an interrupt from the terminal is not for it
	hold, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		hold.Close()
		_ = cmd.Wait()
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s is still there", dir)
		}
	})
	return dir
}

// ordinary is the user that real servers run as; nil: this one is no other than root.
func ordinary(t testing.TB) *syscall.Credential {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.ParseUint(nobody.Uid, 10, 32)
	gid, _ := strconv.ParseUint(nobody.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// command is a program that runs as an ordinary user in dir, knowing nothing of ours.
func command(t testing.TB, dir, program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL=C", "HOME=" + dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: ordinary(t)}
	return cmd
}

// output runs a program to its end and returns what it said. If it fails, so does the test.
func outputOf(t testing.TB, dir, program string, args ...string) string {
	t.Helper()
	out, err := command(t, dir, program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// kept is a real server that is running.
type kept struct {
	t       testing.TB
	cmd     *exec.Cmd
	pidFile string
	ended   bool
}

// startKept starts a server in the foreground, called name, in a keptDir. It ends
// with the test at the latest, which shows its log if it has failed.
func startKept(t testing.TB, dir, name, program string, args ...string) *kept {
	t.Helper()
	k := &kept{t: t, pidFile: filepath.Join(dir, name+".pid")}
	k.cmd = command(t, dir, "/bin/sh", append([]string{"-c", `echo $$ >"$0"; exec "$@" >>"$0.log" 2>&1`, k.pidFile, program}, args...)...)
	if err := k.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		k.end(syscall.SIGQUIT)
		if t.Failed() {
			said, _ := os.ReadFile(k.pidFile + ".log")
			t.Logf("%s:\n%s", name, said)
		}
	})
	return k
}

// end sends a signal and waits for the server's end. If that takes too long the
// server is killed, and the test fails.
func (k *kept) end(s syscall.Signal) {
	k.t.Helper()
	if k.ended {
		return
	}
	k.ended = true
	_ = k.cmd.Process.Signal(s)
	late := time.AfterFunc(20*time.Second, func() {
		k.t.Errorf("%s did not end after %s", k.cmd.Path, s)
		_ = k.cmd.Process.Kill()
	})
	_ = k.cmd.Wait() // by a signal, or whatever the program makes of it
	late.Stop()
	_ = os.Remove(k.pidFile)
}
