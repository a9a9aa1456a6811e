// Package flow watches the TCP connections of this host to a set of its
// addresses: how many there are, how many of them receive data, and when they last
// did. A drain waits for that.
//
// The kernel has no event for data that comes in, so it looks twice a second, and
// only while there is an address to watch. It must not know what a drain is, nor how
// the kernel is asked, which is package sockdiag's. It needs no privilege.
package flow
