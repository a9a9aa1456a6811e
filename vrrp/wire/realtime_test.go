package wire

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/anyvip/anyvip/lab/labtest"
)

func TestRealtime(t *testing.T) {
	labtest.Need(t, "root")
	failed := make(chan error)
	go func() { // whose thread ends with it
		err := Realtime()
		if attr, got := unix.SchedGetAttr(0, 0); err == nil && (got != nil || attr.Policy != unix.SCHED_RR || attr.Priority != rrPriority) {
			t.Errorf("%+v, %v", attr, got)
		}
		failed <- err
	}()
	if err := <-failed; err != nil {
		t.Error(err)
	}
}
