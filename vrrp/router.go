package vrrp

import (
	"slices"
	"time"
)

// Router is what one virtual router is configured with. Its values are valid:
// Validate is whoever makes one's affair.
type Router struct {
	Advertisement // what it says as Active; Interval is Advertisement_Interval

	Preempt      bool          // Preempt_Mode
	PreemptDelay time.Duration // how long an Active router of lower priority is left alone; 0: not at all
	Waits        bool          // one that has won its election waits for Win
}

func (r Router) equal(s Router) bool {
	return r.Version == s.Version && r.VRID == s.VRID && r.Priority == s.Priority && r.Interval == s.Interval &&
		slices.Equal(r.Addresses, s.Addresses) && r.Secured == s.Secured && r.Password == s.Password && r.Checksum == s.Checksum &&
		r.Preempt == s.Preempt && r.PreemptDelay == s.PreemptDelay && r.Waits == s.Waits
}

// Act is a kind of thing that a Machine wants done.
type Act uint8

// What there is to do.
const (
	Send     Act = iota // an ADVERTISEMENT with Do.Priority
	Take                // add the addresses
	Announce            // ARP announcements or unsolicited NAs, for all of them
	Hush                // announce them no more: the neighbours are to believe another router
	Release             // remove the addresses
)

var actNames = [...]string{"send", "take", "announce", "hush", "release"}

func (a Act) String() string { return actNames[a] }

// Do is one thing to do.
type Do struct {
	Act
	Priority uint8 // of Send
}
