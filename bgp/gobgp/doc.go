// Package gobgp is the bgp.Speaker that is made of GoBGP, and the daemon's only
// importer of it.
//
// It owns the sessions' life beyond what GoBGP does: peering again at once after
// a loss, closing with a text, saying why a session is not up. It decides
// nothing about routes; its export policy lets nothing out but host routes
// within the allowed prefixes that this process announced, and its import policy
// lets nothing in. A peer's default routes, if they are asked for, are read from
// where its routes lie before that policy, and told. What a peer sends still
// takes memory there, in GoBGP's Adj-RIB-In, about 0.5 KiB a route: GoBGP's only
// answer to a prefix limit is to end the session for good, which would be worse,
// so a ToR should send its servers no more than a default route.
//
// Goroutines: Run's own, which owns all state; the methods of the border hand it
// their work and wait. GoBGP's goroutines leave signals in a mailbox and never
// wait for us. One short goroutine per diagnosis of a peer that refuses us, and
// one per external peer while its AS number is not known.
package gobgp
