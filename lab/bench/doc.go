// Package bench measures anyvip beside the BGP speakers that servers use today, BIRD, ExaBGP and gobgpd, in the same
// run, on the same machine, against the same ToRs, FRR and BIRD. It prints tables and writes docs/benchmarks.md.
//
// Every measurement has labs of its own: a server with one speaker, a ToR with one router, a link; some have more
// servers and a client. What happens is seen from outside, on the wire and in the ToR's kernel, by package watch, and
// by the clients of package load. The package must not know the daemon's code: it looks at it as an operator does.
//
// Some programs of a lab are this package's own, in children of the binary: see Roles. Goroutines: those of the feeds
// and commands; Run waits for them.
package bench
