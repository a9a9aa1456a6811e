package watch

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Config says what to watch; at least one thing.
type Config struct {
	// Links are the interfaces whose BGP messages are read.
	Links []string
	// Prefixes are those whose routes, and more specific ones, are followed.
	Prefixes []netip.Prefix
}

// Run opens every socket, emits Ready and then what it sees, until ctx ends; then it returns nil. emit is called by
// one goroutine at a time and should be quick: while it works, the kernel's buffers fill.
func Run(ctx context.Context, c Config, emit func(Event)) error {
	if len(c.Links)+len(c.Prefixes) == 0 {
		return errors.New("nothing to watch: name a link or a prefix")
	}
	emit = oneAtATime(emit)

	var wires []*wire
	for _, link := range c.Links {
		w, err := openWire(link)
		if err != nil {
			return err
		}
		defer w.close()
		wires = append(wires, w)
	}
	routes, err := openFIB(c.Prefixes, emit)
	if err != nil {
		return err
	}
	defer routes.close()
	emit(newEvent(time.Now(), Ready))

	group, ctx := errgroup.WithContext(ctx)
	for _, w := range wires {
		group.Go(func() error { return w.run(ctx, emit) })
	}
	group.Go(func() error { return routes.run(ctx) })
	group.Go(func() error {
		<-ctx.Done()
		routes.close()
		return nil
	})
	return group.Wait()
}

func oneAtATime(emit func(Event)) func(Event) {
	var lock sync.Mutex
	return func(e Event) {
		lock.Lock()
		defer lock.Unlock()
		emit(e)
	}
}
