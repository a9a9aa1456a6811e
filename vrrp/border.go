package vrrp

import (
	"net/netip"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

// Conn is the links of this host, as the engine sees them. All but Wake is called by
// Run's goroutine alone.
type Conn interface {
	// Listen replaces the links that are listened on, and says of those where that
	// cannot be done why, and what to do. It does not wait for anything.
	Listen(links []Link) map[string]error

	// Wait returns what has come, oldest first; nothing at until (zero: never) or
	// after Wake. What it returns is valid until its next call.
	// now is a moment before which nothing came that was not returned: whatever is due by
	// then is due, and what is due only by the clock may not be, after a stall.
	Wait(until time.Time) (list []Arrival, now time.Time, err error)

	// Send sends an advertisement out of a link: TTL or hop limit 255, and to a group
	// of multicast past the routing table, from a MAC (zero: the link's own). To one
	// router it comes from the link's own MAC in any case. It does not block for longer
	// than it takes to hand the packet to the kernel.
	Send(link string, mac [6]byte, src, dst netip.Addr, packet []byte) error

	// Wake ends a Wait, the present one or the next. Any goroutine may call it.
	Wake()
}

// Link is a link of this host. One that was made anew has another Index.
type Link struct {
	Name  string
	Index int
}

// Arrival is something that came in on a link: an advertisement, or a claim.
type Arrival struct {
	Link string
	At   time.Time // when the kernel had it
	MAC  [6]byte   // the sender's

	// Of an advertisement: what the IP header says, and what is behind it.
	Src, Dst netip.Addr
	HopLimit uint8
	Packet   []byte

	// Of a claim: an address that the sender says it has, in ARP or a neighbor
	// advertisement. Not valid: it is none.
	Claim netip.Addr
}

// Host is what keeps addresses on this host, as the engine sees it.
type Host interface {
	// Answer says how a virtual router's addresses shall be from now on. It must not
	// block; of several for one router the latest counts.
	Answer(Answer)
}

// Answer is how a virtual router's addresses shall be.
type Answer struct {
	Router    string        // Candidacy.Name
	Addresses []Address     // all, also those that ride
	Held      bool          // on this host; otherwise not
	Going     bool          // Held, and not for long: another router has taken over, or is about to
	Interval  time.Duration // the router's Advertisement_Interval

	// Announce says that the neighbours are to be told, by ARP announcement or
	// unsolicited NA, once the addresses are there; anew when it is higher than before.
	// 0: not, or no more.
	Announce uint64
	Refresh  time.Duration // Candidacy.Refresh

	// Heir is the router that this one has yielded to, if the neighbours are to be told of
	// it now. Zero: of this host.
	Heir Heir

	// Probe says to ask once, with the first announcement, who else has the addresses
	// (RFC 5227, section 2.1.1). Nothing waits for an answer: it comes as a claim.
	Probe bool
}

// Heir is a router with a virtual MAC, and the link on which it is one.
type Heir struct {
	MAC       [6]byte
	Interface Link
}

// Address is an address and the link that it is on, or is to be.
type Address struct {
	netip.Addr
	Interface Link
	MAC       [6]byte // of a virtual router; zero: Interface's own
}

// Stance is how far a virtual router takes part.
type Stance uint8

// The stances.
const (
	Out  Stance = iota // not at all: an Active router leaves, whoever follows
	Last               // only as long as no other router does: an Active router leaves for a successor, or stays
	In                 // as any other
)

// Candidacy is one virtual router that is wanted.
type Candidacy struct {
	Name      string // its key
	Interface Link
	Source    netip.Addr // what its advertisements come from: primary IPv4 or link-local address of Interface
	Router    Router
	Peers     []netip.Addr  // advertisements go to these, and come from these; none: multicast
	Rides     []Address     // addresses that share its fate and are not advertised, wherever they are
	Group     string        // those of one group are Active together or not at all; empty: it is of none
	Refresh   time.Duration // announce again every so often; 0: never
	Defend    bool          // announce against a foreign claim, once in ten seconds
	Stance    Stance

	VirtualMAC bool // its addresses have the virtual router MAC address, not the link's own, and so has what it says of them
}

// MAC is the virtual router MAC address, RFC 9568, section 7.3; zero if it has none.
func (c Candidacy) MAC() (mac [6]byte) {
	switch {
	case !c.VirtualMAC:
		return mac
	case c.Source.Is4():
		return [6]byte{0, 0, 0x5e, 0, 1, c.Router.VRID}
	}
	return [6]byte{0, 0, 0x5e, 0, 2, c.Router.VRID}
}

// Desired is everything that is wanted. A virtual router that is not in it any more
// leaves as one that is Out, and is forgotten then. No two have the same Name, nor the
// same VRID on one Interface in one family.
type Desired struct{ Routers []Candidacy }

// Report is what the engine tells its owner: whole values, replaced not merged, and
// never changed after they were handed over.
type Report struct {
	Routers []vip.VirtualRouter // by Name; also those that are leaving
}
