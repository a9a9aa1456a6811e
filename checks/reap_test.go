package checks

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/anyvip/anyvip/pkg/vip"
)

// adopt makes orphans come to this process, as to process 1 of a container.
func adopt(t *testing.T) {
	t.Helper()
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) })
}

// childless fails if this process has a child, alive or not.
func childless(t *testing.T) {
	t.Helper()
	if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); !errors.Is(err, syscall.ECHILD) {
		t.Errorf("a child is left: pid %d, %v", pid, err)
	}
}

func TestWhatACommandLeavesIsReapedWhereOrphansComeToUs(t *testing.T) {
	for name, script := range map[string]string{
		"in its group, at its end":         "(sleep 100; :) & exit 0",
		"in its session, at its timeout":   "timeout 100 sleep 100; :",
		"in its session, and deeper there": "timeout 100 sh -c 'timeout 100 sleep 100; :'; :",
	} {
		t.Run(name, func(t *testing.T) {
			adopt(t)
			probe(t, shell(script), 500*time.Millisecond)
			childless(t)
		})
	}
}

// What left the session on purpose ends some day too, and is reaped after a later
// probe, which may be of another check.
func TestADaemonIsReapedWhereOrphansComeToUs(t *testing.T) {
	adopt(t)
	pids := filepath.Join(t.TempDir(), "pids")
	expect(t, probe(t, shell("setsid sh -c 'echo $$ > "+pids+"; exec sleep 1000' >/dev/null 2>&1 & while ! [ -s "+pids+" ]; do sleep 0.01; done"), long),
		vip.Pass, vip.ClassNone, "")
	for _, pid := range readPIDs(t, pids) {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Errorf("the daemon %d is not there: %v", pid, err)
		}
	}
	eventually(t, "the daemon has ended", func() bool { return countRunning(readPIDs(t, pids)) == 0 })
	probe(t, shell("exit 0"), long)
	childless(t)
}

// Many commands end at a time, while orphans do: each keeps its own exit code.
func TestReapingStealsNoExitCode(t *testing.T) {
	adopt(t)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			c, _ := shell("setsid -f true; exit 1").Checker()
			for range 25 {
				ctx, cancel := context.WithTimeout(t.Context(), long)
				r := c.Probe(ctx)
				cancel()
				if r.Outcome != vip.Degraded {
					t.Errorf("result %+v, want %s", r, vip.Degraded)
				}
			}
		})
	}
	group.Wait()
	eventually(t, "the last orphan has been reaped", func() bool {
		probe(t, shell("exit 0"), long)
		return errors.Is(unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil), syscall.ECHILD)
	})
}
