package balance

import (
	"net/netip"
	"slices"

	"github.com/anyvip/anyvip/pkg/vip"
)

// VRID is the one that an address stands for, whatever other VIPs there are: its last
// byte, as operators number them by hand. 0 is no VRID: 255 stands for it.
//
// No two hosts of an IPv4 /24 share one. With a hash into 1 to 255 some 32 of 100 VIPs
// would have one that another has too.
func VRID(a netip.Addr) uint8 {
	bytes := a.AsSlice()
	if last := bytes[len(bytes)-1]; last > 0 {
		return last
	}
	return 255
}

// Clash is two VIPs that have one VRID on one link, in a family that both have addresses
// of. The routers there would take both for one.
type Clash struct {
	A, B VIP
	Free uint8 // a VRID that none has on that link; 0: all are in use
}

// Clashes finds them.
func Clashes(vips []VIP) (found []Clash) {
	for i, b := range vips {
		for _, a := range vips[:i] {
			if a.Link == b.Link && a.VRID == b.VRID && (a.has(vip.IPv4) && b.has(vip.IPv4) || a.has(vip.IPv6) && b.has(vip.IPv6)) {
				found = append(found, Clash{a, b, free(vips, b.Link)})
			}
		}
	}
	return found
}

func (v VIP) has(f vip.Family) bool {
	return slices.ContainsFunc(v.Addresses, func(a netip.Addr) bool { return vip.FamilyOf(a) == f })
}

// free is the lowest VRID that no VIP has on a link.
func free(vips []VIP, link string) uint8 {
	for id := 1; id <= 255; id++ {
		if !slices.ContainsFunc(vips, func(v VIP) bool { return v.Link == link && int(v.VRID) == id }) {
			return uint8(id)
		}
	}
	return 0
}
