package checks

import (
	"errors"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxScans bounds how often killSession looks for what was forked meanwhile.
const maxScans = 10

// scanning lets one goroutine at a time look through /proc: many that do so at
// once, after as many timeouts, would leave no processor for the other checks.
var scanning sync.Mutex

// killTree kills what is left of the command that leader was started as, and
// returns the process groups that it has found. It is the one place that knows
// how far that goes: to the session's end, so not to what called setsid.
func killTree(leader int) (groups []int) {
	_ = killGroup(leader) // nobody left is what we hope for
	return killSession(leader)
}

// killGroup kills every process in the group that leader leads or led. The group
// keeps its number for as long as anyone is in it.
func killGroup(leader int) error {
	err := syscall.Kill(-leader, syscall.SIGKILL)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

// killSession kills every process of a session, and returns their groups. A
// process that was sent SIGKILL forks no more, so when nobody new is found there
// is nobody to wait for.
func killSession(session int) (groups []int) {
	scanning.Lock()
	defer scanning.Unlock()
	killed := map[int]bool{}
	for range maxScans {
		before := len(killed)
		for _, pid := range processes() {
			// To ask the kernel costs a fiftieth of reading /proc/PID/stat.
			if of, err := unix.Getsid(pid); err != nil || of != session || killed[pid] {
				continue
			}
			group, err := unix.Getpgid(pid)
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended by itself
			killed[pid] = true
			if err == nil && !slices.Contains(groups, group) {
				groups = append(groups, group)
			}
		}
		if len(killed) == before {
			break
		}
	}
	return groups
}

// processes are the ids of all processes, in the order of the kernel, which is
// ascending: most children are found after their parents. Without /proc none are.
func processes() (pids []int) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1) // what was read before an error counts
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
