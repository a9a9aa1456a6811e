package vrrp

import (
	"cmp"
	"slices"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

// groups keeps what is wanted of groups: the routers of one are Active together, once
// each of them has won its election, and all of them go when one does. keepalived calls
// that a sync group.
func (e *Engine) groups(now time.Time) {
	for _, group := range e.byGroup {
		e.group(group, now)
	}
}

func (e *Engine) group(group []*router, now time.Time) {
	won, lost := 0, 0
	for _, r := range group {
		switch {
		case r.wish.Stance != In || r.going:
			return // all of them are on their way out
		case r.State() == vip.RouterActive || r.Won():
			won++
		case r.fault != "" || !r.isNew():
			lost++
		}
	}
	for _, r := range group {
		wins := won == len(group) && r.Won()
		yields := lost > 0 && r.State() == vip.RouterActive
		switch {
		case r.fault != "": // it takes no part until it can listen
		case r.State() == vip.RouterInitialize: // it has gone for the others' sake
			e.perform(r, r.Startup(now))
		case (wins || yields) && !e.options.Alive():
			e.due.set(r, now.Add(stuck))
		case wins:
			e.perform(r, r.Win(now))
		case yields:
			e.perform(r, r.Yield(now))
		}
	}
}

// isNew says whether a router listens for the first time, and has heard nobody: the
// others need not go for its sake.
func (r *router) isNew() bool {
	_, cause, _ := r.Why()
	return r.State() == vip.RouterBackup && cause == vip.RouterStarted && !r.others.heard()
}

// regroup notes who belongs together.
func (e *Engine) regroup() {
	clear(e.byGroup)
	for _, r := range e.routers {
		if g := r.wish.Group; g != "" && !r.going {
			e.byGroup[g] = append(e.byGroup[g], r)
		}
	}
	for _, group := range e.byGroup {
		slices.SortFunc(group, func(a, b *router) int { return cmp.Compare(a.wish.Name, b.wish.Name) })
	}
}
