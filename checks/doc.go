// Package checks asks whether things work: one file per kind of check, a table
// of kinds, and a Runner that probes a whole set of them on schedule.
//
// It owns how a question is asked, when, and how its answer is classed. It must
// not know rise, fall, services or what a result leads to; Config carries such
// values only because they are written beside the check.
//
// Goroutines: Runner.Run waits for one goroutine per check. Nothing else here
// outlives a call of Checker.Probe.
package checks
