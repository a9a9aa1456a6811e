package wire

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rrPriority is the lowest of SCHED_RR: before all that is not real time, after
// everything else that is.
const rrPriority = 1

// Realtime gives the calling goroutine a thread of its own that runs before all that is
// not real time, so that a busy machine costs no advertisement. Children do not inherit
// that. It is called once, at the beginning of what drives an engine; an error means that
// the thread is as any other.
func Realtime() error {
	runtime.LockOSThread()
	attr := unix.SchedAttr{Size: uint32(unsafe.Sizeof(unix.SchedAttr{})), Policy: unix.SCHED_RR, Flags: unix.SCHED_FLAG_RESET_ON_FORK, Priority: rrPriority}
	err := unix.SchedSetAttr(0, &attr, 0)
	if errors.Is(err, unix.EPERM) {
		return errors.New("VRRP runs without real-time priority, and a busy machine may cost advertisements: give the agent the capability CAP_SYS_NICE, or LimitRTPRIO=1")
	}
	if err != nil {
		return fmt.Errorf("get real-time priority for VRRP: %w", err)
	}
	return nil
}
