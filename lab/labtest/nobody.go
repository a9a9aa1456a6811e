package labtest

import (
	"errors"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// nobody is a user and group id that owns nothing.
const nobody = 65534

// AsNobody calls f in a thread that has the file rights of an ordinary user.
// The thread ends with it. It needs root.
func AsNobody(t testing.TB, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		Missing(t, "another user", errors.New("only root can become somebody else"))
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked
		err := unix.Setfsuid(nobody)
		if err == nil {
			err = unix.Setfsgid(nobody)
		}
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
