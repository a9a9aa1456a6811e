// Package vrrp speaks the Virtual Router Redundancy Protocol: version 3 for IPv4 and
// IPv6 (RFC 9568) and version 2 for IPv4 (RFC 3768, with RFC 2338's simple password).
// Advertisement is what stands in a packet, Machine is one virtual router.
//
// Both are pure: they own no socket, goroutine, clock or log, take what happened and
// when, and return what to do. They must not know why a router takes part or what its
// priority means (package policy), nor how frames and addresses reach the kernel.
package vrrp
