package gobgp

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	packet "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/anyvip/anyvip/pkg/vip"
)

// A peer's default routes are read from GoBGP's Adj-RIB-In, before policy: best
// path selection does not hide any there, and the import policy still lets
// nothing in, so that nothing can go on to another peer. What makes us read is
// the log of an UPDATE with a default route in it: GoBGP's event of an UPDATE
// costs as much again as the UPDATE itself. GoBGP works on an UPDATE under a
// lock that a reader waits for, so that a reader sees what was logged before.

// errLook is a look that failed, for lack of descriptors for one.
var errLook = errors.New("cannot look")

// lookAgain is when to try once more after that.
const lookAgain = time.Second

var defaultRoutes = []struct {
	family vip.Family
	table  packet.Family
	prefix string
}{
	{vip.IPv4, packet.RF_IPv4_UC, "0.0.0.0/0"},
	{vip.IPv6, packet.RF_IPv6_UC, "::/0"},
}

// saysDefault says whether an UPDATE, as it is logged, is about a default route.
func saysDefault(r slog.Record) (yes bool) {
	isDefault := func(n packet.PathNLRI) bool {
		p, ok := n.NLRI.(*packet.IPAddrPrefix)
		return ok && p.Prefix.Bits() == 0
	}
	r.Attrs(func(a slog.Attr) bool {
		switch v := a.Value.Any().(type) {
		case []packet.PathNLRI: // NLRI and withdrawn routes
			yes = slices.ContainsFunc(v, isDefault)
		case []packet.PathAttributeInterface:
			yes = slices.ContainsFunc(v, func(attr packet.PathAttributeInterface) bool {
				switch mp := attr.(type) {
				case *packet.PathAttributeMpReachNLRI:
					return slices.ContainsFunc(mp.Value, isDefault)
				case *packet.PathAttributeMpUnreachNLRI:
					return slices.ContainsFunc(mp.Value, isDefault)
				}
				return false
			})
		}
		return !yes
	})
	return yes
}

// updateDefaults reads the peer's default routes, and tells them if they changed.
func (s *Speaker) updateDefaults(p *peer) {
	p.defaultsDue, p.defaultsRead = time.Time{}, time.Now()
	if p.session.State != vip.Established {
		return
	}
	was, warning := p.session.Defaults, p.session.Warning
	p.session.Defaults = s.readDefaults(p)
	p.session.Warning = p.warning()
	if !slices.Equal(was, p.session.Defaults) || warning != p.session.Warning {
		s.tell(p)
	}
}

// readDefaults are the default routes that an Established peer gives us now;
// none unless they are asked for. Why one cannot be used is the peer's trouble.
func (s *Speaker) readDefaults(p *peer) (defaults []vip.Default) {
	if !s.importDefault {
		return nil
	}
	trouble := ""
	for _, d := range defaultRoutes {
		path, err := s.received(p, d.table, d.prefix)
		if path != nil {
			var hop netip.Addr
			if hop, err = nextHop(path.Attrs, p.session, d.family, s.shared.asn); err == nil {
				defaults = append(defaults, vip.Default{Family: d.family, NextHop: hop})
			}
		}
		if err != nil {
			trouble += fmt.Sprintf("%s: %v; ", d.prefix, err)
		}
		if errors.Is(err, errLook) { // says nothing of the route: the one that was there stays
			defaults = append(defaults, ofFamily(p.session.Defaults, d.family)...)
			p.defaultsDue = time.Now().Add(lookAgain)
		}
	}
	p.trouble = strings.TrimSuffix(trouble, "; ")
	return defaults
}

func ofFamily(list []vip.Default, f vip.Family) []vip.Default {
	return slices.DeleteFunc(slices.Clone(list), func(d vip.Default) bool { return d.Family != f })
}

// received is the peer's path to a prefix in the Adj-RIB-In; nil: there is none.
func (s *Speaker) received(p *peer, table packet.Family, prefix string) (path *apiutil.Path, err error) {
	err = s.server.ListPath(apiutil.ListPathRequest{TableType: api.TableType_TABLE_TYPE_ADJ_IN, Name: p.want.Address.String(),
		Family: table, Prefixes: []*apiutil.LookupPrefix{{Prefix: prefix}}},
		func(_ packet.NLRI, paths []*apiutil.Path) {
			if len(paths) > 0 {
				path = paths[0]
			}
		})
	if err != nil {
		err = fmt.Errorf("%w: %w", errLook, err)
	}
	return path, err
}

// nextHop is the next hop of a path from a session's peer, as a route of this
// host needs it: a link-local one with its link.
func nextHop(attrs []packet.PathAttributeInterface, s vip.Session, f vip.Family, asn uint32) (netip.Addr, error) {
	var hop netip.Addr
	for _, attr := range attrs {
		switch v := attr.(type) {
		case *packet.PathAttributeNextHop:
			hop = v.Value
		case *packet.PathAttributeMpReachNLRI:
			hop = v.Nexthop
		case *packet.PathAttributeAsPath: // RFC 4271, section 9.1.2: GoBGP keeps such a path in the Adj-RIB-In
			if slices.ContainsFunc(v.Value, func(p packet.AsPathParamInterface) bool { return slices.Contains(p.GetAS(), asn) }) {
				return netip.Addr{}, fmt.Errorf("our AS %d is in its AS_PATH", asn)
			}
		}
	}
	hop = hop.Unmap()
	linkLocal := hop.Is6() && hop.IsLinkLocalUnicast()
	zone := s.Remote.Zone()
	switch {
	case hop == s.Local.WithZone(""):
		return netip.Addr{}, fmt.Errorf("its next hop %s is this host", hop)
	case zone != "" && !linkLocal:
		// GoBGP drops the link-local half of a next hop (RFC 2545, section 3), and the
		// other half is of no use on an unnumbered link: there it is the peer itself.
		return s.Remote, nil
	case linkLocal && zone == "":
		var err error
		if zone, err = linkOf(s.Local); err != nil {
			return netip.Addr{}, fmt.Errorf("%w: which link has %s: %w", errLook, s.Local, err)
		}
		if zone == "" {
			return netip.Addr{}, fmt.Errorf("its next hop %s is link-local, and no link of this host has %s", hop, s.Local)
		}
	case !hop.IsGlobalUnicast() && !hop.IsLinkLocalUnicast() || f == vip.IPv6 && hop.Is4():
		return netip.Addr{}, fmt.Errorf("its next hop %s is none for %s", hop, f)
	}
	return hop.WithZone(zone), nil
}

// linkOf is the link, other than lo, that has an address of this host.
func linkOf(a netip.Addr) (name string, err error) {
	links, err := net.Interfaces()
	if err != nil {
		return "", err
	}
	for _, l := range links {
		if l.Flags&net.FlagLoopback != 0 {
			continue
		}
		addresses, err := l.Addrs()
		if err != nil {
			return "", err
		}
		for _, has := range addresses {
			if p, err := netip.ParsePrefix(has.String()); err == nil && p.Addr() == a {
				return l.Name, nil
			}
		}
	}
	return "", nil
}
