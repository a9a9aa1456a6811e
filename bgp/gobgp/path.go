package gobgp

import (
	"fmt"
	"maps"
	"math"
	"net/netip"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	packet "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/anyvip/anyvip/pkg/vip"
)

// markerAS is the AS number (reserved, RFC 7607) of the route target that
// carries an announcement's marker to the export policy, which takes it off. A
// prepended path in the table itself would go to iBGP peers too, as a loop.
const markerAS = 0

// marker is what the export policy must know of an announcement: its Prepend, and
// the Weight beside it.
type marker uint32

func markerOf(a vip.Announcement) marker { return marker(a.Weight)<<8 | marker(a.Prepend) }

func (m marker) prepend() uint8 { return uint8(m) }
func (m marker) weight() uint16 { return uint16(m >> 8) }

// setPaths withdraws, then announces, each in one call.
func (s *Speaker) setPaths(add []vip.Announcement, remove []netip.Prefix) error {
	if err := s.needMarkers(add); err != nil {
		return err
	}
	if len(remove) > 0 {
		defer func() { s.withdrew = time.Now() }()
		paths, err := withdrawals(remove)
		if err != nil {
			return err
		}
		if err := s.server.DeletePath(apiutil.DeletePathRequest{Paths: paths}); err != nil {
			return fmt.Errorf("withdraw %d prefixes: %w", len(remove), err)
		}
		for _, p := range remove {
			delete(s.announced, p)
		}
	}
	if len(add) > 0 {
		defer func() { s.announcedAt = time.Now() }()
		paths, err := newPaths(add, s.shared.asn)
		if err != nil {
			return err
		}
		if _, err := s.server.AddPath(apiutil.AddPathRequest{Paths: paths}); err != nil {
			return fmt.Errorf("announce %d prefixes: %w", len(add), err)
		}
		for _, a := range add {
			s.announced[a.Prefix] = a
		}
	}
	return nil
}

// newPaths are paths for GoBGP's table. A run of announcements that differ in
// nothing but the prefix shares its attributes, as the routes of an UPDATE that
// GoBGP receives do: what it changes on the way out, it copies.
func newPaths(list []vip.Announcement, asn uint32) ([]*apiutil.Path, error) {
	paths := make([]*apiutil.Path, len(list))
	var attrs []packet.PathAttributeInterface
	for i, a := range list {
		nlri, err := packet.NewIPAddrPrefix(a.Prefix)
		if err != nil {
			return nil, fmt.Errorf("announce %s: %w", a.Prefix, err)
		}
		if i == 0 || !sameAttributes(list[i-1], a) {
			if attrs, err = attributes(a, nlri, asn); err != nil {
				return nil, fmt.Errorf("announce %s: %w", a.Prefix, err)
			}
		}
		paths[i] = &apiutil.Path{Family: family(a.Prefix), Nlri: nlri, Attrs: attrs}
	}
	return paths, nil
}

// withdrawals are paths that take others out of GoBGP's table.
func withdrawals(prefixes []netip.Prefix) ([]*apiutil.Path, error) {
	list := make([]vip.Announcement, len(prefixes))
	for i, p := range prefixes {
		list[i].Prefix = p
	}
	paths, err := newPaths(list, 0)
	for _, p := range paths {
		p.Withdrawal = true
	}
	return paths, err
}

// sameAttributes says whether two announcements are alike but for the prefix,
// and their prefixes of one family.
func sameAttributes(a, b vip.Announcement) bool {
	if family(a.Prefix) != family(b.Prefix) {
		return false
	}
	a.Prefix = b.Prefix
	return a.Equal(b)
}

// attributes are the path attributes of an announcement. The unspecified next
// hop becomes each session's own address; with IPv6 it stands beside a prefix,
// for which GoBGP puts in each path's own.
func attributes(a vip.Announcement, nlri packet.NLRI, asn uint32) ([]packet.PathAttributeInterface, error) {
	attrs := []packet.PathAttributeInterface{
		packet.NewPathAttributeOrigin(packet.BGP_ORIGIN_ATTR_TYPE_IGP),
		packet.NewPathAttributeMultiExitDisc(a.MED),
		packet.NewPathAttributeLocalPref(a.LocalPref),
	}
	var nextHop packet.PathAttributeInterface
	var err error
	if a.Prefix.Addr().Is4() {
		nextHop, err = packet.NewPathAttributeNextHop(netip.IPv4Unspecified())
	} else {
		nextHop, err = packet.NewPathAttributeMpReachNLRI(packet.RF_IPv6_UC, []packet.PathNLRI{{NLRI: nlri}}, netip.IPv6Unspecified())
	}
	if err != nil {
		return nil, err
	}
	attrs = append(attrs, nextHop)
	if len(a.Communities) > 0 {
		values := make([]uint32, len(a.Communities))
		for i, c := range a.Communities {
			values[i] = uint32(c)
		}
		attrs = append(attrs, packet.NewPathAttributeCommunities(values))
	}
	if len(a.LargeCommunities) > 0 {
		values := make([]*packet.LargeCommunity, len(a.LargeCommunities))
		for i, c := range a.LargeCommunities {
			values[i] = packet.NewLargeCommunity(c.Global, c.Local1, c.Local2)
		}
		attrs = append(attrs, packet.NewPathAttributeLargeCommunities(values))
	}
	var extended []packet.ExtendedCommunityInterface
	if a.Prepend > 0 {
		extended = append(extended, packet.NewTwoOctetAsSpecificExtended(packet.EC_SUBTYPE_ROUTE_TARGET, markerAS, uint32(markerOf(a)), true))
	}
	if a.Weight > 0 {
		extended = append(extended, packet.NewLinkBandwidthExtended(twoOctets(asn), float32(a.Weight)*weightUnit))
	}
	if len(extended) > 0 {
		attrs = append(attrs, packet.NewPathAttributeExtendedCommunities(extended))
	}
	return attrs, nil
}

// weightUnit is what a weight of 1 means as a bandwidth, in bytes a second. A weight of
// 1000 fits into the 32 bits that GoBGP reads one from. Receivers compare bandwidths
// with each other alone.
const weightUnit = 1_000_000

// twoOctets is an AS number where there is room for two octets: AS_TRANS (RFC 6793)
// for a larger one.
func twoOctets(asn uint32) uint16 {
	if asn > math.MaxUint16 {
		return packet.AS_TRANS
	}
	return uint16(asn)
}

func family(p netip.Prefix) packet.Family {
	if p.Addr().Is4() {
		return packet.RF_IPv4_UC
	}
	return packet.RF_IPv6_UC
}

// readSent reads a peer's Adj-RIB-Out, after policy. GoBGP computes it from the
// table, for both families at once whatever is asked, so a family that has
// nothing is not asked for.
func (s *Speaker) readSent(p *peer) (map[netip.Prefix]vip.Announcement, error) {
	families := map[packet.Family]bool{}
	for prefix := range maps.Keys(s.announced) {
		families[family(prefix)] = true
	}
	sent := make(map[netip.Prefix]vip.Announcement, len(s.announced))
	ebgp := p.as() != s.shared.asn
	for f := range families {
		err := s.server.ListPath(apiutil.ListPathRequest{TableType: api.TableType_TABLE_TYPE_ADJ_OUT, Name: p.want.Address.String(), Family: f},
			func(nlri packet.NLRI, paths []*apiutil.Path) {
				prefix, err := netip.ParsePrefix(nlri.String())
				if err != nil || len(paths) == 0 {
					return
				}
				a := s.announcement(prefix, paths[0].Attrs)
				set := s.announced[prefix]
				if ebgp {
					a.LocalPref = set.LocalPref
				} else {
					a.Prepend = set.Prepend
				}
				sent[prefix] = a
			})
		if err != nil {
			return nil, fmt.Errorf("read what was sent to %s: %w", p.want.Name, err)
		}
	}
	return sent, nil
}

// announcement reads the attributes of a path as it goes to a peer.
func (s *Speaker) announcement(prefix netip.Prefix, attrs []packet.PathAttributeInterface) vip.Announcement {
	a := vip.Announcement{Prefix: prefix}
	for _, attr := range attrs {
		switch v := attr.(type) {
		case *packet.PathAttributeMultiExitDisc:
			a.MED = v.Value
		case *packet.PathAttributeLocalPref:
			a.LocalPref = v.Value
		case *packet.PathAttributeAsPath:
			for _, segment := range v.Value {
				for _, as := range segment.GetAS() {
					if as == s.shared.asn {
						a.Prepend++
					}
				}
			}
			a.Prepend = max(a.Prepend, 1) - 1 // one of them is the path itself
		case *packet.PathAttributeCommunities:
			for _, c := range v.Value {
				a.Communities = append(a.Communities, vip.Community(c))
			}
		case *packet.PathAttributeExtendedCommunities:
			for _, c := range v.Value {
				if b, ok := c.(*packet.LinkBandwidthExtended); ok {
					a.Weight = uint16(math.Round(float64(b.Bandwidth) / weightUnit))
				}
			}
		case *packet.PathAttributeLargeCommunities:
			for _, c := range v.Values {
				a.LargeCommunities = append(a.LargeCommunities, vip.LargeCommunity{Global: c.ASN, Local1: c.LocalData1, Local2: c.LocalData2})
			}
		}
	}
	return a
}
