// Package bench measures anyvip beside the BGP speakers that servers use today, BIRD, ExaBGP and gobgpd, and beside
// keepalived, in the same run, on the same machine, against the same ToRs, FRR and BIRD. It prints tables and writes
// docs/benchmarks.md.
//
// Every measurement has labs of its own. For BGP (site): a server with one speaker, a ToR with one router, a link; some
// have more servers and a client. For VRRP (pair): two servers with the same daemon and a client on one switch. What
// happens is seen from outside, on the wire and in the ToR's kernel, by package watch, and by clients, of package load
// and of this one. The package must not know the daemon's code: it looks at it as an operator does.
//
// Some programs of a lab are this package's own, in children of the binary: see Role. Goroutines: those of the feeds
// and commands; Run waits for them.
package bench
