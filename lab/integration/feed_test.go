package integration

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/anyvip/anyvip/lab"
)

// feed keeps all that an instrument in a node prints.
type feed[E any] struct {
	t    *testing.T
	cmd  *lab.Cmd
	done sync.WaitGroup

	mu     sync.Mutex
	events []E
	err    error         // why there will be no more
	more   chan struct{} // closed when events or err change
}

// follow starts argv in a node and decodes what it prints, until the test ends.
func follow[E any](r *rig, decode func(io.Reader) iter.Seq2[E, error], node string, argv ...string) *feed[E] {
	r.t.Helper()
	f := &feed[E]{t: r.t, cmd: r.Command(r.t.Context(), node, argv...), more: make(chan struct{})}
	out, in := io.Pipe()
	f.cmd.Stdout = in
	if err := f.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	f.done.Go(func() { in.CloseWithError(errors.Join(f.cmd.Wait(), io.EOF)) })
	f.done.Go(func() {
		for e, err := range decode(out) {
			f.add(e, err)
		}
		f.add(*new(E), io.EOF)
		_, _ = io.Copy(io.Discard, out) // never block the command
	})
	r.t.Cleanup(f.done.Wait)
	return f
}

func (f *feed[E]) add(e E, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		f.events = append(f.events, e)
	} else if f.err == nil {
		f.err = err
	}
	close(f.more)
	f.more = make(chan struct{})
}

// wait returns the first event that match likes, seen already or within limit.
// what names it for the failure.
func (f *feed[E]) wait(limit time.Duration, what string, match func(E) bool) E {
	f.t.Helper()
	timeout := time.After(limit)
	for seen := 0; ; {
		f.mu.Lock()
		events, err, more := f.events, f.err, f.more
		f.mu.Unlock()
		for ; seen < len(events); seen++ {
			if match(events[seen]) {
				return events[seen]
			}
		}
		if err != nil {
			f.t.Fatalf("not seen: %s: the instrument ended: %v", what, err)
		}
		select {
		case <-more:
		case <-timeout:
			f.t.Fatalf("not seen within %s: %s; the last events are\n%s", limit, what, f.tail(12))
		}
	}
}

// all returns the events so far that match likes.
func (f *feed[E]) all(match func(E) bool) (found []E) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.events {
		if match(e) {
			found = append(found, e)
		}
	}
	return found
}

func (f *feed[E]) tail(n int) (text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range slices.Clone(f.events[max(0, len(f.events)-n):]) {
		text += fmt.Sprintf("  %s\n", asJSON(e))
	}
	return text
}
