package lease

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"time"

	"github.com/anyvip/anyvip/pkg/durable"
)

// patience is how long the disk may take until that is a problem.
const patience = 2 * time.Second

// disk is where the ledger is. An address is written down before it is added, so that
// whatever a crash leaves behind is known to be ours. Each use of the disk has a
// goroutine of its own, one at a time: the disk may hang, and renewals must go on.
// Run's goroutine owns all else.
type disk struct {
	path    string
	life    durable.Life
	replace func(path string, content []byte) error // durable.Replace, unless a test has its own
	done    chan outcome                            // of one: nobody waits for a reader

	ready bool            // the file was read, or there is none
	known map[spot]string // what the file says for sure, whichever write comes to its end
	dirty bool            // a write failed: it may say more, or less, than known
	since time.Time       // of the use that is under way; zero: none is
	next  map[spot]string // what that writes
	err   error           // of the latest use
	fails int             // in a row
	retry time.Time
}

// outcome is what became of a use of the disk.
type outcome struct {
	books   map[spot]string // of a read
	err     error
	corrupt error  // what is wrong with a file that was moved aside
	aside   string // its new name
}

func newDisk(path string) *disk {
	return &disk{path: path, replace: durable.Replace, done: make(chan outcome, 1), known: map[spot]string{}}
}

// says reports whether the file has a spot for sure.
func (d *disk) says(s spot) bool { _, ok := d.known[s]; return ok }

// opened reports whether it is known what the file says, or why it is not.
func (d *disk) opened() bool { return d.ready || d.problem(time.Now()) != nil }

// problem is why the file does not say what it should. One that was just begun is none.
func (d *disk) problem(now time.Time) error {
	if !d.since.IsZero() && now.Sub(d.since) >= patience {
		return fmt.Errorf("%s: the disk has not answered for %s", d.path, patience)
	}
	return d.err
}

// deadline is when there is something to do, or to say.
func (d *disk) deadline() time.Time {
	if !d.since.IsZero() {
		return d.since.Add(patience)
	}
	return d.retry
}

func (d *disk) use(now time.Time, work func() outcome) {
	d.since = now
	go func() { d.done <- work() }()
}

func (d *disk) busy(now time.Time) bool { return !d.since.IsZero() || now.Before(d.retry) }

// read begins to read the file, if that is still to be done.
func (d *disk) read(now time.Time) {
	if d.ready || d.busy(now) {
		return
	}
	path, l := d.path, d.life
	d.use(now, func() outcome { return readLedger(path, l) })
}

// readLedger reads a file, and moves it aside if it cannot be understood.
func readLedger(path string, l durable.Life) outcome {
	raw, err := durable.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return outcome{books: map[spot]string{}}
	}
	if err != nil {
		return outcome{err: fmt.Errorf("read %s: %w", path, err)}
	}
	books, corrupt := decode(raw, l)
	if corrupt == nil {
		return outcome{books: books}
	}
	aside, err := durable.SetAside(path)
	if err != nil {
		return outcome{err: fmt.Errorf("%s is corrupt (%w) and cannot be moved aside: %w", path, corrupt, err)}
	}
	return outcome{books: map[spot]string{}, corrupt: corrupt, aside: aside}
}

// write begins to make the file say books, unless it does already.
func (d *disk) write(books map[spot]string, now time.Time) {
	if !d.ready || d.busy(now) || !d.dirty && maps.Equal(books, d.known) {
		return
	}
	d.next = books
	maps.DeleteFunc(d.known, func(s spot, link string) bool { return books[s] != link })
	raw, err := encode(books, d.life)
	path, replace := d.path, d.replace
	d.use(now, func() outcome {
		if err == nil {
			err = replace(path, raw)
		}
		if err != nil {
			return outcome{err: fmt.Errorf("write %s: %w", path, err)}
		}
		return outcome{}
	})
}

// took takes over what became of the use of the disk that was under way. Of a first
// read, it returns what the file said.
func (d *disk) took(o outcome, now time.Time) (left map[spot]string) {
	d.since, d.err = time.Time{}, o.err
	if o.err != nil {
		d.retry = now.Add(min(firstRetry<<min(d.fails, 10), lastRetry))
		d.fails++
		d.dirty = d.ready
		return nil
	}
	d.fails, d.retry = 0, time.Time{}
	if !d.ready {
		d.ready, d.known = true, maps.Clone(o.books)
		return o.books
	}
	d.dirty, d.known = false, d.next
	return nil
}

// end waits for the use of the disk that is under way, but not for a disk that hangs.
func (d *disk) end() {
	if d.since.IsZero() {
		return
	}
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case <-d.done:
	case <-limit.C:
	}
}
