// Package watch says what is on the wire and in the kernel's routing table, and when: the lab's measuring instrument.
//
// On the wire it reads the BGP messages of both directions from a link, with the kernel's receive time stamp, without
// taking part: it works for any speaker. In the routing table it reports each change of the routes it was asked for,
// stamped when the kernel's message was read, which is some microseconds after the change. Both clocks are the host's
// wall clock, so events of several namespaces, and those of package load, belong on one time axis.
//
// Run watches the namespace the process is in; `anyvip-lab watch` is Run in a child process whose standard output
// Decode reads. It needs CAP_NET_RAW for the wire and nothing for the routes.
//
// The sources are read side by side: events of one link, or of the routes, come in order, but a message may be reported
// just after the route change that it caused. Compare times, not positions.
//
// Tap is what the wire is read with, for an instrument of another protocol.
//
// Goroutines: one per link and one for the routes; each owns its socket and its state. Run ends when all have.
package watch
