// Package router is the lab's top-of-rack router: GoBGP for the sessions, its own choice of the best paths, and one
// multipath route per prefix in the kernel of the network namespace it runs in. It makes `make demo` possible on a
// machine that has nothing but Go, and answers an UPDATE in about a millisecond, so that what a test measures is the
// server's side and not the router's.
//
// It is a lab router, not a product. It takes host routes only (/32, /128), never dials (its peers do), sends its
// peers nothing unless `readvertise` is set, and knows no graceful restart, no add-path and no policy language. It
// does choose as a real ToR with `bestpath as-path multipath-relax` does, see Best, and it hears GRACEFUL_SHUTDOWN
// (RFC 8326). Where the choice of router matters, test against FRR and BIRD.
//
// It needs CAP_NET_ADMIN in its namespace and must be a process of its own, since GoBGP keeps its selection options
// in package variables and the namespace belongs to threads. The namespace's other routes are not touched: those
// marked `proto bgp` in the main table are the router's, all of them; it removes them when it ends.
//
// Goroutines: Run owns the table and the kernel routes. GoBGP's goroutines and the listener for link changes only
// send it messages. The package knows nothing of the daemon.
package router
