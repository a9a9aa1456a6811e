package main

import (
	"fmt"
	"strconv"
	"strings"

	anyvipv1 "github.com/anyvip/anyvip/pkg/api/anyvip/v1"
)

// routers has a row for each virtual router.
func (v view) routers(routers []*anyvipv1.VirtualRouter) *table {
	heads := []string{"ROUTER", "LINK", "VRID", "STATE", "FOR", "PRIORITY"}
	if v.wide {
		heads = append(heads, "OTHERS")
	}
	t := newTable(append(heads, "WHY")...)
	for _, r := range routers {
		row := []cell{{r.GetName(), plain}, {r.GetInterface(), plain}, {strconv.FormatUint(uint64(r.GetVrid()), 10), plain},
			{stateWord(r.GetState()), routerTint(r)}, {v.age(r.GetSince()), plain}, {strconv.FormatUint(uint64(r.GetPriority()), 10), plain}}
		if v.wide {
			row = append(row, cell{others(r), plain})
		}
		t.add(append(row, cell{routerWhy(r), plain})...)
	}
	return t
}

// others are the routers that were heard under the same VRID, with their priorities.
func others(r *anyvipv1.VirtualRouter) string {
	var list []string
	for _, o := range r.GetOthers() {
		if o.GetVrid() == r.GetVrid() {
			list = append(list, fmt.Sprintf("%s(%d)", o.GetAddress(), o.GetPriority()))
		}
	}
	return strings.Join(list, ",")
}

// routerWhy is why a router is in its state, what it lacks, and who is at odds with it.
func routerWhy(r *anyvipv1.VirtualRouter) string {
	why := strings.ReplaceAll(word(r.GetCause()), "_", " ")
	if r.GetBy() != "" {
		why += " (" + r.GetBy() + ")"
	}
	if r.GetDetail() != "" {
		why = r.GetDetail() + "; " + why
	}
	for _, o := range r.GetOthers() {
		var words []string
		for _, t := range o.GetTrouble() {
			words = append(words, strings.ReplaceAll(word(t), "_", " "))
		}
		if len(words) > 0 {
			why = fmt.Sprintf("%s at %s, MAC %s; %s", strings.Join(words, ", "), o.GetAddress(), o.GetMac(), why)
		}
	}
	return why
}

func routerTint(r *anyvipv1.VirtualRouter) tint {
	switch {
	case r.GetDetail() != "":
		return bad
	case r.GetState() == anyvipv1.RouterState_ACTIVE, r.GetState() == anyvipv1.RouterState_BACKUP:
		return good
	}
	return warn
}
