// Package lease keeps the addresses of virtual routers on this host, each with a
// lifetime that the kernel counts down: an agent that is killed, or hangs, leaves none
// behind.
//
// It owns the addresses that it added, their lifetimes, and the file that says which
// these are (leases.json). It must not know VRRP, services or who decides what is held.
// The state directory must belong to this agent alone; package kernel sees to that.
//
// A held address is added as a host address and renewed as long as Options.Alive says
// yes (lifetime.go has the arithmetic, and what the kernel makes of it). An address
// that was here before us, in whatever form, on whatever link but lo, counts as present
// and is never changed, renewed or removed.
//
// A lease with a MAC of its own is on a macvlan, which the engine makes ahead of time,
// has up only while an address is held there, and removes (macvlan.go).
//
// What may have to be added is written down before it is: a lease that is not held is
// a candidate, and taking it needs no disk. What an earlier run left behind is told by
// that file, and by a lifetime no longer than ours are: it is renewed where it stands
// if it is held, and else answers until its lifetime is over, as it would without a new
// agent; but for one on a macvlan, which goes down at once. Without the file nobody knows
// whose it is, so it is left alone, and expires.
//
// The engine knows from its own acts what is on the host. It looks (a dump) at the
// start, after a notification that somebody else may have caused, when something is in
// doubt, and every few seconds; a renewal needs no look.
//
// Goroutines: Run's own, which owns all state and speaks to the kernel; one that turns
// notifications into hints; and one for each use of the disk, which may hang while
// addresses are renewed. They have ended when Run returns, but for one that a hung disk
// holds.
package lease
