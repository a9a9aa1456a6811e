package integration

import (
	"fmt"
	"io"
	"iter"
	"testing"
	"time"

	"github.com/anyvip/anyvip/lab"
	"github.com/anyvip/anyvip/lab/feed"
)

// instrument is a command in a node that prints events. What does not happen in
// time fails the test.
type instrument[E any] struct {
	t    *testing.T
	cmd  *lab.Cmd
	feed *feed.Feed[E]
}

// follow starts argv in a node and decodes what it prints, until the test ends.
func follow[E any](r *rig, decode func(io.Reader) iter.Seq2[E, error], node string, argv ...string) *instrument[E] {
	r.t.Helper()
	cmd := r.Command(r.t.Context(), node, argv...)
	f, err := feed.Follow(cmd, &cmd.Stdout, decode)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { <-f.Done() })
	return &instrument[E]{t: r.t, cmd: cmd, feed: f}
}

// wait returns the first event that match likes, seen already or within limit.
// what names it for the failure.
func (i *instrument[E]) wait(limit time.Duration, what string, match func(E) bool) E {
	i.t.Helper()
	e, err := i.feed.Wait(i.t.Context(), limit, what, match)
	if err != nil {
		i.t.Fatalf("%v; the last events are\n%s", err, i.tail(60))
	}
	return e
}

// all returns the events so far that match likes.
func (i *instrument[E]) all(match func(E) bool) []E { return i.feed.All(match) }

func (i *instrument[E]) tail(n int) (text string) {
	events := i.all(func(E) bool { return true })
	for _, e := range events[max(0, len(events)-n):] {
		text += fmt.Sprintf("  %s\n", asJSON(e))
	}
	return text
}
