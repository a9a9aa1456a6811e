package gobgp

import (
	"net/netip"
	"sync"
	"time"

	"github.com/osrg/gobgp/v4/api"
	packet "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/anyvip/anyvip/pkg/vip"
)

// signalKind is what GoBGP, or a diagnosis, let us know.
type signalKind uint8

const (
	stateChanged         signalKind = iota // state, reason
	dialFailed                             // text
	tcpUp                                  // our connection stands and our OPEN is out
	tcpLost                                // it ended before the peer's OPEN
	notificationSent                       // code, subcode, text
	notificationReceived                   // code, subcode, text; Established only
	diagnosed                              // failure: what the peer dislikes
	answered                               // failure; none: the peer likes us, or has not said
	asSaid                                 // as, or failure: why it is not known
	defaultSaid                            // the peer gave, changed or withdrew a default route
)

// signal is one thing that happened to one peer.
type signal struct {
	kind          signalKind
	generation    uint64
	at            time.Time
	peer          netip.Addr
	state         vip.SessionState
	reason        api.PeerState_DisconnectReason
	caps          []packet.ParameterCapabilityInterface // the peer's, from OpenConfirm on
	code, subcode uint8
	text          string
	failure       failure
	as            uint32
}

// mailbox is where GoBGP's goroutines leave signals. It keeps their order, and
// its put never blocks.
type mailbox struct {
	mu       sync.Mutex
	queue    []signal
	defaults map[netip.Addr]bool // peers with a defaultSaid in the queue: one is enough
	ready    chan struct{}       // of one: something is in
}

func newMailbox() *mailbox {
	return &mailbox{defaults: map[netip.Addr]bool{}, ready: make(chan struct{}, 1)}
}

func (m *mailbox) put(s signal) {
	m.mu.Lock()
	if s.kind != defaultSaid || !m.defaults[s.peer] {
		m.queue = append(m.queue, s)
	}
	if s.kind == defaultSaid {
		m.defaults[s.peer] = true
	}
	m.mu.Unlock()
	select {
	case m.ready <- struct{}{}:
	default:
	}
}

// take is the oldest signal.
func (m *mailbox) take() (s signal, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.queue) == 0 {
		m.queue = nil // and what was taken off its front
		return s, false
	}
	s = m.queue[0]
	m.queue = m.queue[1:]
	if s.kind == defaultSaid {
		delete(m.defaults, s.peer)
	}
	return s, true
}
