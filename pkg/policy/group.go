package policy

import (
	"net/netip"
	"slices"

	"github.com/anyvip/anyvip/pkg/vip"
)

// Rides says whether the service has no virtual router of its own.
func (s *Service) Rides() bool { return s.Mode == ModeVRRP && s.VRRP.VRID == 0 }

// party is the services of mode vrrp that are together, and so Active on the same
// server. Either one of them leads: it has the virtual router, and the addresses of the
// others ride on that, on whatever link they are; or each has a virtual router of its
// own, and all of these are Active or none is.
type party struct {
	members []*Service
	names   [vip.IPv6 + 1]string // of the leader's virtual routers, by an address's family
	routers int

	looked   bool   // at these, once for all members
	fault    Reason // why nobody of it can take part
	of       string // whose that is; empty: all can
	refusing bool   // this host cannot have an address of it
}

// parties finds who is together.
func (g *graph) parties(services []Service) {
	for name, places := range g.groups {
		p := &party{}
		for _, i := range places {
			s := &services[i]
			if s.Mode != ModeVRRP {
				continue
			}
			p.members = append(p.members, s)
			if s.Rides() {
				continue
			}
			if p.routers == 0 {
				p.names = s.routerNames()
			}
			for _, f := range []vip.Family{vip.IPv4, vip.IPv6} {
				if listed, _ := s.listed(f); len(listed) > 0 {
					p.routers++
				}
			}
		}
		if len(p.members) > 1 {
			g.together[name] = p
		}
	}
}

// partyOf is nil for a service that is Active by itself.
func (d *decider) partyOf(s *Service) *party {
	if s.Together == "" || s.Mode != ModeVRRP || s.Fallback != nil {
		return nil
	}
	return d.graph().together[s.Together]
}

// synced names the group of virtual routers that are Active together with those of a
// service; empty: there is none.
func (d *decider) synced(s *Service) string {
	if p := d.partyOf(s); p != nil && p.routers > 1 {
		return s.Together
	}
	return ""
}

// routerNames are the names of the service's own virtual routers, by an address's
// family: of the other family's where it has none of that one.
func (s *Service) routerNames() (names [vip.IPv6 + 1]string) {
	for _, f := range []vip.Family{vip.IPv4, vip.IPv6} {
		if listed, _ := s.listed(f); len(listed) > 0 {
			names[f] = s.routerName(f)
		}
	}
	if names[vip.IPv4] == "" {
		names[vip.IPv4] = names[vip.IPv6]
	}
	if names[vip.IPv6] == "" {
		names[vip.IPv6] = names[vip.IPv4]
	}
	return names
}

// namesOf are the names of the virtual routers that the service's addresses are under,
// by their family.
func (d *decider) namesOf(s *Service) [vip.IPv6 + 1]string {
	if p := d.partyOf(s); p != nil && s.Rides() {
		return p.names
	}
	return s.routerNames()
}

// routersOf are the virtual routers that the service's addresses are under.
func (d *decider) routersOf(s *Service) []vip.VirtualRouter {
	names := d.namesOf(s)
	return []vip.VirtualRouter{d.in.Routers[names[vip.IPv4]], d.in.Routers[names[vip.IPv6]]}
}

// ridden are the addresses that ride on one virtual router of a service, its own ones
// first.
func (d *decider) ridden(s *Service, w *RouterWant, rides []netip.Addr) (list []Ride) {
	for _, a := range rides {
		list = append(list, Ride{Addr: a, Link: w.Link})
	}
	p := d.partyOf(s)
	if p == nil || p.names != s.routerNames() {
		return list
	}
	for _, o := range p.members {
		l, there := d.link(o.VRRP.Interface)
		if !o.Rides() || !there {
			continue
		}
		for _, h := range o.Addresses {
			if a := h.Addr(); p.names[vip.FamilyOf(a)] == w.Name {
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
	p := d.partyOf(s)
	if p == nil {
		return Reason{}, true
	}
	d.look(p)
	why := p.fault
	if p.of != s.Name {
		why.Detail = "together with service " + p.of + ": " + why.Detail
	}
	return why, p.of == ""
}

// look finds what keeps a party out.
func (d *decider) look(p *party) {
	if p.looked {
		return
	}
	p.looked = true
	for _, s := range p.members {
		p.refusing = p.refusing || d.refusesOf(s)
		for _, f := range []vip.Family{vip.IPv4, vip.IPv6} {
			if !slices.ContainsFunc(s.Addresses, func(h HostPrefix) bool { return vip.FamilyOf(h.Addr()) == f }) {
				continue
			}
			if why, ok := d.place(s, new(RouterWant), f); !ok && p.of == "" {
				p.fault, p.of = why, s.Name
			}
		}
	}
}

// refusing says whether this host cannot have an address of a service, or of one that it
// is together with.
func (d *decider) refusing(s *Service) bool {
	if p := d.partyOf(s); p != nil {
		d.look(p)
		return p.refusing
	}
	return d.refusesOf(s)
}

func anyRefused(leases map[netip.Addr]vip.Address) bool {
	for _, a := range leases {
		if a.State == vip.AddressRefused {
			return true
		}
	}
	return false
}

func (d *decider) refusesOf(s *Service) bool {
	if !d.refuses {
		return false
	}
	routers := d.routersOf(s)
	return slices.ContainsFunc(s.Addresses, func(h HostPrefix) bool {
		why, missing := d.missing(h.Addr(), routers[vip.FamilyOf(h.Addr())-vip.IPv4])
		return missing && why.Code == CodeAddressRefused
	})
}
