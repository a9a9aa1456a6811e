// Package demo tells the story of ECMP with anyvip while it happens, with
// figures that it measures, in the lab of lab/ecmp.clab.yml.
//
// It is also a test: it fails unless every step was really seen, at the ToR, on
// the wire or by the client. It must not know the daemon's code; it looks at it
// as an operator and a client would.
//
// Goroutines: those of the feeds. Run waits for them.
package demo
