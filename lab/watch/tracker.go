package watch

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// maxDirections bounds the connections remembered; past it, those that ended are forgotten.
const maxDirections = 1024

// tracker turns the packets of one link into events. It is pure: packets and times in, events out.
type tracker struct {
	link       string
	directions map[flow]*direction
	emit       func(Event)
}

// flow is one direction of a connection.
type flow struct{ src, dst netip.AddrPort }

type direction struct {
	stream stream
	open   *bgp.BGPOpen // the sender's
	ended  bool
}

func newTracker(link string, emit func(Event)) *tracker {
	return &tracker{link: link, directions: map[flow]*direction{}, emit: emit}
}

// packet takes a packet from its network header on.
func (t *tracker) packet(at time.Time, packet []byte) {
	s, ok := parseSegment(packet)
	if !ok {
		return
	}
	there := flow{s.src, s.dst}
	d := t.directions[there]
	if d == nil || s.syn && d.ended {
		d = t.remember(there)
	}
	if s.syn {
		d.open = nil
		d.stream.begin(s.seq)
		return
	}
	skipped := d.stream.add(s.seq, s.payload, func(raw []byte) { t.message(at, there, d, raw) })
	if skipped > 0 {
		e := newEvent(at, Lost)
		e.Lost = fmt.Sprintf("%d bytes from %s to %s on %s are no BGP message or were not seen", skipped, s.src, s.dst, t.link)
		t.emit(e)
	}
	if (s.fin || s.rst) && !d.ended {
		d.ended = true
		kind := FIN
		if s.rst {
			kind = RST
		}
		t.report(at, there, Message{Type: kind})
	}
}

func (t *tracker) remember(there flow) *direction {
	if len(t.directions) >= maxDirections {
		for f, d := range t.directions {
			if d.ended {
				delete(t.directions, f)
			}
		}
	}
	d := &direction{}
	t.directions[there] = d
	return d
}

func (t *tracker) message(at time.Time, there flow, d *direction, raw []byte) {
	var receiver *bgp.BGPOpen
	if back := t.directions[flow{there.dst, there.src}]; back != nil {
		receiver = back.open
	}
	m, open := decodeMessage(raw, negotiated(d.open, receiver))
	if open != nil {
		d.open = open
	}
	t.report(at, there, m)
}

func (t *tracker) report(at time.Time, there flow, m Message) {
	m.Interface, m.Src, m.Dst = t.link, there.src, there.dst
	e := newEvent(at, Wire)
	e.Message = &m
	t.emit(e)
}
