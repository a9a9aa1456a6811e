package watch

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/anyvip/anyvip/lab/watch/rtnl"
)

// fib follows the main table's routes within some prefixes.
type fib struct {
	prefixes []netip.Prefix
	listener *rtnl.Listener
	emit     func(Event)

	routes   map[netip.Prefix]map[uint32]kernelRoute // by metric
	reported map[netip.Prefix]Route
	names    map[int]string // of links
}

func openFIB(prefixes []netip.Prefix, emit func(Event)) (*fib, error) {
	// Links and next hop objects too: when one goes, routes lose next hops without a message of their own.
	l, err := rtnl.Listen(unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_NEXTHOP)
	if err != nil {
		return nil, fmt.Errorf("watch routes: %w", err)
	}
	return &fib{prefixes: prefixes, listener: l, emit: emit, reported: map[netip.Prefix]Route{}}, nil
}

// close wakes run.
func (f *fib) close() { _ = f.listener.Close() }

// run reports the present routes, then each change, until the listener is closed or ctx ends.
func (f *fib) run(ctx context.Context) error {
	if err := f.reread(time.Now(), true); err != nil {
		return err
	}
	look := false // something changed that only a fresh look shows
	for {
		messages, err := f.listener.Receive()
		at := time.Now()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, rtnl.ErrOverflow):
			e := newEvent(at, Lost)
			e.Lost = "route changes: the watcher was too slow"
			f.emit(e)
			look = true
		case err != nil:
			return fmt.Errorf("watch routes: %w", err)
		}
		for _, m := range messages {
			look = f.message(at, m) || look
		}
		// Only with nothing left to read: what waits is older than what a fresh look shows, and would be stamped wrong.
		if look && f.listener.Drained() {
			look = false
			if err := f.reread(at, false); err != nil {
				return err
			}
		}
	}
}

// message takes one message in. It is true when the kernel must be asked for what the message does not say.
func (f *fib) message(at time.Time, m syscall.NetlinkMessage) (look bool) {
	switch m.Header.Type {
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
	default:
		return true
	}
	r, ok := parseRoute(m)
	if !ok || !f.watched(r.prefix) {
		return false
	}
	if m.Header.Type == unix.RTM_NEWROUTE {
		f.put(r)
	} else {
		f.take(r)
	}
	f.report(at, r.prefix, false)
	return false
}

func (f *fib) watched(p netip.Prefix) bool {
	return slices.ContainsFunc(f.prefixes, func(in netip.Prefix) bool {
		return in.Bits() <= p.Bits() && in.Contains(p.Addr())
	})
}

func (f *fib) put(r kernelRoute) {
	if f.routes[r.prefix] == nil {
		f.routes[r.prefix] = map[uint32]kernelRoute{}
	}
	f.routes[r.prefix][r.metric] = r
}

// take removes what a RTM_DELROUTE names. The kernel removes next hops of an IPv6 route one by one, each with a
// message of that next hop only; an IPv4 route goes as a whole.
func (f *fib) take(r kernelRoute) {
	is := f.routes[r.prefix][r.metric]
	left := slices.DeleteFunc(slices.Clone(is.hops), func(h kernelHop) bool {
		return slices.ContainsFunc(r.hops, func(gone kernelHop) bool { return gone.addr == h.addr && gone.link == h.link })
	})
	if r.prefix.Addr().Is6() && len(left) > 0 && len(r.hops) > 0 {
		is.hops = left
		f.routes[r.prefix][r.metric] = is
		return
	}
	delete(f.routes[r.prefix], r.metric)
}

// reread asks the kernel for all routes and reports what is new.
func (f *fib) reread(at time.Time, initial bool) error {
	f.names = map[int]string{}
	if links, err := net.Interfaces(); err == nil {
		for _, l := range links {
			f.names[l.Index] = l.Name
		}
	}
	f.routes = map[netip.Prefix]map[uint32]kernelRoute{}
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		if err := f.dump(family); err != nil {
			return fmt.Errorf("watch routes: list them: %w", err)
		}
	}
	all := slices.Concat(slices.Collect(maps.Keys(f.routes)), slices.Collect(maps.Keys(f.reported)))
	slices.SortFunc(all, netip.Prefix.Compare)
	for _, prefix := range slices.Compact(all) {
		f.report(at, prefix, initial)
	}
	return nil
}

func (f *fib) dump(family uint8) error {
	request := nl.NewNetlinkRequest(unix.RTM_GETROUTE, unix.NLM_F_DUMP)
	message := nl.NewRtMsg()
	message.Family = family
	request.AddData(message)
	answers, err := request.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWROUTE)
	if err != nil {
		return err
	}
	for _, data := range answers {
		m := syscall.NetlinkMessage{Header: syscall.NlMsghdr{Type: unix.RTM_NEWROUTE}, Data: data}
		if r, ok := parseRoute(m); ok && f.watched(r.prefix) {
			f.put(r)
		}
	}
	return nil
}

// report emits the prefix's best route if it differs from what was said last.
func (f *fib) report(at time.Time, prefix netip.Prefix, initial bool) {
	now, there := f.best(prefix)
	before, was := f.reported[prefix]
	switch {
	case !there && !was, there && was && equal(now, before):
		return
	case there:
		f.reported[prefix] = now
	default:
		delete(f.reported, prefix)
		now = Route{Prefix: prefix, Removed: true}
	}
	now.Initial = initial
	e := newEvent(at, FIB)
	e.Route = &now
	f.emit(e)
}

// best is the route that the kernel uses: the lowest metric. A unicast route all of whose next hops are dead is none.
func (f *fib) best(prefix netip.Prefix) (Route, bool) {
	metrics := slices.Sorted(maps.Keys(f.routes[prefix]))
	for _, metric := range metrics {
		k := f.routes[prefix][metric]
		r := Route{Prefix: prefix, Type: special[k.kind]}
		for _, h := range k.hops {
			weight := h.weight
			if weight == 1 {
				weight = 0
			}
			r.NextHops = append(r.NextHops, NextHop{Addr: h.addr, Interface: f.names[h.link], Weight: weight})
		}
		if len(r.NextHops) > 0 || r.Type != "" {
			return r, true
		}
	}
	return Route{}, false
}

var special = map[uint8]string{
	unix.RTN_BLACKHOLE:   "blackhole",
	unix.RTN_UNREACHABLE: "unreachable",
	unix.RTN_PROHIBIT:    "prohibit",
}

func equal(a, b Route) bool { return a.Type == b.Type && slices.Equal(a.NextHops, b.NextHops) }
