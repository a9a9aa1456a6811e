package feed

import (
	"context"
	"fmt"
	"io"
	"iter"
	"sync"
	"time"
)

// Command is what prints the events, not started yet: a *lab.Cmd or an *exec.Cmd.
// Its Wait returns when the command has ended and all it printed is copied.
type Command interface {
	Start() error
	Wait() error
}

// Feed keeps all events that a command has printed. Its methods may be called by
// many goroutines.
type Feed[E any] struct {
	done chan struct{}

	mu     sync.Mutex
	events []E
	err    error         // why there will be no more
	more   chan struct{} // closed when events or err change
}

// Follow starts cmd, whose standard output goes to *stdout, and decodes what it
// prints. After an error of decode there are no more events, but the output is
// still read: the command is never blocked, not even in its Start.
func Follow[E any](cmd Command, stdout *io.Writer, decode func(io.Reader) iter.Seq2[E, error]) (*Feed[E], error) {
	f := &Feed[E]{done: make(chan struct{}), more: make(chan struct{})}
	out, in := io.Pipe()
	*stdout = in
	read := make(chan struct{})
	go func() {
		defer close(read)
		for e, err := range decode(out) {
			f.add(e, err)
		}
		f.add(*new(E), io.EOF)
		_, _ = io.Copy(io.Discard, out)
	}()
	if err := cmd.Start(); err != nil {
		in.CloseWithError(err)
		<-read
		return nil, err
	}
	go func() {
		defer close(f.done)
		in.CloseWithError(cmd.Wait())
		<-read
	}()
	return f, nil
}

// Done is closed once the command has ended and its output is read.
func (f *Feed[E]) Done() <-chan struct{} { return f.done }

func (f *Feed[E]) add(e E, err error) {
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

// Wait returns the first event that match likes, printed already or within
// limit; match sees every event once, in order. what names the event for the
// error. Wait fails at once if there will be no more events, and with ctx's error
// if ctx ends.
func (f *Feed[E]) Wait(ctx context.Context, limit time.Duration, what string, match func(E) bool) (E, error) {
	waiting, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for seen := 0; ; {
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

// All returns the events so far that match likes. match must not call f.
func (f *Feed[E]) All(match func(E) bool) (found []E) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.events {
		if match(e) {
			found = append(found, e)
		}
	}
	return found
}
