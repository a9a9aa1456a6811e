package vip

import "time"

// Quiet is how long a connection may have received nothing until it counts as left by
// its client.
const Quiet = 2 * time.Second

// Flows is what is known about the TCP connections of this host whose local
// address is one VIP.
type Flows struct {
	At        time.Time // when it was looked
	Open      int       // connections that are not closed
	Receiving int       // of them, those that received data, or came, less than Quiet before At
	Received  time.Time // when any of them last received data; zero: none has
	Detail    string    // why it cannot be known, and what to do; empty: it is
}
