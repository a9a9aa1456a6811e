package vip

import "time"

// Flows is what is known about the TCP connections of this host whose local
// address is one VIP.
type Flows struct {
	At       time.Time // when it was looked
	Open     int       // connections that are not closed
	Received time.Time // when any of them last received data; zero: none has
	Detail   string    // why it cannot be known, and what to do; empty: it is
}
