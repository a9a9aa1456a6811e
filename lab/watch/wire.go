package watch

import (
	"context"
	"fmt"
	"time"
)

// wire reads the BGP packets of one link.
type wire struct {
	link string
	tap  *Tap
}

func openWire(link string) (*wire, error) {
	tap, err := OpenTap(link, bgpFilter[:])
	if err != nil {
		return nil, err
	}
	return &wire{link, tap}, nil
}

// run reports until ctx ends.
func (w *wire) run(ctx context.Context, emit func(Event)) error {
	t := newTracker(w.link, emit)
	return w.tap.Run(ctx, func(p Packet) { t.packet(p.Time, p.Data) }, func(packets uint32) {
		e := newEvent(time.Now(), Lost)
		e.Lost = fmt.Sprintf("%d packets on %s: the watcher was too slow", packets, w.link)
		emit(e)
	})
}

func (w *wire) close() { w.tap.Close() }
