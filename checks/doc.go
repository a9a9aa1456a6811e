// Package checks makes probes: one goroutine and one timer per check, one file
// per kind of check, and a table of kinds.
//
// It owns how a question is asked and how its answer is classed. It must not
// know rise, fall, services or what a result leads to.
package checks
