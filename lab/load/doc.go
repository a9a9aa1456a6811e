// Package load measures a service from its clients' side: how new connections spread over its servers, and how many
// fail, when, and in which way.
//
// Run opens connections at a fixed rate whatever becomes of the earlier ones (an open loop), and counts a request's
// latency from the moment it was due, not from the moment it was sent: a stall of the service or of the client shows
// up in every request it delayed. Each request has a connection of its own, closed with a reset once the answer is
// complete, so that neither side keeps TIME_WAIT states and the client does not run out of ports.
//
// The package also has the server, a web server that answers with its name. Requests to anything else are the caller's
// own function. Times are the host's wall clock, as in
// package watch.
//
// Goroutines: one per request in flight, all waited for before Run returns; one owner of the counts.
package load
