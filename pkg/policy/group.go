package policy

import (
	"net/netip"
	"slices"

	"github.com/anyvip/anyvip/pkg/vip"
)

// Services of mode vrrp that are together are Active on the same server. Either one of
// them leads: it has the virtual router, and the addresses of the others ride on that,
// on whatever link they are; or each has a virtual router of its own, and all of these
// are Active or none is.

// Rides says whether the service has no virtual router of its own.
func (s *Service) Rides() bool { return s.Mode == ModeVRRP && s.VRRP.VRID == 0 }

// party are the services that are Active together with s, itself first.
func (d *decider) party(s *Service) []*Service {
	party := []*Service{s}
	if s.Together == "" || s.Mode != ModeVRRP || s.Fallback != nil {
		return party
	}
	for _, o := range d.companions(s) {
		if o.Mode == ModeVRRP {
			party = append(party, o)
		}
	}
	return party
}

// leader is the service whose virtual routers decide about s.
func (d *decider) leader(s *Service) *Service {
	if s.Rides() {
		for _, o := range d.party(s) {
			if !o.Rides() {
				return o
			}
		}
	}
	return s
}

// routerOf is the name of the virtual router that the service's addresses of a family
// are under: one of their own family where the leader has one.
func (d *decider) routerOf(s *Service, f vip.Family) string {
	l := d.leader(s)
	if listed, _ := l.listed(f); len(listed) == 0 {
		for _, other := range []vip.Family{vip.IPv4, vip.IPv6} {
			if listed, _ := l.listed(other); len(listed) > 0 {
				return l.routerName(other)
			}
		}
	}
	return l.routerName(f)
}

// synced names the group of virtual routers that are Active together; empty: there is
// none.
func (d *decider) synced(s *Service) string {
	own := 0
	for _, o := range d.party(s) {
		if !o.Rides() {
			own++
		}
	}
	if own > 1 {
		return s.Together
	}
	return ""
}

// ridden are the addresses that ride on one virtual router of a service, its own ones
// first.
func (d *decider) ridden(s *Service, w *RouterWant, rides []netip.Addr) (list []Ride) {
	for _, a := range rides {
		list = append(list, Ride{Addr: a, Link: w.Link})
	}
	for _, o := range d.party(s)[1:] {
		l, there := d.link(o.VRRP.Interface)
		if !o.Rides() || !there {
			continue
		}
		for _, h := range o.Addresses {
			if a := h.Addr(); d.routerOf(o, vip.FamilyOf(a)) == w.Name {
				list = append(list, Ride{Addr: a, Link: vip.Link{Name: l.Name, Index: l.Index}})
			}
		}
	}
	return list
}

// placed says why a family of a service cannot take part: because of its own link and
// addresses, or because of those of a service that it is together with.
func (d *decider) placed(s *Service, w *RouterWant, f vip.Family) (Reason, bool) {
	if why, ok := d.place(s, w, f); !ok {
		return why, false
	}
	party := d.party(s)
	if len(party) == 1 {
		return Reason{}, true
	}
	for _, o := range party {
		for _, of := range []vip.Family{vip.IPv4, vip.IPv6} {
			if !slices.ContainsFunc(o.Addresses, func(h HostPrefix) bool { return vip.FamilyOf(h.Addr()) == of }) {
				continue
			}
			if why, ok := d.place(o, new(RouterWant), of); !ok {
				if o.Name != s.Name {
					why.Detail = "together with service " + o.Name + ": " + why.Detail
				}
				return why, false
			}
		}
	}
	return Reason{}, true
}

// refusing says whether this host cannot have an address of a service, or of one that it
// is together with.
func (d *decider) refusing(s *Service) bool {
	return slices.ContainsFunc(d.party(s), func(o *Service) bool {
		return slices.ContainsFunc(o.Addresses, func(h HostPrefix) bool {
			why, missing := d.missing(h.Addr(), d.in.Routers[d.routerOf(o, vip.FamilyOf(h.Addr()))])
			return missing && why.Code == CodeAddressRefused
		})
	})
}
