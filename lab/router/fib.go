package router

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// routeMetric is the priority of our kernel routes, the one zebra uses for BGP. It is part of a route's key: with one
// fixed metric a replace replaces; with a varying one it would add a second route.
const routeMetric = 20

// hop is one next hop of a route and the link that reaches it.
type hop struct {
	addr netip.Addr
	link int
}

// route is the next hops of a kernel route, ordered by address; empty means no route.
type route []hop

func (r route) String() string {
	hops := make([]string, len(r))
	for i, h := range r {
		hops[i] = h.addr.String()
	}
	return strings.Join(hops, " ")
}

// fib writes multipath routes of `proto bgp` into the main table and remembers what it wrote.
type fib struct {
	kernel    *netlink.Handle
	installed map[netip.Prefix]route
}

func newFIB(kernel *netlink.Handle) *fib {
	return &fib{kernel: kernel, installed: map[netip.Prefix]route{}}
}

// set makes want the kernel's route to prefix, at once: an existing route is replaced, never removed and added. It
// says whether anything had to change.
func (f *fib) set(prefix netip.Prefix, want route) (changed bool, err error) {
	if slices.Equal(f.installed[prefix], want) {
		return false, nil
	}
	if len(want) == 0 {
		if err := f.remove(prefix); err != nil {
			return false, err
		}
		delete(f.installed, prefix)
		return true, nil
	}
	if err := f.replace(prefix, want); err != nil {
		return false, err
	}
	f.installed[prefix] = want
	return true, nil
}

func (f *fib) replace(prefix netip.Prefix, want route) error {
	err := f.kernel.RouteReplace(kernelRoute(prefix, want))
	if err != nil && prefix.Addr().Is6() {
		// An IPv6 multipath replace that fails half-way leaves some of the old or new next hops behind. Start afresh.
		_ = f.remove(prefix)
		delete(f.installed, prefix)
		err = f.kernel.RouteReplace(kernelRoute(prefix, want))
	}
	if err != nil {
		return fmt.Errorf("replace route %s via %v: %w", prefix, want, err)
	}
	return nil
}

func (f *fib) remove(prefix netip.Prefix) error {
	err := f.kernel.RouteDel(kernelRoute(prefix, nil))
	if err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("remove route %s: %w", prefix, err)
	}
	return nil
}

// resync reads our routes back, so that set repairs what the kernel dropped by itself (it does so when links go), and
// removes those that nobody wants, like the leftovers of a router that was killed.
func (f *fib) resync() error {
	found := map[netip.Prefix]route{}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		filter := &netlink.Route{Table: unix.RT_TABLE_MAIN, Protocol: unix.RTPROT_BGP}
		routes, err := f.kernel.RouteListFiltered(family, filter, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_PROTOCOL)
		if err != nil {
			return fmt.Errorf("list routes: %w", err)
		}
		for _, r := range routes {
			if prefix, ok := prefixOf(r.Dst); ok && r.Priority == routeMetric {
				found[prefix] = hopsOf(r)
			}
		}
	}
	for prefix := range found {
		if len(f.installed[prefix]) > 0 {
			continue
		}
		if err := f.remove(prefix); err != nil {
			return err
		}
		delete(found, prefix)
	}
	f.installed = found
	return nil
}

// clear removes every route of ours.
func (f *fib) clear() error {
	var problems []error
	for prefix := range f.installed {
		_, err := f.set(prefix, nil)
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

func kernelRoute(prefix netip.Prefix, hops route) *netlink.Route {
	r := &netlink.Route{
		Dst:      &net.IPNet{IP: prefix.Addr().AsSlice(), Mask: net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen())},
		Table:    unix.RT_TABLE_MAIN,
		Protocol: unix.RTPROT_BGP,
		Priority: routeMetric,
	}
	for _, h := range hops {
		next := &netlink.NexthopInfo{LinkIndex: h.link}
		if prefix.Addr().Is4() && h.addr.Is6() { // RFC 8950
			next.Via = &netlink.Via{AddrFamily: unix.AF_INET6, Addr: h.addr.AsSlice()}
		} else {
			next.Gw = h.addr.AsSlice()
		}
		r.MultiPath = append(r.MultiPath, next)
	}
	if len(r.MultiPath) == 1 {
		only := r.MultiPath[0]
		r.LinkIndex, r.Gw, r.Via, r.MultiPath = only.LinkIndex, only.Gw, only.Via, nil
	}
	return r
}

func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	addr, ok := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(addr.Unmap(), ones), ok
}

// hopsOf is the inverse of kernelRoute. A next hop that the kernel has declared dead, and would revive with its link, is
// hop{}, which nobody wants: so set writes the route anew.
func hopsOf(r netlink.Route) route {
	all := r.MultiPath
	if len(all) == 0 {
		all = []*netlink.NexthopInfo{{LinkIndex: r.LinkIndex, Gw: r.Gw, Via: r.Via, Flags: r.Flags}}
	}
	var hops route
	for _, next := range all {
		gateway := next.Gw
		if via, is := next.Via.(*netlink.Via); is {
			gateway = via.Addr
		}
		if addr, ok := netip.AddrFromSlice(gateway); next.Flags&unix.RTNH_F_DEAD != 0 {
			hops = append(hops, hop{})
		} else if ok {
			hops = append(hops, hop{addr.Unmap(), next.LinkIndex})
		}
	}
	slices.SortFunc(hops, func(a, b hop) int { return a.addr.Compare(b.addr) })
	return hops
}
