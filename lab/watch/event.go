package watch

import (
	"io"
	"iter"
	"net/netip"
	"time"

	"github.com/anyvip/anyvip/lab/feed"
)

// Kind says which part of an Event is filled.
type Kind string

const (
	// Ready is the first event: every socket is open, nothing that happens from now on is missed.
	Ready Kind = "ready"
	// Wire is a BGP message, or the end of a BGP connection, on a link.
	Wire Kind = "wire"
	// FIB is a route of the kernel: first the current ones, then each change.
	FIB Kind = "fib"
	// Lost says that the instrument missed something. A measurement with it is worth nothing.
	Lost Kind = "lost"
)

// Event is one observation, and one line of `anyvip-lab watch`.
type Event struct {
	Time     time.Time `json:"time"`
	UnixNano int64     `json:"unix_nano"` // the same time, for tools that count
	Kind     Kind      `json:"kind"`
	Message  *Message  `json:"message,omitempty"`
	Route    *Route    `json:"route,omitempty"`
	Lost     string    `json:"lost,omitempty"` // what was missed, and where
}

func newEvent(at time.Time, kind Kind) Event {
	at = at.Round(0)
	return Event{Time: at, UnixNano: at.UnixNano(), Kind: kind}
}

// Type is the type of a BGP message (RFC 4271, section 4.1; RFC 2918), or FIN or RST: how its connection ended.
type Type string

// What a Message can be.
const (
	Open         Type = "OPEN"
	Update       Type = "UPDATE"
	Notification Type = "NOTIFICATION"
	Keepalive    Type = "KEEPALIVE"
	RouteRefresh Type = "ROUTE-REFRESH"
	FIN          Type = "FIN"
	RST          Type = "RST"
)

// Message is one BGP message as it was on the wire.
type Message struct {
	Interface string         `json:"interface"`
	Src       netip.AddrPort `json:"src"`
	Dst       netip.AddrPort `json:"dst"`
	Type      Type           `json:"type"`
	// Length is that of the whole message in bytes.
	Length int `json:"length,omitempty"`

	// Of an UPDATE. One UPDATE may announce and withdraw, and carry both families.
	Announced  []NLRI         `json:"announced,omitempty"`
	Withdrawn  []netip.Prefix `json:"withdrawn,omitempty"`
	Attributes *Attributes    `json:"attributes,omitempty"`
	// EndOfRIB names the family whose first exchange is complete (RFC 4724, section 2): "ipv4-unicast" and the like.
	EndOfRIB string `json:"end_of_rib,omitempty"`

	Opened   *Opened   `json:"opened,omitempty"`
	Notified *Notified `json:"notified,omitempty"`
	// Error says why the body could not be read in full. What could be read is there.
	Error string `json:"error,omitempty"`
}

// Announces says whether the message announces prefix.
func (m *Message) Announces(prefix netip.Prefix) bool {
	for _, n := range m.Announced {
		if n.Prefix == prefix {
			return true
		}
	}
	return false
}

// Withdraws says whether the message withdraws prefix.
func (m *Message) Withdraws(prefix netip.Prefix) bool {
	for _, p := range m.Withdrawn {
		if p == prefix {
			return true
		}
	}
	return false
}

// NLRI is an announced prefix with its next hop.
type NLRI struct {
	Prefix  netip.Prefix `json:"prefix"`
	NextHop netip.Addr   `json:"next_hop"`
	PathID  uint32       `json:"path_id,omitempty"` // with add-path (RFC 7911)
}

// Attributes are the path attributes that this project sends.
type Attributes struct {
	Origin           string   `json:"origin,omitempty"`  // "igp", "egp" or "incomplete"
	ASPath           []uint32 `json:"as_path,omitempty"` // sets are flattened
	MED              *uint32  `json:"med,omitempty"`
	LocalPref        *uint32  `json:"local_pref,omitempty"`
	Communities      []string `json:"communities,omitempty"`       // "65535:0"
	LargeCommunities []string `json:"large_communities,omitempty"` // "65000:1:2"
}

// Opened is the body of an OPEN.
type Opened struct {
	ASN      uint32     `json:"asn"`
	HoldTime int        `json:"hold_time"` // seconds
	RouterID netip.Addr `json:"router_id"`
}

// Notified is the body of a NOTIFICATION. Text is a shutdown communication (RFC 9003); that of a hard reset
// (RFC 8538) is taken from the message inside.
type Notified struct {
	Code    uint8  `json:"code"`
	Subcode uint8  `json:"subcode"`
	Text    string `json:"text,omitempty"`
}

// Route is the kernel's route to a prefix: the one with the lowest metric in the main table.
type Route struct {
	Prefix   netip.Prefix `json:"prefix"`
	NextHops []NextHop    `json:"next_hops,omitempty"` // ordered by address
	Removed  bool         `json:"removed,omitempty"`
	// Initial marks what was there when the watch began.
	Initial bool `json:"initial,omitempty"`
	// Type is set where the route is not a unicast one: "blackhole", "unreachable", "prohibit".
	Type string `json:"type,omitempty"`
}

// Addrs is the next hops' addresses, without those that are only an interface.
func (r *Route) Addrs() []netip.Addr {
	var out []netip.Addr
	for _, h := range r.NextHops {
		if h.Addr.IsValid() {
			out = append(out, h.Addr)
		}
	}
	return out
}

// NextHop is where a route sends packets, leaving out those that the kernel has declared dead.
type NextHop struct {
	Addr      netip.Addr `json:"addr,omitzero"`
	Interface string     `json:"interface,omitempty"`
	Weight    int        `json:"weight,omitempty"` // only where it is not 1
}

// Decode reads what `anyvip-lab watch` prints, one event after the other, until the end of the input. An error, of the
// input or of a line, ends the sequence.
func Decode(r io.Reader) iter.Seq2[Event, error] { return feed.Decode[Event](r, "watch") }

// Print returns an emit function for Run that writes one line of JSON per event, what Decode reads. When a write
// has failed it calls failed, once, and writes nothing more.
func Print(w io.Writer, failed func(error)) func(Event) { return feed.Print[Event](w, "watch", failed) }
