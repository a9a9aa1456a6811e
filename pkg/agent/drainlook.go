package agent

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

const (
	// lookEvery is how often the drain file is looked at. The kernel does not tell of
	// every file: not where a directory may not be read, inotify has no room left, or
	// the file system is a network's.
	lookEvery = time.Second

	// lookPatience is how long a look may take before status says so.
	lookPatience = 2 * time.Second
)

// drainLook looks at the drain file, once in lookEvery and when it is asked to, and
// tells what is new. A disk that hangs keeps nobody waiting: each look has a goroutine
// of its own, which is left behind where it does not end.
type drainLook struct {
	look func(path string) drainFile // blocks for the disk
	tell func(drainFile)             // must not block

	path atomic.Pointer[string] // of the file, as configured; empty: there is none
	rung chan struct{}

	// newDrainLook, and then run's goroutine alone.
	told  drainFile
	under aLook
}

// aLook is one that is under way; found is nil where none is.
type aLook struct {
	path  string
	began time.Time
	found chan drainFile // of one: nobody may be left to receive
}

// newDrainLook takes the first look, and waits for that, for lookPatience at most.
func newDrainLook(path string, look func(string) drainFile, tell func(drainFile)) *drainLook {
	d := &drainLook{look: look, tell: tell, rung: make(chan struct{}, 1)}
	d.path.Store(&path)
	if path == "" {
		return d
	}
	d.under = d.begin(path)
	select {
	case d.told = <-d.under.found:
		d.under = aLook{}
	case <-time.After(lookPatience):
		d.told = drainFile{there: true, warning: slow(path) + ", it counts as there"}
	}
	return d
}

// ask asks for a look. It does not block, and any goroutine may call it.
func (d *drainLook) ask() {
	select {
	case d.rung <- struct{}{}:
	default:
	}
}

// run looks until ctx ends.
func (d *drainLook) run(ctx context.Context) error {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	again := false
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case f := <-d.under.found:
			d.under = aLook{}
			d.news(f)
			if !again {
				continue
			}
		case <-d.rung:
			again = true // the one under way may have looked before
		case <-ticker.C:
		}
		path := *d.path.Load()
		if d.under.found != nil && d.under.path == path {
			d.complain()
			continue
		}
		again, d.under = false, aLook{}
		if path == "" {
			d.news(drainFile{})
			continue
		}
		d.under = d.begin(path)
	}
}

func (d *drainLook) begin(path string) aLook {
	l := aLook{path: path, began: time.Now(), found: make(chan drainFile, 1)}
	go func() { l.found <- d.look(path) }()
	return l
}

// complain says of the look that is under way that it takes long.
func (d *drainLook) complain() {
	if time.Since(d.under.began) < lookPatience || d.told.warning != "" {
		return
	}
	f := d.told
	f.warning = slow(d.under.path) + ", what was known before counts"
	d.news(f)
}

func slow(path string) string {
	return fmt.Sprintf("drain_file %s: the disk has not answered for %s; until it does", path, lookPatience)
}

func (d *drainLook) news(f drainFile) {
	if f != d.told {
		d.told = f
		d.tell(f)
	}
}
