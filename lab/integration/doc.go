// Package integration tests the whole agent against routers that others wrote:
// the real `anyvip run`, race-checked where cgo is there, with FRR and BIRD as
// its ToRs, in labs of package lab.
//
// It has tests only, one file per subject, and topologies in testdata that
// containerlab can read too. Times are taken from the wire and from the ToR's
// kernel (package watch), not from the agent; bounds are wide, since machines
// are noisy, and what was measured is in the test's log.
package integration
