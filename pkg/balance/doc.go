// Package balance places VIPs on the nodes of a segment that has only layer 2: which VRID
// each has, who owns it, who takes over from whom, and with which priorities.
//
// It owns that arithmetic alone. It is pure, and must not know what a file, a service's
// configuration or a command line looks like. The same sets of VIPs and nodes give the
// same plan everywhere, however they are ordered. docs/adr/0008-balance.md says why it is
// done this way, with figures.
package balance
