// Package kernel keeps VIPs on this host's loopback and default routes in its
// main table, and reports which addresses and links the host has.
//
// It owns netlink, the addresses that it added and the file that says which
// these are, and the routes with its protocol number. It must not know services,
// health or BGP.
//
// Every change follows one path. A notification, a new desired set or a timer
// makes the Engine look: it dumps addresses (and links, and routes), and pure
// functions (makePlan, planRoute) compare them with what is wanted and owned.
// What the plan asks for is done, and the Engine looks again. Notifications are
// hints, their content decides nothing, so a lost one costs time and never truth.
//
// A VIP is added as a host address that is not the source of traffic this host
// starts: IPv4 with scope host, IPv6 with preferred lifetime 0 and without
// duplicate address detection. (A host whose only global IPv6 address is the
// VIP still uses it: RFC 6724 prefers a deprecated address to one of too small
// a scope.) An address that was here before us is used as it is, never changed
// and never removed.
//
// A default route is one multipath route for each family. Its protocol number
// says that it is ours, so no file is needed and one that a crash left behind is
// adopted; routes with another number are never changed or removed, whatever
// their metric. The new next hops are there before the old ones go. A next hop
// that cannot be used now is left out, and the rest of the route stands.
//
// Linux forgets much of this without a notification: an IPv4 route when its last
// next hop's link goes down, all of an IPv4 multipath route when one of its links
// is deleted. Notifications of links and addresses are therefore a reason to
// look at routes as well.
//
// Goroutines: Run's own, which owns all state and speaks to the kernel, and one
// that turns notifications into hints. Both have ended when Run returns.
package kernel
