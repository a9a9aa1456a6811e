package child

import (
	"errors"
	"fmt"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// startBare starts a command without capabilities. Those belong to threads, and a
// child gets the ones of the thread that forks it: so one thread gives all of its own
// up, starts the command, and ends. It is never the main thread, which Go does not end
// and whose capabilities count as those of the process.
func startBare(cmd *exec.Cmd) error {
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			started <- startBare(cmd) // on another thread: this one is held for so long
			runtime.UnlockOSThread()
			return
		}
		if err := dropCapabilities(); err != nil {
			started <- err
			return
		}
		started <- cmd.Start()
	}() // locked until its end, and so the thread ends with it
	return <-started
}

// dropCapabilities empties every set of the calling thread, and sees to it that no
// program gives any back: neither by root's privilege nor by bits of its file.
func dropCapabilities() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give up new privileges: %w", err)
	}
	for c := 0; ; c++ {
		err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0)
		if errors.Is(err, unix.EINVAL) {
			break // the last one was before
		}
		if errors.Is(err, unix.EPERM) {
			break // without CAP_SETPCAP; nothing new can be had anyway, see above
		}
		if err != nil {
			return fmt.Errorf("give up capability %d: %w", c, err)
		}
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("give up ambient capabilities: %w", err)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&header, &none[0]); err != nil {
		return fmt.Errorf("give up capabilities: %w", err)
	}
	return nil
}
