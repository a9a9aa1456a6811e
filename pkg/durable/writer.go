package durable

import (
	"fmt"
	"log/slog"
	"time"
)

// patience is how long a Writer waits for the disk.
const patience = 2 * time.Second

// Writer replaces one file again and again, on a disk that may hang. One goroutine uses
// it.
type Writer struct {
	Path    string
	Log     *slog.Logger
	Replace func(path string, content []byte) error // Replace, unless a test has a disk of its own

	hanging <-chan error // the end of a write that hangs; nil: there is none
}

// Write makes the file say content, and waits for that for 2 s at most. A write that
// hangs goes on by itself, and until it ends no other begins: each fails at once.
func (w *Writer) Write(content []byte) error {
	hangs := fmt.Errorf("%s: the disk has not answered for %s", w.Path, patience)
	if w.hanging != nil {
		select {
		case err := <-w.hanging: // of what was wanted then
			w.Log.Info("the disk has answered", "path", w.Path, "error", err)
			w.hanging = nil
		default:
			return hangs
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- w.Replace(w.Path, content) }()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case err := <-ended:
		return err
	case <-limit.C:
		w.hanging = ended
		return hangs
	}
}
