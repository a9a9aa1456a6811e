package wire

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"sync"
)

// State is what an Event tells about a node, or about the lab if Node is empty.
type State string

// The states of a node, in the order in which a good start passes them, and
// those of a lab.
const (
	StateWaiting State = "waiting" // the node has its namespaces and waits for its links
	StateUp      State = "up"      // exec lines done, daemon started
	StateFailed  State = "failed"  // Text says why; the lab ends
	StateDied    State = "died"    // the daemon ended without being asked to; the node lives
	StateGone    State = "gone"    // the node's first process ended: the node is no more
	StateReady   State = "ready"   // the lab: every node is up
)

// Event goes from a node to the supervisor and from there to the caller.
type Event struct {
	Node  string `json:",omitempty"`
	State State
	Text  string `json:",omitempty"`
}

// Stream is a connection between a process and its parent.
type Stream struct {
	conn net.Conn
	mu   sync.Mutex // one Send at a time
	enc  *json.Encoder
	dec  *json.Decoder
}

// NewStream takes over the socket f.
func NewStream(f *os.File) (*Stream, error) {
	conn, err := net.FileConn(f)
	f.Close()
	if err != nil {
		return nil, fmt.Errorf("stream to the parent: %w", err)
	}
	return &Stream{conn: conn, enc: json.NewEncoder(conn), dec: json.NewDecoder(conn)}, nil
}

// Send writes one message.
func (s *Stream) Send(message any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.enc.Encode(message)
}

// Receive reads one message, for one goroutine; io.EOF means that the other process is gone.
func (s *Stream) Receive(message any) error { return s.dec.Decode(message) }

// Close ends the connection; a Receive under way returns.
func (s *Stream) Close() { _ = s.conn.Close() } // nothing is buffered that could be lost
