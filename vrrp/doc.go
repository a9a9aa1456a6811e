// Package vrrp speaks the Virtual Router Redundancy Protocol: version 3 for IPv4 and
// IPv6 (RFC 9568) and version 2 for IPv4 (RFC 3768, with RFC 2338's simple password).
// Advertisement is what stands in a packet, Machine is one virtual router, Engine runs
// all that a host has, and tells who else is on the link.
//
// The first two are pure: they own no socket, goroutine, clock or log, take what happened
// and when, and return what to do. Engine has one goroutine, Run's, and reaches the
// network through Conn and the host's addresses through Host. None of them may know why
// a router takes part or what its priority means (package policy), nor how frames and
// addresses reach the kernel.
package vrrp
