package lease

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

// publish reports the facts if any differs from what was reported. The first time it
// waits until it is known what was there before.
func (e *Engine) publish() {
	if !e.look.done && e.look.err == nil || !e.disk.opened() {
		return
	}
	now := time.Now()
	facts := make(map[netip.Addr]vip.Address, len(e.tenures))
	for s, t := range e.tenures {
		if !t.wanted && !t.ours {
			continue
		}
		f := e.fact(s, t)
		if other, twice := facts[f.Addr]; twice && !better(f, other, t.held()) {
			continue // one that moved from a link to another
		}
		facts[f.Addr] = f
	}
	for ip, f := range facts {
		f.Since = now
		if before, known := e.facts[ip]; known && before.State == f.State {
			f.Since = before.Since
		}
		facts[ip] = f
	}
	if e.facts != nil && maps.EqualFunc(facts, e.facts, equalAddress) {
		return
	}
	e.facts = facts
	e.options.Report(Report{Addresses: facts})
}

// better reports whether f says more than g about one address on two links: of two
// where it is, that where it is held.
func better(f, g vip.Address, held bool) bool {
	if f.State == g.State {
		return held
	}
	return f.State == vip.AddressPresent
}

// fact is what is known about a spot, without Since.
func (e *Engine) fact(s spot, t *tenure) vip.Address {
	f := vip.Address{Addr: t.lease.Addr, Lost: t.lost}
	switch {
	case t.ours && t.held() && !t.lease.works():
		x := e.why(s, t)
		f.State, f.Ours, f.Link, f.Detail = x.state, true, t.lease.Link, x.detail
	case t.ours:
		f.State, f.Ours, f.Link, f.Detail = vip.AddressPresent, true, t.lease.Link, cmp.Or(t.trouble.detail, t.lease.problem())
		switch {
		case f.Detail != "" || t.held():
		case t.left:
			f.Detail = "an earlier run left it; it goes when its lifetime is over"
		default:
			f.Detail = "it is no longer wanted; removing it"
		}
	case t.theirs != nil && t.lease.perch != nil:
		f.State, f.Link = vip.AddressRefused, t.theirs.link
		f.Detail = fmt.Sprintf("it was here before us, and would not have the virtual MAC: remove it from %s, or leave virtual_mac out", t.theirs.link)
	case t.theirs != nil && t.theirs.duplicate:
		f.State, f.Link = vip.AddressAbsent, t.theirs.link
		f.Detail = "it was here before us, and another host has it: duplicate address detection failed; remove it on one of them"
	case t.theirs != nil && t.theirs.tentative:
		f.State, f.Link, f.Detail = vip.AddressTentative, t.theirs.link, "duplicate address detection is not over"
	case t.theirs != nil:
		f.State, f.Link = vip.AddressPresent, t.theirs.link
	default:
		x := e.why(s, t)
		f.State, f.Detail = x.state, x.detail
	}
	return f
}

// why says why an address is not there, or could not be taken.
func (e *Engine) why(s spot, t *tenure) trouble {
	disk := e.disk.problem(time.Now())
	switch {
	case t.lease.problem() != "":
		return trouble{vip.AddressRefused, t.lease.problem()}
	case s.index <= 0 && t.lease.perch != nil:
		return trouble{vip.AddressAbsent, "its macvlan is being made"}
	case s.index <= 0:
		return trouble{vip.AddressAbsent, fmt.Sprintf("this host has no link %s", t.lease.Link)}
	case !e.look.done:
		return trouble{vip.AddressUnknown, fmt.Sprintf("this host cannot be looked at: %v", e.look.err)}
	case !e.disk.says(s) && disk != nil:
		x := trouble{vip.AddressAbsent, explainDisk(disk)}
		if t.held() {
			x.state = vip.AddressRefused
		}
		return x
	case !t.held():
		return trouble{state: vip.AddressAbsent}
	case t.trouble != trouble{}:
		return t.trouble
	case e.closed:
		return trouble{vip.AddressAbsent, stuck}
	case !e.disk.says(s):
		return trouble{vip.AddressAbsent, notYet}
	}
	return trouble{vip.AddressAbsent, "it is not on this host; adding it"}
}

func equalAddress(a, b vip.Address) bool {
	return a.State == b.State && a.Since.Equal(b.Since) && a.Ours == b.Ours && a.Link == b.Link && a.Detail == b.Detail &&
		slices.EqualFunc(a.Lost, b.Lost, time.Time.Equal)
}
