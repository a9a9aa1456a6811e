package agent

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// LogQueue stands between the loggers and a sink that may be slow: Write never
// waits. Lines that find the queue full are dropped and counted, and the count
// is written once there is room again.
type LogQueue struct {
	sink    io.Writer
	lines   chan []byte
	dropped atomic.Uint64
	closing chan struct{}
	close   sync.Once
	done    sync.WaitGroup
}

const (
	logQueueLines = 4096
	logCloseLimit = time.Second
)

// NewLogQueue is a queue to sink; Start begins to empty it.
func NewLogQueue(sink io.Writer) *LogQueue {
	return &LogQueue{sink: sink, lines: make(chan []byte, logQueueLines), closing: make(chan struct{})}
}

// Write queues a copy of line. It is safe from any goroutine.
func (q *LogQueue) Write(line []byte) (int, error) {
	select {
	case q.lines <- append([]byte(nil), line...):
	default:
		q.dropped.Add(1)
	}
	return len(line), nil
}

// Start writes what is queued, in a goroutine that Close ends.
func (q *LogQueue) Start() {
	q.done.Go(func() {
		for {
			select {
			case line := <-q.lines:
				q.write(line)
			case <-q.closing:
				q.drain()
				return
			}
		}
	})
}

// Close writes what is left, for at most a second. Any goroutine may call it,
// the deadman included.
func (q *LogQueue) Close() {
	q.close.Do(func() { close(q.closing) })
	written := make(chan struct{})
	go func() { q.done.Wait(); close(written) }()
	select {
	case <-written:
	case <-time.After(logCloseLimit):
	}
}

func (q *LogQueue) drain() {
	for {
		select {
		case line := <-q.lines:
			q.write(line)
		default:
			return
		}
	}
}

func (q *LogQueue) write(line []byte) {
	if n := q.dropped.Swap(0); n > 0 {
		fmt.Fprintf(q.sink, "%d log lines dropped: the log's reader is too slow\n", n)
	}
	_, _ = q.sink.Write(line) // nowhere to complain
}
