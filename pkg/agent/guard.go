package agent

import (
	"errors"
	"fmt"
	"runtime/debug"
)

// guard turns a panic of ours into a message to the deadman, which closes the
// sessions and ends the process. Every part runs in it, and every check. A panic
// in another goroutine, a library's or one that a part starts for itself, ends
// the process at once, and the peers see the connection close.
type guard struct{ panics chan string }

// errPanicked is in the error of a part that panicked.
var errPanicked = errors.New("panicked")

func newGuard() guard { return guard{panics: make(chan string, 1)} }

// run calls f. When f panics it tells the deadman, which ends the process
// within a second, and returns an error.
func (g guard) run(name string, f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%s %w: %v", name, errPanicked, v)
			select {
			case g.panics <- fmt.Sprintf("%s: %v\n%s", name, v, debug.Stack()):
			default: // one is enough
			}
		}
	}()
	return f()
}
