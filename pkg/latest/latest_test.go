package latest

import (
	"sync"
	"testing"
)

func TestTheLatestIsTaken(t *testing.T) {
	v := Make[int]()
	for i := range 3 {
		v.Put(i)
	}
	if got := <-v; got != 2 {
		t.Errorf("%d", got)
	}
	select {
	case got := <-v:
		t.Errorf("and %d after it", got)
	default:
	}
}

// Whoever puts, and however often, somebody's last is there in the end, and nobody
// waits for one who takes.
func TestManyPutAtATime(t *testing.T) {
	const each = 1000
	v := Make[int]()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range each {
				v.Put(i)
			}
		})
	}
	wg.Wait()
	if got := <-v; got != each-1 {
		t.Errorf("%d is nobody's last", got)
	}
}
