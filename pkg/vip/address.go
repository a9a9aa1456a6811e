package vip

import (
	"net/netip"
	"time"
)

// AddressState says whether this host has an address.
type AddressState uint8

// The states of an address.
const (
	AddressUnknown   AddressState = iota // not looked yet
	AddressAbsent                        // not there; we are trying to put it (back)
	AddressTentative                     // there, but duplicate address detection is not over
	AddressPresent                       // there and usable
	AddressRefused                       // we will not, or may not, add it: Detail says why
)

var addressStateNames = [...]string{"unknown", "absent", "tentative", "present", "refused"}

func (s AddressState) String() string { return name(addressStateNames[:], int(s)) }

// Address is what is known about one VIP on this host.
type Address struct {
	Addr   netip.Addr
	State  AddressState
	Since  time.Time   // of State
	Ours   bool        // we added it; otherwise it was there before us and stays
	Link   string      // where it is
	Lost   []time.Time // when someone took it away, newest last; at most the last 5
	Detail string      // why State is AddressAbsent or AddressRefused, and what to do
}

// Link is what is known about one link of this host.
type Link struct {
	Name     string
	Index    int
	Up       bool           // operational state, RFC 2863: up, or unknown as for lo
	MTU      int            // in bytes; 0: not known
	Prefixes []netip.Prefix // its addresses with their prefix lengths, VIPs of ours left out
}
