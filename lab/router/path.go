package router

import (
	"net/netip"
	"time"

	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// Path is one peer's route to a prefix: what the choice of the best paths needs of an UPDATE.
type Path struct {
	Prefix     netip.Prefix
	Peer       netip.Addr // the session's far end
	NextHop    netip.Addr
	LocalPref  uint32 // as received over iBGP; 100 otherwise; 0 with GRACEFUL_SHUTDOWN
	ASPathLen  int
	NeighborAS uint32 // the first AS of the path, within which MED is compared
	Origin     uint8
	MED        uint32
	External   bool // learned over eBGP
	Received   time.Time
}

const defaultLocalPref = 100

// gracefulShutdown is 65535:0 (RFC 8326, section 5).
const gracefulShutdown = uint32(bgp.COMMUNITY_PLANNED_SHUT)

// newPath reads what GoBGP reports. It is false for anything that is not a unicast host route.
func newPath(p *apiutil.Path, received time.Time) (Path, bool) {
	nlri, is := p.Nlri.(*bgp.IPAddrPrefix)
	if !is || !nlri.Prefix.IsSingleIP() {
		return Path{}, false
	}
	path := Path{
		Prefix:     nlri.Prefix,
		Peer:       p.PeerAddress,
		LocalPref:  defaultLocalPref,
		NeighborAS: p.PeerASN,
		External:   p.IsFromExternal,
		Received:   received,
	}
	leaving := false
	for _, a := range p.Attrs {
		switch a := a.(type) {
		case *bgp.PathAttributeOrigin:
			path.Origin = a.Value
		case *bgp.PathAttributeAsPath:
			path.readASPath(a)
		case *bgp.PathAttributeMultiExitDisc:
			path.MED = a.Value
		case *bgp.PathAttributeLocalPref:
			path.LocalPref = a.Value
		case *bgp.PathAttributeCommunities:
			for _, c := range a.Value {
				leaving = leaving || c == gracefulShutdown
			}
		case *bgp.PathAttributeNextHop:
			path.NextHop = a.Value.Unmap()
		case *bgp.PathAttributeMpReachNLRI:
			path.NextHop = a.Nexthop.Unmap()
			if a.Nexthop.IsUnspecified() && a.LinkLocalNexthop.IsValid() {
				path.NextHop = a.LinkLocalNexthop
			}
		}
	}
	if leaving {
		path.LocalPref = 0
	}
	if path.NextHop.IsLinkLocalUnicast() && path.NextHop.Is6() {
		path.NextHop = path.NextHop.WithZone(p.PeerAddress.Zone())
	}
	return path, true
}

func (p *Path) readASPath(a *bgp.PathAttributeAsPath) {
	for i, segment := range a.Value {
		p.ASPathLen += segment.ASLen()
		if list := segment.GetAS(); i == 0 && len(list) > 0 {
			p.NeighborAS = list[0]
		}
	}
}
