package bgp

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

// Desired is everything the engine should bring about.
type Desired struct {
	ASN             uint32
	RouterID        netip.Addr
	AllowedPrefixes []netip.Prefix
	ListenPort      uint16 // 0: no listener
	ImportDefault   bool   // take the peers' default routes, and say so in Session.Defaults
	Announcements   []vip.Announcement
	Peers           []Peer
}

// Peer is one session as it should be.
type Peer struct {
	Name         string
	Address      netip.Addr // zero while an unnumbered peer is not found, and then Up is false; link-local with its zone
	ASN          uint32     // 0: any but ours, which the speaker finds out
	Port         uint16
	LocalAddress netip.Addr
	HoldTime     time.Duration
	Password     string // the secret itself, read from its file
	TTLSecurity  bool
	Multihop     uint8
	Passive      bool
	Up           bool             // false: close it with Cease and Text, and keep it closed
	Text         string           // shutdown communication, RFC 9003
	Cause        vip.SessionCause // why it is not to be up: on a link that is down there is nobody to hear Text
	NextHop6     netip.Addr       // resolved next hop for IPv6 VIPs on an IPv4 session; zero: send none
}

// Carries says whether announcements of family f go to the peer when families
// are those negotiated with it. An IPv6 VIP on an IPv4 session needs NextHop6.
func (p Peer) Carries(f vip.Family, families []vip.Family) bool {
	if f == vip.IPv6 && p.Address.Is4() && !p.NextHop6.IsValid() {
		return false
	}
	return slices.Contains(families, f)
}

// Report is what the engine tells its owner: whole values, replaced not
// merged, and never changed after they were handed over.
type Report struct {
	Sessions map[string]vip.Session                       // by peer; every peer of the latest Desired, as the speaker saw it last
	Sent     map[string]map[netip.Prefix]vip.Announcement // by peer: its Adj-RIB-Out, Established peers only
}

// Sessions is the whole set of sessions as they should be, and what all of
// them share.
type Sessions struct {
	ASN             uint32
	RouterID        netip.Addr
	AllowedPrefixes []netip.Prefix
	ListenPort      uint16
	ImportDefault   bool
	Peers           []Peer
}

// Equal compares everything, the order of peers and prefixes included.
func (s Sessions) Equal(t Sessions) bool {
	return s.ASN == t.ASN && s.RouterID == t.RouterID && s.ListenPort == t.ListenPort && s.ImportDefault == t.ImportDefault &&
		slices.Equal(s.AllowedPrefixes, t.AllowedPrefixes) && slices.Equal(s.Peers, t.Peers)
}

// Speaker is the border to a BGP implementation. Values go in and out, nothing
// is shared, and any call may fail; a speaker in a process of its own would be
// the same border with a transport.
//
// The engine calls from one goroutine, one call at a time, and takes as long as
// the call takes: a speaker that blocks is seen as dead by the agent's alive
// gate. A call that fails may have had any part of its effect. All calls may be
// repeated, and repeating one changes nothing.
//
// What the speaker has to say in between goes through Engine.Notify.
type Speaker interface {
	// Sessions replaces the whole set of sessions, and says in which generation of
	// the speaker's tables it did, or, with an error, which one there is now (0: it
	// cannot say). A session whose parameters did not change is left alone; NextHop6,
	// AllowedPrefixes and ImportDefault tear no session down. The first call starts
	// the speaker; one that must start it anew (ASN, router ID, listen port)
	// begins a new generation. Without an ASN there is no BGP: a speaker that runs
	// is stopped.
	Sessions(ctx context.Context, s Sessions) (generation uint64, err error)
	// Set announces add to every peer that can carry it and withdraws remove from
	// all, as one batch. An announcement of a prefix that is already announced
	// replaces its attributes without a withdraw in between.
	Set(ctx context.Context, add []vip.Announcement, remove []netip.Prefix) error
	// Sent reads a peer's Adj-RIB-Out. Attributes that this kind of session does
	// not carry (LocalPref on eBGP, Prepend on iBGP) are as they were set. The map
	// is the caller's. It may still be filling just after Set or a session's start.
	Sent(ctx context.Context, peer string) (map[netip.Prefix]vip.Announcement, error)
}

// Event is a fact about the speaker.
type Event struct {
	// Generation is that of the speaker's tables: 1 for the first, more for each
	// later one. A new one is empty, and the engine sets everything again. Events
	// of an older one than the latest are ignored.
	Generation uint64
	// Session is the whole new state of one session. Peer is empty in an event
	// that only says that a generation began. The engine counts Flaps itself.
	Session vip.Session
}
