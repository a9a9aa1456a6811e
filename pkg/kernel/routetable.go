package kernel

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/anyvip/anyvip/pkg/vip"
)

// errNotOnLink is a next hop that this host reaches through a router, if at all.
var errNotOnLink = errors.New("no link of this host leads to it directly")

// mainTable is the main routing table as the kernel shows it. Run's goroutine
// owns it.
type mainTable struct {
	handle *netlink.Handle
	dumps  *netlink.Handle // apart, since it is strict
	watch  *watch
}

// openMainTable changes routes through a handle that stays its caller's.
func openMainTable(h *netlink.Handle, w *watch) (*mainTable, error) {
	dumps, err := openHandle()
	if err != nil {
		return nil, err
	}
	// Strict means that the kernel leaves out what was not asked for: with 100,000
	// other routes that saves nine tenths of the time. Before Linux 4.20 it cannot.
	_ = dumps.SetStrictCheck(true)
	return &mainTable{handle: h, dumps: dumps, watch: w}, nil
}

func (t *mainTable) close() { t.dumps.Close() }

func (t *mainTable) hear(on bool) error { return t.watch.hearRoutes(on) }

// routes dumps our default routes of a family. It dumps again when routes
// changed under the dump, which may then lack ours.
func (t *mainTable) routes(f vip.Family) (list []route, err error) {
	number := map[vip.Family]int{vip.IPv4: unix.AF_INET, vip.IPv6: unix.AF_INET6}[f]
	filter := netlink.Route{Table: unix.RT_TABLE_MAIN, Protocol: routeProtocol}
	for range dumpTries {
		list = nil
		err = t.dumps.RouteListFilteredIter(number, &filter, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_PROTOCOL, func(r netlink.Route) bool {
			if ones, _ := r.Dst.Mask.Size(); ones == 0 && r.Type == unix.RTN_UNICAST && r.Tos == 0 {
				list = append(list, convertRoute(f, r))
			}
			return true
		})
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("list %s routes: %w", f, err)
	}
	return list, nil
}

// linkTo finds the link that a neighbour is on.
func (t *mainTable) linkTo(a netip.Addr) (int, error) {
	list, err := t.handle.RouteGet(a.AsSlice())
	switch {
	case errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EHOSTUNREACH):
		return 0, errNotOnLink
	case err != nil:
		return 0, fmt.Errorf("find the link to it: %w", err)
	case len(list) == 0 || list[0].Gw != nil || list[0].Via != nil:
		return 0, errNotOnLink
	case list[0].Type != unix.RTN_UNICAST:
		return 0, errors.New("it is an address of this host, or no host's")
	}
	return list[0].LinkIndex, nil
}

// change does one thing to one default route.
func (t *mainTable) change(v routeVerb, r route) error {
	n := rtnetlinkRoute(r)
	switch v {
	case addRoute:
		return t.handle.RouteAdd(n)
	case appendRoute:
		return t.handle.RouteAppend(n)
	case replaceRoute:
		return t.handle.RouteReplace(n)
	case removeRoute:
		n.Scope = unix.RT_SCOPE_NOWHERE // any
		return t.handle.RouteDel(n)
	}
	return nil
}

func convertRoute(f vip.Family, n netlink.Route) route {
	r := route{family: f, metric: n.Priority, altered: n.Src != nil || n.MTU != 0 || n.AdvMSS != 0 || n.Realm != 0 || n.Encap != nil}
	if len(n.MultiPath) == 0 {
		n.MultiPath = []*netlink.NexthopInfo{{LinkIndex: n.LinkIndex, Gw: n.Gw, Via: n.Via}}
	}
	for _, h := range n.MultiPath {
		r.altered = r.altered || h.Hops != 0 || h.Encap != nil // Hops is the weight - 1
		gateway := h.Gw
		if via, ok := h.Via.(*netlink.Via); ok {
			gateway = via.Addr
		}
		ip, _ := netip.AddrFromSlice(gateway)
		r.hops = append(r.hops, hop{ip, h.LinkIndex})
	}
	return r
}

func rtnetlinkRoute(r route) *netlink.Route {
	zero := netip.IPv4Unspecified()
	if r.family == vip.IPv6 {
		zero = netip.IPv6Unspecified()
	}
	n := &netlink.Route{
		Dst:   &net.IPNet{IP: zero.AsSlice(), Mask: net.CIDRMask(0, zero.BitLen())},
		Table: unix.RT_TABLE_MAIN, Protocol: routeProtocol, Priority: r.metric,
	}
	for _, h := range r.hops {
		info := &netlink.NexthopInfo{LinkIndex: h.link}
		switch {
		case h.via.Is6() && r.family == vip.IPv4:
			info.Via = &netlink.Via{AddrFamily: unix.AF_INET6, Addr: h.via.AsSlice()}
		case h.via.IsValid():
			info.Gw = h.via.AsSlice()
		}
		n.MultiPath = append(n.MultiPath, info)
	}
	return n
}
