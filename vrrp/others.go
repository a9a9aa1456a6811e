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
	claims   []claim // not judged yet
	defended time.Time
}

type other struct {
	addr     netip.Addr
	mac      [6]byte
	vrid     uint8 // 0: it speaks no VRRP
	priority uint8
	since    time.Time                     // when it was met, or its trouble changed
	until    time.Time                     // when it is forgotten
	seen     [vip.RouterTroubles]time.Time // of each trouble: until when it counts
	trouble  vip.RouterTrouble             // those that count
}

// meet notes who sent a, and says whether anything about it is news. What was wrong
// counts until it has not been for a while: a rival yields after its first
// advertisement, and one that speaks two versions would be news with each packet.
func (o *others) meet(a *Arrival, ad *Advertisement, t vip.RouterTrouble, now time.Time) (worse vip.RouterTrouble, changed bool) {
	i := slices.IndexFunc(o.met, func(x other) bool { return x.addr == a.Src && x.mac == a.MAC && x.vrid == ad.VRID })
	if i < 0 {
		if ad.VRID != 0 { // what it claimed before it was heard was no foreign claim
			o.met = slices.DeleteFunc(o.met, func(x other) bool { return x.mac == a.MAC && x.vrid == 0 })
		}
		if len(o.met) == maxOthers {
			return 0, false
		}
		o.met = append(o.met, other{addr: a.Src, mac: a.MAC, vrid: ad.VRID, priority: ad.Priority, since: now})
		i, changed = len(o.met)-1, true
	}
	x := &o.met[i]
	changed = changed || x.priority != ad.Priority
	x.priority = ad.Priority
	x.until = now.Add(max(leastMemory, 4*ad.Interval))
	for k := range x.seen {
		if t&(1<<k) != 0 {
			x.seen[k] = x.until
		}
	}
	worse = t &^ x.trouble
	if worse != 0 {
		x.trouble, x.since, changed = x.trouble|worse, now, true
	}
	return worse, changed
}

// forget drops those who have been silent for long, and what has not been wrong for as
// long, and says whether there was any.
func (o *others) forget(now time.Time) (changed bool) {
	n := len(o.met)
	o.met = slices.DeleteFunc(o.met, func(x other) bool { return !x.until.After(now) })
	for i := range o.met {
		x := &o.met[i]
		for k, t := range x.seen {
			if bit := vip.RouterTrouble(1 << k); x.trouble&bit != 0 && !t.After(now) {
				x.trouble, x.since, changed = x.trouble&^bit, now, true
			}
		}
	}
	return changed || len(o.met) < n
}

// expiry is when the next is forgotten, or judged; zero: there is none.
func (o *others) expiry() (at time.Time) {
	for _, c := range o.claims {
		at = earlier(at, c.until)
	}
	for i := range o.met {
		x := &o.met[i]
		at = earlier(at, x.until)
		for k, t := range x.seen {
			if x.trouble&(1<<k) != 0 {
				at = earlier(at, t)
			}
		}
	}
	return at
}

// speaks says whether a MAC is that of a router of this VRID: one that was heard, or
// the virtual one, RFC 9568, section 7.3. FRR announces before it advertises.
func (o *others) speaks(mac [6]byte, vrid uint8) bool {
	return virtual(mac, vrid) || o.router(mac) != nil
}

// virtual says whether a MAC is the virtual one of a VRID.
func virtual(mac [6]byte, vrid uint8) bool {
	return [4]byte(mac[:4]) == [4]byte{0, 0, 0x5e, 0} && (mac[4] == 1 || mac[4] == 2) && mac[5] == vrid
}

// router is the router with a MAC that was met; nil: none was.
func (o *others) router(mac [6]byte) *other {
	i := slices.IndexFunc(o.met, func(x other) bool { return x.mac == mac && x.vrid != 0 })
	if i < 0 {
		return nil
	}
	return &o.met[i]
}

// heard says whether any other router was.
func (o *others) heard() bool {
	return slices.ContainsFunc(o.met, func(x other) bool { return x.vrid != 0 })
}

// foreign says whether a MAC was met before as one that claims what it has no right to.
func (o *others) foreign(mac [6]byte) bool {
	return slices.ContainsFunc(o.met, func(x other) bool { return x.mac == mac && x.vrid == 0 })
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
		list = append(list, vip.OtherRouter{Addr: x.addr, MAC: mac(x.mac), VRID: x.vrid, Priority: x.priority, Since: x.since, Trouble: x.trouble})
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
