package wire

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Socketpair returns the two ends of a stream socket: one to keep, one to pass
// to a child process.
func Socketpair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "lab stream"), os.NewFile(uintptr(fds[1]), "lab stream"), nil
}
