package agent

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// blockingSink takes nothing until it is opened.
type blockingSink struct {
	open chan struct{}
	mu   sync.Mutex
	got  bytes.Buffer
}

func (s *blockingSink) Write(p []byte) (int, error) {
	<-s.open
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got.Write(p)
}

func TestLogQueueNeverWaitsAndCountsWhatItDrops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &blockingSink{open: make(chan struct{})}
		q := NewLogQueue(sink)
		q.Start()
		for i := range logQueueLines + 100 { // a Write that waits would deadlock the bubble
			fmt.Fprintf(q, "line %d\n", i)
		}
		close(sink.open)
		q.Close()
		lines := strings.Split(strings.TrimSpace(sink.got.String()), "\n")
		var kept, dropped int
		for _, l := range lines {
			var n int
			if _, err := fmt.Sscanf(l, "%d log lines dropped", &n); err == nil {
				dropped += n
			} else {
				kept++
			}
		}
		if kept+dropped != logQueueLines+100 || dropped == 0 {
			t.Errorf("%d lines kept, %d said to be dropped; want %d in all", kept, dropped, logQueueLines+100)
		}
	})
}

func TestLogQueueCloseIsBoundedWhenTheSinkHangs(t *testing.T) {
	synctest.Test(t, func(*testing.T) {
		sink := &blockingSink{open: make(chan struct{})}
		q := NewLogQueue(sink)
		q.Start()
		fmt.Fprintln(q, "line")
		q.Close() // returns after a second of the bubble's time
		close(sink.open)
	})
}
