package child

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
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

// killTree kills what is left of the command that leader was started as, with its
// mark, and returns the process groups that it has found. It is the one place that
// knows how far that goes: to the end of the session, and to what left that (setsid)
// but still has the mark in its environment. What has left both behind is killDescent's,
// as long as its parents live.
func killTree(leader int, mark string) (groups []int) {
	_ = killGroup(leader) // nobody left is what we hope for
	return killMarked(leader, mark)
}

// killDescent kills a command with all its children and theirs, while they still have
// each other: once a parent is dead nobody knows whose child one was that has left the
// session and its environment behind. It returns what killGroup does.
func killDescent(leader int) error {
	descent := []int{leader}
	for i := 0; i < len(descent); i++ {
		for _, child := range childrenOf(descent[i]) {
			if !slices.Contains(descent, child) {
				descent = append(descent, child)
			}
		}
	}
	err := killGroup(leader)
	for _, pid := range descent[1:] {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended by itself
	}
	return err
}

// childrenOf are the children of a process; none where the kernel does not tell
// (CONFIG_PROC_CHILDREN).
func childrenOf(pid int) (children []int) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // the pattern is fine
	for _, task := range tasks {
		text, _ := os.ReadFile(task) // it may have ended
		for _, field := range bytes.Fields(text) {
			if child, err := strconv.Atoi(string(field)); err == nil {
				children = append(children, child)
			}
		}
	}
	return children
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

// killMarked kills every process of a session, and every one outside with the mark,
// and returns their groups. A process that was sent SIGKILL forks no more, so when
// nobody new is found there is nobody to wait for.
func killMarked(session int, mark string) (groups []int) {
	scanning.Lock()
	defer scanning.Unlock()
	killed := map[int]bool{}
	for range maxScans {
		before := len(killed)
		for _, pid := range processes() {
			if killed[pid] || !belongs(pid, session, mark) {
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

// belongs says whether a process is of a session, or has its mark. To ask the kernel
// for the session costs a fiftieth of reading a file of /proc: files are read only of
// sessions that are younger than this one, and are no other command's of ours.
func belongs(pid, session int, mark string) bool {
	of, err := unix.Getsid(pid)
	switch {
	case err != nil:
		return false
	case of == session:
		return true
	case of < session || children.leads(of): // ids wrap around after millions of processes
		return false
	}
	return marked(pid, mark)
}

// maxEnvironment is how much of an environment is searched for a mark, in bytes.
const maxEnvironment = 1 << 20

func marked(pid int, mark string) bool {
	f, err := os.Open(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return false
	}
	defer f.Close()
	text, _ := io.ReadAll(io.LimitReader(f, maxEnvironment)) // what was read before an error counts
	return bytes.Contains(text, []byte(mark))
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
