//go:build anyvip_testhook

package agent

import (
	"os"
	"os/signal"
	"syscall"
)

// stuckAsked has a signal once the process got SIGUSR1.
var stuckAsked = func() chan os.Signal {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGUSR1)
	return c
}()

// hangIfAsked hangs the agent loop for ever after SIGUSR1, so that a test sees
// what becomes of an agent whose loop is stuck. It is in builds for tests only.
func hangIfAsked() {
	select {
	case <-stuckAsked:
		select {}
	default:
	}
}
