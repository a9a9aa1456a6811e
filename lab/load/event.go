package load

import (
	"io"
	"iter"
	"time"

	"github.com/anyvip/anyvip/lab/feed"
)

// Kind says which part of an Event is filled.
type Kind string

const (
	// Ready comes first, just before the first connection.
	Ready Kind = "ready"
	// Result is one request. Failed ones are always reported, others only when asked for.
	Result Kind = "request"
	// Summed comes last.
	Summed Kind = "summary"
)

// Event is one line of `anyvip-lab load`.
type Event struct {
	Time    time.Time `json:"time"`
	Kind    Kind      `json:"kind"`
	Request *Request  `json:"request,omitempty"`
	Summary *Summary  `json:"summary,omitempty"`
}

// Failure says how a request failed. Empty means that it did not.
type Failure string

// How a request can fail.
const (
	Refused     Failure = "refused"     // the server's kernel answered: nothing listens
	Timeout     Failure = "timeout"     // no connection, or no whole answer, in time
	Reset       Failure = "reset"       // the connection ended before the answer was complete
	Unreachable Failure = "unreachable" // a router answered: no route, or the host is gone
	Status      Failure = "status"      // a whole answer, but not 200
	Local       Failure = "local"       // this host could not ask: no port, no descriptor. The measurement is void
	Other       Failure = "other"
)

// Request is what became of one request.
type Request struct {
	Number int `json:"number"` // from 1, in the order they were due
	// Due is when it had to start, Started when it did, Ended when its fate was known.
	Due     time.Time     `json:"due"`
	Started time.Time     `json:"started"`
	Ended   time.Time     `json:"ended"`
	Latency time.Duration `json:"latency_ns"` // Ended - Due
	Server  string        `json:"server,omitempty"`
	// Port is this side's; which server a router picks depends on it.
	Port    uint16  `json:"port,omitempty"`
	Failure Failure `json:"failure,omitempty"`
	Detail  string  `json:"detail,omitempty"`
}

// Summary is the whole run.
type Summary struct {
	Target   string          `json:"target"`
	Started  time.Time       `json:"started"`
	Ended    time.Time       `json:"ended"`
	Requests int             `json:"requests"`
	OK       int             `json:"ok"`
	Failed   int             `json:"failed"`
	Servers  map[string]int  `json:"servers"`  // answered requests by server name
	Failures map[Failure]int `json:"failures"` // failed ones by class
	// FirstFailure and LastFailure are when the first and last failed request were due.
	FirstFailure time.Time `json:"first_failure,omitzero"`
	LastFailure  time.Time `json:"last_failure,omitzero"`
	// Latency is of the answered requests.
	Latency Percentiles `json:"latency"`
	// Late is the most that a request started after it was due: how well the rate was kept.
	Late time.Duration `json:"late_ns"`
}

// Percentiles of a latency.
type Percentiles struct {
	P50 time.Duration `json:"p50_ns"`
	P90 time.Duration `json:"p90_ns"`
	P99 time.Duration `json:"p99_ns"`
	Max time.Duration `json:"max_ns"`
}

// Decode reads what `anyvip-lab load` prints, one event after the other, until the end of the input. An error, of the
// input or of a line, ends the sequence.
func Decode(r io.Reader) iter.Seq2[Event, error] { return feed.Decode[Event](r, "load") }

// Print returns an emit function for Run that writes one line of JSON per event, what Decode reads. When a write
// has failed it calls failed, once, and writes nothing more.
func Print(w io.Writer, failed func(error)) func(Event) { return feed.Print[Event](w, "load", failed) }
