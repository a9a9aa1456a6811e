package kernel

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/anyvip/anyvip/pkg/kernel/sysctl"
	"github.com/anyvip/anyvip/pkg/vip"
)

// pass sets right what h hints at. It reports whether all is as it should be.
// Default routes come first: addresses need the disk, which may hang.
func (e *Engine) pass(h hint) (settled bool) {
	var blind error
	if h > hintRoutes {
		blind = e.look(h)
	}
	if e.scene != nil && e.routes.pass(e.scene) {
		e.report()
	}
	if h > hintRoutes {
		e.kept = e.keepAddresses(blind)
	}
	return e.kept && e.routes.settled
}

func (e *Engine) look(h hint) error {
	seen, err := e.host.look(h)
	if err == nil {
		e.scene = seen
		e.tellOthers()
	}
	return err
}

// keepAddresses acts on the latest look, which failed if blind says so, and
// looks again, until nothing is left to do or can be done now. It reports whether
// all is as it should be.
func (e *Engine) keepAddresses(blind error) (settled bool) {
	unread := e.openLedger()
	for round := range maxRounds {
		if round > 0 {
			blind = e.look(hintAddresses)
		}
		if blind != nil {
			e.complain(blind)
			e.publishStale(blind)
			return false
		}
		p := e.plan()
		lost := e.noteLosses(p)
		acted, err := e.carryOut(p, unread)
		e.complain(err)
		// What was added just now for the first time is not reported as absent before.
		if lost || round > 0 || !acted {
			e.publish(p)
		}
		if !acted {
			return err == nil && len(e.trouble) == 0 && e.satisfied()
		}
	}
	return false
}

// plan compares what was seen with what is wanted.
func (e *Engine) plan() plan {
	s := situation{home: e.options.Link, wanted: e.wanted, owned: e.owned, leased: e.leased, seen: e.scene}
	s.unread = e.readARP(s)
	s.arp = e.arp
	return makePlan(s)
}

// readARP reads the settings of the links that expose a wanted VIP. When that
// fails, for want of descriptors say, what was read last still holds: a guess
// would take VIPs away. It returns the links of which nothing is known.
func (e *Engine) readARP(s situation) (unread map[string]error) {
	fresh := make(map[string]sysctl.ARP)
	unread = make(map[string]error)
	for name := range s.exposing() {
		settings, err := e.host.arpSettings(name)
		before, known := e.arp[name]
		switch {
		case err == nil:
			fresh[name] = settings
		case known:
			fresh[name] = before
		default:
			unread[name] = err
		}
	}
	e.arp = fresh // without links that are gone: another one may get the name
	return unread
}

// openLedger reads the ledger once, when the first desired set has come. Until
// it could be read nobody knows what is ours.
func (e *Engine) openLedger() error {
	if !e.started || e.owned != nil {
		return nil
	}
	err := e.ledger.read()
	if corrupt := (corruptError{}); errors.As(err, &corrupt) {
		var aside string
		if aside, err = e.ledger.setAside(); err == nil {
			e.options.Log.Error("ownership file is corrupt, moved aside; VIPs that an earlier run added now count as an administrator's "+
				"and are never removed: remove by hand what is not wanted", "file", e.ledger.path, "aside", aside, "error", corrupt)
		}
	}
	if err != nil {
		return fmt.Errorf("read ownership file: %w", err)
	}
	e.owned = maps.Clone(e.ledger.disk)
	if len(e.owned) > 0 {
		e.options.Log.Info("earlier run left addresses", "count", len(e.owned))
	}
	return nil
}

// carryOut does what the plan asks for. acted means that the host changed, so
// that it is time to look again. The error is one of the ledger; what stands in
// the way of a single address goes into trouble.
func (e *Engine) carryOut(p plan, unread error) (acted bool, err error) {
	before := e.trouble
	e.trouble = make(map[netip.Addr]trouble)
	if unread != nil {
		e.refuse(p.add, unread)
		return false, unread
	}
	try := func(v verb, c change) error {
		err := e.act(v, c, before[c.ip])
		// errExists: somebody was faster, or the dump missed it; the next look tells.
		acted = acted || err == nil || errors.Is(err, errExists)
		return err
	}
	known, fresh := e.split(p.add)
	for _, c := range known { // before the ledger is written: the disk may be slow
		e.owned[c.ip] = c.link.name // struck out already, when the write of that failed
		_ = try(add, c)
	}
	for _, c := range p.mend {
		_ = try(mend, c)
	}
	for _, c := range p.remove {
		_ = try(remove, c)
	}
	for _, ip := range p.forget {
		delete(e.owned, ip)
	}
	if err := e.own(fresh); err != nil {
		return acted, err
	}
	for _, c := range fresh {
		if err := try(add, c); errors.Is(err, errExists) {
			delete(e.owned, c.ip) // it is theirs
		}
	}
	return acted, nil
}

// split parts the VIPs to add into those that the ledger knows and the others.
func (e *Engine) split(list []change) (known, fresh []change) {
	for _, c := range list {
		if e.ledger.disk[c.ip] == c.link.name {
			known = append(known, c)
		} else {
			fresh = append(fresh, c)
		}
	}
	return known, fresh
}

// own writes down what is ours, with the VIPs that are to become so.
func (e *Engine) own(fresh []change) error {
	for _, c := range fresh {
		e.owned[c.ip] = c.link.name
	}
	err := e.ledger.write(e.owned)
	if err == nil {
		return nil
	}
	err = fmt.Errorf("write ownership file: %w", err)
	for _, c := range fresh {
		delete(e.owned, c.ip)
	}
	e.refuse(fresh, err)
	return err
}

// refuse keeps VIPs from being added that are not written down as ours: after
// a crash nobody would know whose they are.
func (e *Engine) refuse(list []change, err error) {
	detail := fmt.Sprintf("a VIP is added only once it is written down as ours: %v; make the state directory work, it is tried every second", err)
	for _, c := range list {
		e.trouble[c.ip] = trouble{vip.AddressRefused, detail}
	}
}

// act does one thing and keeps the books.
func (e *Engine) act(v verb, c change, before trouble) error {
	if v != remove && !e.options.Alive() {
		e.trouble[c.ip] = trouble{vip.AddressAbsent, errStuck.Error()}
		return errStuck
	}
	err := e.host.do(v, c)
	if errors.Is(err, errExists) {
		return err
	}
	if err != nil {
		state, detail := explain(v, c, err)
		e.trouble[c.ip] = trouble{state, detail}
		if before != e.trouble[c.ip] {
			e.say(slog.LevelWarn, "address not changed", c.ip, c.link.name, "action", v.String(), "reason", detail)
		}
		return err
	}
	switch v {
	case add:
		e.adds++
		e.say(slog.LevelInfo, "address added", c.ip, c.link.name)
	case mend:
		e.say(slog.LevelWarn, "address had wrong attributes, set right", c.ip, c.link.name)
	case remove:
		delete(e.owned, c.ip)
		e.say(slog.LevelInfo, "address removed", c.ip, c.link.name)
	}
	return nil
}

// say logs what happened to a VIP, which in a fight with somebody is a lot.
func (e *Engine) say(level slog.Level, message string, ip netip.Addr, link string, args ...any) {
	e.quiet.say(level, message, ip.String(), append([]any{"vip", ip, "link", link}, args...)...)
}

// noteLosses records wanted VIPs that were present and are gone, and reports
// whether there were any.
func (e *Engine) noteLosses(p plan) bool {
	now, found := time.Now(), false
	for ip, fact := range p.facts {
		if !e.wanted[ip] || fact.State != vip.AddressAbsent || e.facts[ip].State != vip.AddressPresent || e.stands(ip, fact) {
			continue
		}
		found = true
		e.retries = 0
		e.say(slog.LevelWarn, "address was taken away", ip, e.facts[ip].Link)
		lost := e.lost[ip]
		if n := len(lost); n > 0 && now.Sub(lost[n-1]) < sameLoss {
			continue
		}
		lost = append(lost[:len(lost):len(lost)], now) // reports share the old array
		e.lost[ip] = lost[max(0, len(lost)-keptLosses):]
	}
	return found
}

// stands reports whether a VIP that does not work was taken away by nobody: it
// is on a link that is down, or went with its link, as IPv6 addresses do.
func (e *Engine) stands(ip netip.Addr, fact vip.Address) bool {
	if fact.Link != "" {
		return true
	}
	l, there := e.scene.link(e.facts[ip].Link)
	return there && !l.enabled
}

// publish reports the facts of a plan if any differs from what was reported.
func (e *Engine) publish(p plan) {
	now := time.Now()
	facts := make(map[netip.Addr]vip.Address, len(p.facts))
	for ip, fact := range p.facts {
		if t, ok := e.trouble[ip]; ok {
			fact.Detail = t.detail
			if fact.State == vip.AddressAbsent {
				fact.State = t.state
			}
		}
		fact.Lost, fact.Since = e.lost[ip], now
		if before, known := e.facts[ip]; known && before.State == fact.State {
			fact.Since = before.Since
		}
		facts[ip] = fact
	}
	links := e.scene.report(func(ip netip.Addr) bool { _, ours := e.owned[ip]; return ours || e.wanted[ip] || e.leased[ip] != "" })
	if e.facts != nil && maps.EqualFunc(facts, e.facts, equalAddress) && slices.EqualFunc(links, e.links, equalLink) {
		return
	}
	e.facts, e.links = facts, links
	e.report()
}

// publishStale says of every fact why it may no longer be true.
func (e *Engine) publishStale(blind error) {
	facts := maps.Clone(e.facts)
	for ip, fact := range facts {
		fact.Detail = staleDetail(blind)
		facts[ip] = fact
	}
	if !maps.EqualFunc(facts, e.facts, equalAddress) {
		e.facts = facts
		e.report()
	}
}

// staleDetail is the Detail of a fact that could not be looked at again.
func staleDetail(blind error) string {
	return fmt.Sprintf("may be out of date, this host cannot be looked at: %v", blind)
}

// report hands everything over. The first time it waits for addresses and
// routes: what is missing in a report is not on this host.
func (e *Engine) report() {
	if e.facts != nil && e.routes.looked {
		e.options.Report(Report{Addresses: e.facts, Links: e.links, Defaults: e.routes.facts, Adds: e.adds})
	}
}

// satisfied reports whether every wanted VIP is here, or needs no retry.
func (e *Engine) satisfied() bool {
	for ip := range e.wanted {
		if s := e.facts[ip].State; s == vip.AddressAbsent || s == vip.AddressRefused {
			return false
		}
	}
	return true
}

// complain logs what stands in the way of all addresses, once until it changes.
func (e *Engine) complain(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text == e.failing {
		return
	}
	e.failing = text
	if err != nil {
		e.options.Log.Error("addresses cannot be kept for now", "error", err)
		return
	}
	e.options.Log.Info("addresses are kept again")
}

func equalAddress(a, b vip.Address) bool {
	return a.State == b.State && a.Since.Equal(b.Since) && a.Ours == b.Ours && a.Link == b.Link && a.Detail == b.Detail &&
		slices.EqualFunc(a.Lost, b.Lost, time.Time.Equal)
}

func equalLink(a, b vip.Link) bool {
	return a.Name == b.Name && a.Index == b.Index && a.Up == b.Up && a.MTU == b.MTU && slices.Equal(a.Prefixes, b.Prefixes)
}
