// Package kernel keeps VIPs on this host's loopback, and reports which
// addresses and links the host has.
//
// It owns netlink, the addresses that it added and the file that says which
// these are. It must not know services, health or BGP.
//
// Every change follows one path. A notification, a new desired set or a timer
// makes the Engine look: it dumps addresses (and links), and a pure function
// (makePlan) compares them with what is wanted and owned. What the plan asks
// for is done, and the Engine looks again. Notifications are hints, their
// content decides nothing, so a lost one costs time and never truth.
//
// A VIP is added as a host address that is not the source of traffic this host
// starts: IPv4 with scope host, IPv6 with preferred lifetime 0 and without
// duplicate address detection. (A host whose only global IPv6 address is the
// VIP still uses it: RFC 6724 prefers a deprecated address to one of too small
// a scope.) An address that was here before us is used as it is, never changed
// and never removed.
//
// Goroutines: Run's own, which owns all state and speaks to the kernel, and one
// that turns notifications into hints. Both have ended when Run returns.
package kernel
