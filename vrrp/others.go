package vrrp

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

const (
	maxOthers   = 16               // of one virtual router: what a link full of nonsense may cost
	leastMemory = 10 * time.Second // how long somebody is remembered who was heard once
)

// others are the other routers and hosts that a virtual router has met.
type others struct {
	met      []other
	defended time.Time
}

type other struct {
	addr     netip.Addr
	mac      [6]byte
	vrid     uint8 // 0: it speaks no VRRP
	priority uint8
	trouble  vip.RouterTrouble
	last     time.Time
	until    time.Time // when it is forgotten
}

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
	case DropChecksum:
		return vip.TroubleChecksum
	case DropOwner:
		return vip.TroubleOwner
	case DropOwn:
		return vip.TroubleSameAddress
	case DropSender:
		return vip.TroubleNotOfTheList
	case DropCARP:
		return vip.TroubleCARP
	case DropShort, DropType, DropNoAddress, DropInterval, DropVRID:
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

// unmet is what was wrong with somebody who was not there before: nothing that could
// be wrong now.
const unmet = ^vip.RouterTrouble(0)

// meet notes who sent a, and says what was wrong with it before, and its priority.
func (o *others) meet(a *Arrival, ad *Advertisement, t vip.RouterTrouble, now time.Time) (before vip.RouterTrouble, priority uint8) {
	i := slices.IndexFunc(o.met, func(x other) bool { return x.addr == a.Src && x.mac == a.MAC && x.vrid == ad.VRID })
	if i < 0 {
		if len(o.met) == maxOthers {
			return t, ad.Priority
		}
		o.met = append(o.met, other{addr: a.Src, mac: a.MAC, vrid: ad.VRID, trouble: unmet})
		i = len(o.met) - 1
	}
	x := &o.met[i]
	before, priority = x.trouble, x.priority
	x.priority, x.trouble, x.last = ad.Priority, t, now
	x.until = now.Add(max(leastMemory, 4*ad.Interval))
	return before, priority
}

// forget drops those who have been silent for long, and says whether there were any.
func (o *others) forget(now time.Time) bool {
	n := len(o.met)
	o.met = slices.DeleteFunc(o.met, func(x other) bool { return !x.until.After(now) })
	return len(o.met) < n
}

// expiry is when the next is forgotten; zero: there is none.
func (o *others) expiry() (at time.Time) {
	for i := range o.met {
		if t := o.met[i].until; at.IsZero() || t.Before(at) {
			at = t
		}
	}
	return at
}

// speaks says whether a MAC is that of a router.
func (o *others) speaks(mac [6]byte) bool {
	return slices.ContainsFunc(o.met, func(x other) bool { return x.mac == mac && x.vrid != 0 })
}

// mayDefend says whether the last defence is long enough ago, and counts this one.
func (o *others) mayDefend(now time.Time) bool {
	if !o.defended.IsZero() && now.Sub(o.defended) < defence {
		return false
	}
	o.defended = now
	return true
}

func (o *others) list() []vip.OtherRouter {
	var list []vip.OtherRouter
	for i := range o.met {
		x := &o.met[i]
		list = append(list, vip.OtherRouter{Addr: x.addr, MAC: mac(x.mac), VRID: x.vrid, Priority: x.priority, Last: x.last.Truncate(time.Second), Trouble: x.trouble})
	}
	return list
}

func mac(m [6]byte) string {
	var parts []string
	for _, b := range m {
		parts = append(parts, hex.EncodeToString([]byte{b}))
	}
	return strings.Join(parts, ":")
}
