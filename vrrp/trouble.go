package vrrp

import (
	"net/netip"
	"slices"

	"github.com/anyvip/anyvip/pkg/vip"
)

// atOdds is what is wrong with an advertisement, dropped or not.
func atOdds(r *router, at *Arrival, a *Advertisement, drop Drop) (t vip.RouterTrouble) {
	switch drop {
	case Accepted:
	case DropOtherVersion, DropVersion:
		return vip.TroubleVersion
	case DropPassword, DropAuthType:
		return vip.TroublePassword
	case DropHopLimit:
		return vip.TroubleHopLimit
	case DropOwner:
		return vip.TroubleOwner
	case DropOwn:
		return vip.TroubleSameAddress
	case DropSender:
		return vip.TroubleNotOfTheList
	case DropCARP:
		return vip.TroubleCARP
	case DropShort, DropType, DropChecksum, DropNoAddress, DropInterval, DropVRID:
		return 0 // nobody's configuration, but noise
	}
	if a.Priority == PriorityLeaves {
		return 0
	}
	if a.Interval != r.wish.Router.Interval {
		t |= vip.TroubleInterval
	}
	if !sameSet(a.Addresses, r.wish.Router.Addresses) {
		t |= vip.TroubleAddresses
	}
	if a.Version == 3 && a.Checksum != r.wish.Router.covers(r.wish.Source) {
		t |= vip.TroubleChecksum
	}
	// One that we have just taken over from says so once more, at once.
	if since, _, _ := r.Why(); r.State() == vip.RouterActive && at.At.Sub(since) > a.Interval+handover {
		t |= vip.TroubleRival
	}
	return t
}

// sameSet says whether two lists have the same addresses, in whatever order.
func sameSet(a, b []netip.Addr) bool {
	if slices.Equal(a, b) {
		return true
	}
	if len(a) != len(b) {
		return false
	}
	a, b = slices.Clone(a), slices.Clone(b)
	slices.SortFunc(a, netip.Addr.Compare)
	slices.SortFunc(b, netip.Addr.Compare)
	return slices.Equal(a, b)
}
