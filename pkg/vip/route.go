package vip

import (
	"net/netip"
	"slices"
)

// Default is a default route (0.0.0.0/0 or ::/0) as one peer gives it.
type Default struct {
	Family  Family
	NextHop netip.Addr // link-local with its zone; IPv6 for either family (RFC 8950)
}

// DefaultRoute is this host's default route of one family, as one multipath
// route over what all peers give.
type DefaultRoute struct {
	Family   Family
	NextHops []netip.Addr // sorted, each once; empty: there is none
	Detail   string       // why it is not as wanted, and what to do; empty: it is
}

// Equal compares everything.
func (r DefaultRoute) Equal(s DefaultRoute) bool {
	return r.Family == s.Family && slices.Equal(r.NextHops, s.NextHops) && r.Detail == s.Detail
}
