package neighbor

import (
	"net/netip"

	"github.com/anyvip/anyvip/pkg/vip"
)

// conn is the border to the network: an open socket on one link.
type conn interface {
	// receive waits for a packet, whose data stays valid until the next call. It
	// ends with an error when the conn is closed.
	receive() (packet, error)
	// send sends a solicitation to all routers, or an advertisement to all nodes.
	send(k kind) error
	close() error
}

// openFunc opens a conn on a link, and says what our own address there is. Its
// errors are written for the operator.
type openFunc func(l vip.Link) (conn, netip.Addr, error)

// listener is an open conn and its receiver.
type listener struct {
	conn
	own  netip.Addr    // with the link's name as zone
	done chan struct{} // closed with the conn
}

// has says whether p is the prefix of our own address.
func (s *listener) has(p netip.Prefix) bool { return p.Addr() == s.own.WithZone("") }

// arrival is what a receiver hands to Run: a valid message, or why it ended.
type arrival struct {
	listener *listener
	link     string
	message  message
	err      error
}

// run receives until the conn is closed or fails. What is not valid, or comes
// from ourselves, goes no further.
func (s *listener) run(link string, arrivals chan<- arrival) {
	for {
		p, err := s.receive()
		m := message{kind: parse(p), from: p.from}
		if err == nil && (m.kind == other || m.from == s.own) {
			continue
		}
		select {
		case arrivals <- arrival{listener: s, link: link, message: m, err: err}:
		case <-s.done:
			return
		}
		if err != nil {
			return
		}
	}
}
