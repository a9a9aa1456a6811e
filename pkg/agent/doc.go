// Package agent is the roof: the loop that owns all state, the wiring of every
// part to it, reload, shutdown, and the alive gate.
//
// The loop is one goroutine. Senders of events stand left of it (checks, the
// bgp and kernel engines, signals, reload), receivers of whole desired sets
// right of it (the same engines, the check runner) and readers of its Snapshot
// beside it (API, metrics, web). It empties its mailbox, runs policy.Decide
// once, applies, publishes, in that order; it does no I/O and never waits for
// anything but its mailbox and its one timer.
//
// Goroutines: one per part under one errgroup, plus the deadman, which shares
// no lock with any of them and ends the process when the loop, the check
// runner or the bgp engine stands still.
package agent
