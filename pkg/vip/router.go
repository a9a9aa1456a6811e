package vip

import (
	"net/netip"
	"strings"
	"time"
)

// RouterState is where a virtual router is, RFC 9568, section 6.4.
type RouterState uint8

// The states. RouterLeaving is ours: RFC 9568 goes to Initialize at once, and the
// packets until the successor is there are lost.
const (
	RouterInitialize RouterState = iota
	RouterBackup
	RouterActive
	RouterLeaving // priority 0 is sent; the addresses are answered for until somebody else does, or nobody comes
)

var routerStateNames = [...]string{"Initialize", "Backup", "Active", "Leaving"}

func (s RouterState) String() string { return name(routerStateNames[:], int(s)) }

// RouterCause says why a virtual router is in its state.
type RouterCause uint8

// The causes.
const (
	RouterNotStarted     RouterCause = iota
	RouterStarted                    // it takes part, and listens first
	RouterOwns                       // it owns the addresses
	RouterNothingHeard               // Active_Down_Interval is over
	RouterActiveLeft                 // the Active router said priority 0, and nobody better came
	RouterPreempts                   // the Active router's priority is lower than ours
	RouterHigherPriority             // another router has one
	RouterHigherAddress              // another router has the same priority and a higher address
	RouterStopped                    // it does not take part any more
	RouterDrained                    // likewise, as long as another router does
	RouterNoSuccessor                // drained, but no other router came: it stays, at priority 1
	RouterRelieved                   // another router has taken over
	RouterWaits                      // it has won its election, and waits for those that it is Active with, or not at all
	RouterGroupLost                  // a router that it is Active with, or not at all, is not Active any more
)

var routerCauseNames = [...]string{"not_started", "started", "owns", "nothing_heard", "active_left", "preempts", "higher_priority", "higher_address",
	"stopped", "drained", "no_successor", "relieved", "waits", "group_lost"}

func (c RouterCause) String() string { return name(routerCauseNames[:], int(c)) }

// RouterTrouble is a set of what is wrong with another router on the link, as seen
// from a virtual router of ours.
type RouterTrouble uint16

// What can be wrong.
const (
	TroubleVersion      RouterTrouble = 1 << iota // it speaks another version under our VRID: nobody hears the other
	TroubleInterval                               // another Advertisement_Interval
	TroubleAddresses                              // another list of addresses
	TroublePassword                               // another password, or one on one side only: nobody hears the other
	TroubleChecksum                               // the other kind of checksum
	TroubleHopLimit                               // its packets came through a router, or are forged
	TroubleRival                                  // it is Active while we are
	TroubleOwner                                  // it advertises addresses that this host owns
	TroubleSameAddress                            // another host has our own address on this link
	TroubleOtherVRID                              // it advertises an address of ours under another VRID
	TroubleClaim                                  // it answers or announces an address of ours in ARP or neighbour discovery, and is no VRRP router
	TroubleCARP                                   // it is no VRRP router: it speaks CARP under our number
	TroubleNotOfTheList                           // it is none of the unicast peers, and sends to us alone, or to the group beside a list of them
)

var routerTroubleNames = [...]string{"other_version", "other_interval", "other_addresses", "other_password", "other_checksum", "hop_limit", "rival", "owner",
	"same_address", "other_vrid", "foreign_claim", "carp", "unknown_peer"}

// RouterTroubles is how many there are.
const RouterTroubles = len(routerTroubleNames)

func (t RouterTrouble) String() string {
	var names []string
	for i, n := range routerTroubleNames {
		if t&(1<<i) != 0 {
			names = append(names, n)
		}
	}
	return strings.Join(names, ",")
}

// Each are the troubles of a set, one by one.
func (t RouterTrouble) Each() (list []RouterTrouble) {
	for i := range routerTroubleNames {
		if one := t & (1 << i); one != 0 {
			list = append(list, one)
		}
	}
	return list
}

// VirtualRouter is what is known about one virtual router of this host.
type VirtualRouter struct {
	Name      string // of its candidacy
	Interface string
	VRID      uint8
	Family    Family
	State     RouterState
	Since     time.Time // of State and Cause
	Cause     RouterCause
	By        netip.Addr // the router that caused it; not valid: none did
	Priority  uint8      // what it advertises, or would, as Active
	Answers   bool       // this host answers for the addresses
	Addresses []netip.Addr
	Others    []OtherRouter
	Detail    string // why it cannot take part, and what to do
}

// OtherRouter is somebody else on the link: a router that advertises under our VRID, or
// whoever claims an address of ours.
type OtherRouter struct {
	Addr     netip.Addr // what its packets come from
	MAC      string
	VRID     uint8 // 0: it speaks no VRRP
	Priority uint8
	Since    time.Time // when it was heard first, or Trouble changed
	Trouble  RouterTrouble
}
