package container

import (
	"fmt"
	"io"
	"iter"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/anyvip/anyvip/lab"
	"github.com/anyvip/anyvip/lab/feed"
	"github.com/anyvip/anyvip/lab/load"
	"github.com/anyvip/anyvip/lab/watch"
)

// instrument is a container that shares the network of a service and prints
// events.
type instrument[E any] struct {
	*engine
	cmd  *lab.Cmd
	feed *feed.Feed[E]
}

// follow starts an anyvip-lab beside a service.
func follow[E any](e *engine, decode func(io.Reader) iter.Seq2[E, error], service string, args ...string) instrument[E] {
	e.t.Helper()
	argv := []string{"docker", "run", "--rm", "--network", "container:" + e.id(service), "ghcr.io/anyvip/lab", "anyvip-lab"}
	cmd := e.command(append(argv, args...)...)
	f, err := feed.Follow(cmd, &cmd.Stdout, decode)
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { <-f.Done() })
	return instrument[E]{e, cmd, f}
}

// wait returns the first event that match likes, seen already or soon.
func (i instrument[E]) wait(what string, match func(E) bool) E {
	i.t.Helper()
	event, err := i.feed.Wait(i.t.Context(), patience, what, match)
	if err != nil {
		i.t.Fatalf("%v\n%s", err, i.composed("logs", "--tail", "20"))
	}
	return event
}

// end ends the instrument and its container.
func (i instrument[E]) end() {
	i.t.Helper()
	if err := i.cmd.Signal(syscall.SIGTERM); err != nil { // docker passes it on
		i.t.Fatal(err)
	}
	<-i.feed.Done()
}

// tor shows the routes in the ToR's kernel.
type tor struct{ instrument[watch.Event] }

func (e *engine) watchTor() tor {
	e.t.Helper()
	return tor{follow(e, watch.Decode, "tor", "watch", "--fib", vip.String())}
}

// route waits until the VIP has these next hops, at or after since, and returns
// when it had.
func (w tor) route(since time.Time, want ...netip.Addr) time.Time {
	w.t.Helper()
	return w.wait(fmt.Sprintf("next hops %v in the kernel of the ToR", want), func(e watch.Event) bool {
		return e.Kind == watch.FIB && !e.Time.Before(since) && e.Route.Prefix == vip && slices.Equal(e.Route.Addrs(), want)
	}).Time
}

// client opens 200 connections a second.
type client struct{ instrument[load.Event] }

// startLoad returns once the first connection is made.
func (e *engine) startLoad() client {
	e.t.Helper()
	c := client{follow(e, load.Decode, "client", "load", "--target", url, "--rate", "200")}
	c.wait("the client is ready", func(e load.Event) bool { return e.Kind == load.Ready })
	return c
}

// end ends the load and returns what became of it.
func (c client) end() load.Summary {
	c.t.Helper()
	c.instrument.end()
	sum := c.wait("the client's summary", func(e load.Event) bool { return e.Kind == load.Summed }).Summary
	if n := sum.Failures[load.Local]; n > 0 {
		c.t.Fatalf("the client itself could not ask %d times: the measurement is void", n)
	}
	return *sum
}

// summaryOf is the summary in what an `anyvip-lab load` has printed.
func (e *engine) summaryOf(output string) (sum load.Summary) {
	e.t.Helper()
	for event, err := range load.Decode(strings.NewReader(output)) {
		if err != nil {
			e.t.Fatal(err)
		}
		if event.Kind == load.Summed {
			sum = *event.Summary
		}
	}
	return sum
}
