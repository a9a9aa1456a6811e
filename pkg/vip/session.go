package vip

import (
	"net/netip"
	"time"
)

// Family is an address family with SAFI unicast (RFC 4760).
type Family uint8

// The address families.
const (
	FamilyNone Family = iota
	IPv4
	IPv6
)

var familyNames = [...]string{"none", "ipv4", "ipv6"}

func (f Family) String() string { return name(familyNames[:], int(f)) }

// FamilyOf is the family of an address; FamilyNone for the zero Addr.
func FamilyOf(a netip.Addr) Family {
	switch {
	case a.Is4():
		return IPv4
	case a.Is6():
		return IPv6
	}
	return FamilyNone
}

// SessionState is the state of a BGP session (RFC 4271, section 8.2.2).
type SessionState uint8

// The states, RFC 4271, section 8.2.2.
const (
	Idle SessionState = iota
	Connect
	Active
	OpenSent
	OpenConfirm
	Established
)

var sessionStateNames = [...]string{"Idle", "Connect", "Active", "OpenSent", "OpenConfirm", "Established"}

func (s SessionState) String() string { return name(sessionStateNames[:], int(s)) }

// SessionCause says why a session is not Established, as far as it can be known.
type SessionCause uint8

// The causes.
const (
	CauseNone         SessionCause = iota // Established, or too early to say
	CauseNotWanted                        // we keep it down: starting, stopping
	CauseRefused                          // the peer's host refuses TCP: nobody listens, or a filter resets
	CauseUnreachable                      // no route, or the network says unreachable
	CauseSilent                           // no answer to our SYN: a filter, a dead host, or a password mismatch
	CauseNoOpen                           // TCP is up, but the peer never speaks
	CauseWrongAS                          // NOTIFICATION 2/2, either way
	CauseWrongID                          // NOTIFICATION 2/3: bad BGP identifier
	CauseNotification                     // another NOTIFICATION, sent or received
	CauseHoldExpired                      // hold timer expired (4/0)
	CausePeerClosed                       // the peer closed the connection or sent Cease
	CauseLocal                            // our own side: cannot bind local_address, no password, no privilege
	CauseLinkDown                         // the link to the peer is down
	CauseNoNeighbor                       // unnumbered: no router has been heard on the interface
)

var sessionCauseNames = [...]string{"none", "not_wanted", "refused", "unreachable", "silent", "no_open", "wrong_as", "wrong_id",
	"notification", "hold_expired", "peer_closed", "local", "link_down", "no_neighbor"}

func (c SessionCause) String() string { return name(sessionCauseNames[:], int(c)) }

// Session is what is known about one BGP session. Whoever reports it replaces
// the whole value.
type Session struct {
	Peer     string // the peer's name in the configuration
	State    SessionState
	Since    time.Time // of State
	Cause    SessionCause
	Detail   string // one line for an operator: what, and what to do
	Warning  string // what is odd although the session may be up, and what to do; empty: nothing
	Flaps    uint64 // times it left Established since the agent started
	Local    netip.Addr
	Remote   netip.Addr
	RemoteID netip.Addr    // the peer's BGP identifier, once heard
	RemoteAS uint32        // the peer's AS number; 0 until it is known, where asn is external
	HoldTime time.Duration // negotiated; 0 before Established
	Families []Family      // negotiated; empty before Established
	Defaults []Default     // default routes that the peer gives us, if they are asked for; by family
}
