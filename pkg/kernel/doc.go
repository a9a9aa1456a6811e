// Package kernel keeps VIPs on this host's loopback, and reports which
// addresses and links the host has.
//
// It owns netlink, the addresses that it added and the file that says which
// these are. It must not know services, health or BGP.
package kernel
