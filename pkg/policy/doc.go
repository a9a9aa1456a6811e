// Package policy is the one place that decides: Decide takes everything that is
// known, as one value, and returns everything that should be, as one value,
// with the reason for each part.
//
// It owns what a requirement, a scope, a recovery delay and a stop mean. It is
// pure: no goroutine, clock, lock or logger, and the same Input always gives
// the same Desired. What it must remember from one decision to the next is in
// Memory, and nowhere else. It must not know how a route is sent, an address
// is added or a probe is made.
package policy

//go:generate go test . -run TestReasonsAreDocumented -update
