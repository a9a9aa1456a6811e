// Package neighbor finds the router at the other end of an unnumbered link, and
// lets itself be found: it sends router advertisements with lifetime 0 and
// without prefixes (RFC 4861), by which the other end learns our link-local
// address, and listens for the other end's.
//
// It must not know BGP, peers or services. It opens a socket on exactly the
// links that it was given, and sends nothing anywhere else.
//
// Goroutines: Run's own, and one receiver for each open link; all have ended
// when Run returns.
package neighbor
