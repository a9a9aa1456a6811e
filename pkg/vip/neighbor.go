package vip

import (
	"net/netip"
	"time"
)

// Neighbor is what is known about the router at the other end of an unnumbered
// link.
type Neighbor struct {
	Address netip.Addr // link-local, with the link's name as zone; zero: none has been heard
	Since   time.Time  // of Address
	Detail  string     // why there is none, or with Address what is odd, and what to do; empty: all is well, or it is too early to say
}
