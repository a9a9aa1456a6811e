package kernel

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/anyvip/anyvip/pkg/vip"
)

const (
	// routeProtocol marks our routes in the kernel, also after a crash. No other
	// daemon is known to use it: below 20, 42, 80, 84, 99 and from 186 on they do.
	routeProtocol = 137
	// routeMetric loses against a default route of an administrator or of a DHCP
	// client that has a lower one (0, if none was given), and wins against those of
	// IPv6 router advertisements (1024).
	routeMetric = 20
)

// route is a default route in the main table that has our protocol number.
type route struct {
	family  vip.Family
	metric  int
	hops    []hop // in the kernel's order
	altered bool  // it has what we never set: weights, a source address, an MTU
}

// hop is a next hop as the kernel holds it.
type hop struct {
	via  netip.Addr // without zone; IPv6 in an IPv4 route as well (RFC 8950)
	link int        // index
}

func (r route) equal(o route) bool {
	return r.family == o.family && r.metric == o.metric && r.altered == o.altered && slices.Equal(r.hops, o.hops)
}

// routePlan is what is to be done about the default route of one family.
type routePlan struct {
	family vip.Family
	ways   []way
	steps  []routeStep // in this order; when one fails, none after it
}

type routeStep struct {
	verb  routeVerb
	route route
}

// routeVerb is what can be done with a route.
type routeVerb uint8

const (
	addRoute     routeVerb = iota // unless there is one with this metric, whosoever
	appendRoute                   // beside what is there; to IPv6 this adds next hops
	replaceRoute                  // in place of whatever has this metric
	removeRoute                   // ours alone; of IPv6 these next hops alone
)

var routeVerbNames = [...]string{"add", "append", "replace", "remove"}

func (v routeVerb) String() string { return routeVerbNames[v] }

// planRoute decides about the routes of ours that were seen in a family. The
// new is there before the old goes, so no packet lacks a route. It never
// replaces where the kernel would take somebody else's route with our metric.
func planRoute(f vip.Family, ways []way, seen []route) routePlan {
	p := routePlan{family: f, ways: ways}
	want := route{family: f, metric: routeMetric}
	for _, w := range ways {
		if w.problem == "" && !slices.Contains(want.hops, w.hop) {
			want.hops = append(want.hops, w.hop)
		}
	}
	switch {
	case len(want.hops) == 0:
		p.removeAllBut(-1, seen)
	case f == vip.IPv6:
		p.mergeHops(want, seen)
	default:
		p.swap(want, seen)
	}
	return p
}

// swap is for IPv4, where a route is one with all of its next hops. Of two with
// the same metric the kernel uses the older one.
func (p *routePlan) swap(want route, seen []route) {
	right := slices.IndexFunc(seen, func(r route) bool {
		return r.metric == want.metric && !r.altered && len(r.hops) == len(want.hops) && len(without(want.hops, r.hops)) == 0
	})
	if right < 0 {
		v := addRoute
		if slices.ContainsFunc(seen, func(r route) bool { return r.metric == want.metric }) {
			v = appendRoute
		}
		p.steps = append(p.steps, routeStep{v, want})
	}
	p.removeAllBut(right, seen)
}

// mergeHops is for IPv6, where the next hops with one metric are a route each
// that the kernel joins.
func (p *routePlan) mergeHops(want route, seen []route) {
	at := slices.IndexFunc(seen, func(r route) bool { return r.metric == want.metric })
	switch {
	case at < 0:
		p.steps = append(p.steps, routeStep{addRoute, want})
	case seen[at].altered:
		p.steps = append(p.steps, routeStep{replaceRoute, want})
	default:
		p.hopStep(appendRoute, want, without(want.hops, seen[at].hops))
		p.hopStep(removeRoute, want, without(seen[at].hops, want.hops))
	}
	p.removeAllBut(at, seen)
}

func (p *routePlan) hopStep(v routeVerb, r route, hops []hop) {
	if len(hops) > 0 {
		r.hops = hops
		p.steps = append(p.steps, routeStep{v, r})
	}
}

func (p *routePlan) removeAllBut(kept int, seen []route) {
	for i, r := range seen {
		if i != kept {
			p.steps = append(p.steps, routeStep{removeRoute, r})
		}
	}
}

// without lists what of a is not in b.
func without(a, b []hop) (out []hop) {
	for _, h := range a {
		if !slices.Contains(b, h) {
			out = append(out, h)
		}
	}
	return out
}

// fact says what of ours was seen, and why it is not as wanted. failure is why
// the plan was not carried out.
func (p routePlan) fact(seen []route, links scene, failure string) vip.DefaultRoute {
	f := vip.DefaultRoute{Family: p.family}
	for _, r := range seen {
		for _, h := range r.hops {
			f.NextHops = append(f.NextHops, p.addressOf(h, links))
		}
	}
	slices.SortFunc(f.NextHops, netip.Addr.Compare)
	f.NextHops = slices.Compact(f.NextHops)
	var why []string
	switch {
	case failure != "":
		why = append(why, failure)
	case len(p.steps) > 0:
		why = append(why, "somebody changes it as often as it is set right; to see who, run: ip monitor route")
	}
	for _, w := range p.ways {
		if w.problem != "" {
			why = append(why, fmt.Sprintf("next hop %s is left out: %s", w.addr, w.problem))
		}
	}
	f.Detail = strings.Join(why, "; ")
	return f
}

// addressOf is the address of a next hop, as it is wanted if it is.
func (p routePlan) addressOf(h hop, links scene) netip.Addr {
	for _, w := range p.ways {
		if w.hop == h {
			return w.addr
		}
	}
	return links.addressOf(h)
}
