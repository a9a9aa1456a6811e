package kernel

import (
	"cmp"
	"errors"
	"log/slog"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/anyvip/anyvip/pkg/vip"
)

// defaults keeps the default routes of this host. Run's goroutine owns it.
type defaults struct {
	table routeTable
	alive func() bool
	log   *slog.Logger
	quiet *quiet

	wanted  map[vip.Family][]netip.Addr // latest desired set; nil before the first, and then nothing is touched
	adopt   []vip.Family                // families in which what was left behind stays while nothing is wanted
	looked  bool                        // or tried to
	settled bool                        // all was as it should be after the latest pass
	links   scene                       // as of the latest pass
	seen    map[vip.Family][]route      // as of the latest look
	facts   []vip.DefaultRoute          // as of the latest pass, by family
	failing string                      // the error of a look that was logged last
}

// routeTable is the border to the kernel's main routing table.
type routeTable interface {
	// routes dumps our default routes of a family.
	routes(vip.Family) ([]route, error)
	// linkTo finds the link that a neighbour is on, by its index.
	linkTo(netip.Addr) (int, error)
	// change does one thing to one default route.
	change(v routeVerb, r route) error
	// hear makes changes of default routes a hint, or ends that.
	hear(on bool) error
}

// troubles is why changes failed in a pass over one family.
type troubles struct {
	route string        // the route as a whole
	hops  map[hop]error // this next hop, which the kernel refuses
}

// wantedDefaults is a desired set by family, without families in which no route
// is wanted.
func wantedDefaults(list []vip.DefaultRoute) map[vip.Family][]netip.Addr {
	wanted := make(map[vip.Family][]netip.Addr)
	for _, r := range list {
		for _, a := range r.NextHops {
			wanted[r.Family] = append(wanted[r.Family], a.Unmap())
		}
	}
	return wanted
}

// pass sets the routes right, and reports whether facts are new.
func (d *defaults) pass(links scene) (news bool) {
	first := !d.looked
	d.looked, d.links = true, links
	if d.settled = d.idle(vip.IPv4) && d.idle(vip.IPv6); d.settled {
		if len(d.facts) == 0 {
			return first
		}
		d.facts = nil // of what was wanted and could not be
		d.complain(d.table.hear(false))
		return true
	}
	facts, err := d.keepBoth()
	d.complain(err)
	if !first && slices.EqualFunc(facts, d.facts, vip.DefaultRoute.Equal) {
		return false
	}
	d.note(facts)
	d.facts = facts
	return true
}

// idle reports whether there is nothing to keep in a family and nothing to find
// out: a look at many other routes takes its time.
func (d *defaults) idle(f vip.Family) bool {
	seen, known := d.seen[f]
	return known && len(seen) == 0 && len(d.wanted[f]) == 0
}

// keepBoth keeps each family by itself: what is wrong with one is no matter of
// the other. The error is why one could not be looked at.
func (d *defaults) keepBoth() (facts []vip.DefaultRoute, err error) {
	d.settled = true
	deaf := d.table.hear(true) // before the look: what changes after it is hinted at
	for _, f := range []vip.Family{vip.IPv4, vip.IPv6} {
		if d.idle(f) {
			continue
		}
		t := troubles{hops: make(map[hop]error)}
		p, blind := routePlan{}, deaf
		if deaf == nil {
			p, blind = d.keep(f, &t)
		}
		if blind != nil {
			d.settled = false
			err = cmp.Or(err, blind)
			facts = append(facts, d.stale(f, blind)...)
			continue
		}
		if len(p.steps) > 0 || slices.ContainsFunc(p.ways, func(w way) bool { return w.again }) {
			d.settled = false
		}
		if !d.idle(f) {
			facts = append(facts, p.fact(d.seen[f], d.links, t.route))
		}
	}
	if d.idle(vip.IPv4) && d.idle(vip.IPv6) {
		err = cmp.Or(err, d.table.hear(false))
	}
	return facts, err
}

// stale is the latest fact of a family that cannot be looked at now; none if
// there is nothing to say.
func (d *defaults) stale(f vip.Family, blind error) (out []vip.DefaultRoute) {
	fact := vip.DefaultRoute{Family: f, Detail: staleDetail(blind)}
	i := slices.IndexFunc(d.facts, func(r vip.DefaultRoute) bool { return r.Family == f })
	if i >= 0 {
		fact.NextHops = d.facts[i].NextHops
	} else if len(d.wanted[f]) == 0 {
		return nil
	}
	return []vip.DefaultRoute{fact}
}

// keep looks, acts and looks again, until nothing is left to do or can be done
// now. The plan that it returns is of its last look.
func (d *defaults) keep(f vip.Family, t *troubles) (p routePlan, err error) {
	for round, acted := 0, true; acted; round++ {
		seen, err := d.table.routes(f)
		if err != nil {
			return p, err
		}
		if before := d.seen[f]; round == 0 && len(before) > 0 && !slices.EqualFunc(seen, before, route.equal) {
			d.quiet.say(slog.LevelWarn, "default route was changed, by somebody else or with a link", f.String(),
				"family", f.String(), "from", d.next(before...), "to", d.next(seen...))
		}
		d.seen[f] = seen
		p = d.plan(f, *t)
		acted = round < maxRounds && d.carryOut(p, t)
	}
	return p, nil
}

func (d *defaults) plan(f vip.Family, t troubles) routePlan {
	if d.wanted == nil || len(d.wanted[f]) == 0 && slices.Contains(d.adopt, f) {
		return routePlan{family: f}
	}
	var ways []way
	for _, a := range d.wanted[f] {
		ways = append(ways, d.way(f, a, t))
	}
	return planRoute(f, ways, d.seen[f])
}

// carryOut does what the plan asks for, up to the first failure. acted means
// that it is time to look and plan again.
func (d *defaults) carryOut(p routePlan, t *troubles) (acted bool) {
	t.route = ""
	for _, s := range p.steps {
		err := d.act(s)
		switch {
		case err == nil:
			acted = true
			continue
		case s.verb == appendRoute && errors.Is(err, unix.EEXIST):
			return true // somebody was faster
		case d.blame(s, err, t):
			return true
		}
		t.route = explainRoute(s, d.next(s.route), err)
		return acted
	}
	return acted
}

// act does one step. To take away is always safe.
func (d *defaults) act(s routeStep) error {
	if s.verb != removeRoute && !d.alive() {
		return errStuckRoute
	}
	err := d.table.change(s.verb, s.route)
	if err == nil {
		f, action := s.route.family.String(), s.verb.String()
		d.quiet.say(slog.LevelInfo, "default route changed", f+" "+action, "family", f, "action", action, "next_hops", d.next(s.route))
	}
	return err
}

// blame finds the next hops for which the kernel refuses a route: each is tried
// alone. One that is good comes to be there by that, or is known to be good.
func (d *defaults) blame(s routeStep, err error, t *troubles) (found bool) {
	if s.verb == removeRoute || errors.Is(err, errStuckRoute) || errors.Is(err, unix.EPERM) {
		return false // it is not about next hops
	}
	for _, h := range s.route.hops {
		alone := s.route
		alone.hops = []hop{h}
		if err := d.act(routeStep{addRoute, alone}); err != nil && !errors.Is(err, unix.EEXIST) {
			t.hops[h] = err
			found = true
		}
	}
	return found
}

// next lists the next hops of routes, for people.
func (d *defaults) next(routes ...route) (out []netip.Addr) {
	for _, r := range routes {
		for _, h := range r.hops {
			out = append(out, d.links.addressOf(h))
		}
	}
	return out
}

// note logs why routes are not as wanted, once until it changes.
func (d *defaults) note(facts []vip.DefaultRoute) {
	before := make(map[vip.Family]string)
	for _, f := range d.facts {
		before[f.Family] = f.Detail
	}
	for _, f := range facts {
		if f.Detail != "" && f.Detail != before[f.Family] {
			d.log.Warn("default route is not as wanted", "family", f.Family.String(), "next_hops", f.NextHops, "reason", f.Detail)
		}
	}
}

// complain logs a look that failed, once until it changes.
func (d *defaults) complain(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text == d.failing {
		return
	}
	d.failing = text
	if err != nil {
		d.log.Error("default routes cannot be kept for now", "error", err)
		return
	}
	d.log.Info("default routes are kept again")
}
