package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"
	"time"

	"github.com/anyvip/anyvip/lab"
)

// feed collects what a command in a node prints, so that a story can wait for
// an event, also one that has happened already.
type feed[E any] struct {
	cmd  *lab.Cmd
	done sync.WaitGroup

	mu     sync.Mutex
	events []E
	err    error         // why there will be no more
	more   chan struct{} // closed when events or err change
}

// follow starts argv in a node and decodes what it prints.
func follow[E any](ctx context.Context, l *lab.Lab, decode func(io.Reader) iter.Seq2[E, error], node string, argv ...string) (*feed[E], error) {
	f := &feed[E]{cmd: l.Command(ctx, node, argv...), more: make(chan struct{})}
	r, w := io.Pipe()
	f.cmd.Stdout = w
	if err := f.cmd.Start(); err != nil {
		return nil, err
	}
	f.done.Go(func() {
		err := f.cmd.Wait()
		w.CloseWithError(errors.Join(err, io.EOF))
	})
	f.done.Go(func() {
		for e, err := range decode(r) {
			f.add(e, err)
		}
		f.add(*new(E), io.EOF)
		_, _ = io.Copy(io.Discard, r) // never block the command
	})
	return f, nil
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

// wait returns the first event that match likes, for limit at most. what names
// it for the error.
func (f *feed[E]) wait(ctx context.Context, limit time.Duration, what string, match func(E) bool) (E, error) {
	waiting, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	seen := 0
	for {
		f.mu.Lock()
		events, err, more := f.events, f.err, f.more
		f.mu.Unlock()
		for ; seen < len(events); seen++ {
			if match(events[seen]) {
				return events[seen], nil
			}
		}
		if err != nil {
			return *new(E), fmt.Errorf("not seen: %s: the instrument ended: %w", what, err)
		}
		select {
		case <-more:
		case <-waiting.Done():
			if ctx.Err() != nil {
				return *new(E), ctx.Err()
			}
			return *new(E), fmt.Errorf("not seen within %s: %s", limit, what)
		}
	}
}
