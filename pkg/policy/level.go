package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/anyvip/anyvip/pkg/vip"
)

// bounds are the worst and the best level that the requirement can have, given
// that a check without a verdict may turn out either way. They are equal once
// enough is known.
func (d *decider) bounds(r *Require) (lo, hi vip.Level) {
	switch r.Rule {
	case RuleNone:
		return vip.LevelPass, vip.LevelPass
	case RuleCheck:
		c, exists := d.in.Checks[r.Check]
		return d.boundsOf(&c, exists, scopeOf(r, &c).Floor())
	case RuleService:
		return d.referred(r)
	case RuleAll:
		return d.kth(r.Of, len(r.Of))
	case RuleAny:
		return d.kth(r.Of, 1)
	case RuleAtLeast:
		return d.kth(r.Of, r.AtLeast)
	case RuleMissing:
	}
	return vip.LevelFail, vip.LevelFail
}

// kth is the k-th largest of the parts' levels: all is the smallest, any the
// largest.
func (d *decider) kth(of []Require, k int) (lo, hi vip.Level) {
	if k < 1 || k > len(of) {
		return vip.LevelFail, vip.LevelFail
	}
	var los, his [vip.LevelPass + 1]int // how many parts have each level
	for i := range of {
		l, h := d.bounds(&of[i])
		los[l]++
		his[h]++
	}
	return kthOf(los, k), kthOf(his, k)
}

// kthOf is the k-th largest level, given how many there are of each.
func kthOf(count [vip.LevelPass + 1]int, k int) vip.Level {
	for l := vip.LevelPass; l > vip.LevelFail; l-- {
		if k -= count[l]; k <= 0 {
			return l
		}
	}
	return vip.LevelFail
}

// serviceBounds are the bounds of a service: those of the worst in its group.
func (d *decider) serviceBounds(s *Service) (lo, hi vip.Level) {
	lo, hi = d.bounds(&s.Require)
	for _, other := range d.companions(s) {
		l, h := d.bounds(&other.Require)
		lo, hi = min(lo, l), min(hi, h)
	}
	return lo, hi
}

// referred are the bounds of what another service requires.
func (d *decider) referred(r *Require) (lo, hi vip.Level) {
	s, ok := d.visit(r.Service)
	if ok {
		lo, hi = d.bounds(&s.Require)
		d.leave(r.Service)
	}
	if r.Scope != nil {
		lo, hi = max(lo, r.Scope.Floor()), max(hi, r.Scope.Floor())
	}
	return lo, hi
}

// checkBounds are the bounds of one check that can bring a service no lower than
// floor.
func (d *decider) checkBounds(name string, floor vip.Level) (lo, hi vip.Level) {
	c, exists := d.in.Checks[name]
	return d.boundsOf(&c, exists, floor)
}

func (d *decider) boundsOf(c *Check, exists bool, floor vip.Level) (lo, hi vip.Level) {
	v := &c.Verdict
	d.odd = d.odd || v.Outcome != vip.Pass || !v.ErrorSince.IsZero() || !v.Overloaded.IsZero()
	if !exists {
		return vip.LevelFail, vip.LevelFail
	}
	l, known, next := c.Verdict.Level(c.Params, d.in.Now)
	d.wake(next)
	if known {
		l = max(l, floor)
		return l, l
	}
	if d.in.Now.Before(c.PendingUntil) {
		d.wake(c.PendingUntil)
		return floor, vip.LevelPass
	}
	return floor, max(floor, c.overdue())
}

// overdue is the best that a check can be which has had no verdict in time: one
// that answered now and then has failed, but one that could not ask says nothing
// about the service. It starts no announcement and, unless on_error is fail,
// ends none.
func (c *Check) overdue() vip.Level {
	if c.Verdict.ErrorSince.IsZero() {
		return vip.LevelFail
	}
	switch c.Params.OnError {
	case vip.OnErrorHold:
		return vip.LevelPass
	case vip.OnErrorDegrade:
		return vip.LevelDegraded
	case vip.OnErrorFail:
	}
	return vip.LevelFail
}

// serviceReasons is the chain for a service: what its disposition rests on
// first, then what else is not as it should be.
func (d *decider) serviceReasons(s *Service, m *ServiceMemory) []Reason {
	var first []Reason
	switch m.Disposition {
	case Announced:
		first, d.announced = d.announced[:1:1], d.announced[1:]
		first[0] = Reason{Code: CodeHealthy, Since: m.Since}
		if s.Require.Rule == RuleNone {
			first[0].Code = CodeNotRequired
		}
	case Recovering:
		first = []Reason{d.recoveryReason(s, m)}
	case Drained:
		first = []Reason{d.drainReason(s, m)}
	case Leaving:
		if d.memory.Stop.Step == StopNone {
			first = []Reason{d.drainReason(s, m)}
			break
		}
		first = []Reason{{Code: CodeStopping, Since: d.memory.Stop.Since, Detail: "the agent stops; " + d.memory.Stop.Step.String()}}
	case Pending, Withdrawn, Degraded, Standby:
		if d.memory.Stop.Step != StopNone {
			first = []Reason{{Code: CodeStopping, Since: d.memory.Stop.Since, Detail: "the agent stops; " + d.memory.Stop.Step.String()}}
		}
	}
	if m.Drain.Step == DrainPrepare {
		first = append([]Reason{d.drainReason(s, m)}, first...)
	}
	reasons := append(first, d.checkReasons(s, m.Disposition)...)
	if len(reasons) == 0 { // a level that no check explains: cannot be, and is said all the same
		return []Reason{{Code: CodeNone, Detail: "no check explains this: " + s.Require.String()}}
	}
	return reasons
}

// recoveryReason says what a healthy service waits for.
func (d *decider) recoveryReason(s *Service, m *ServiceMemory) Reason {
	r := Reason{Code: CodeRecoveryDelay, Since: m.Since, Until: m.RecoverAt}
	if !m.Failed {
		r.Code, r.Detail = CodeStartDelay, fmt.Sprintf("healthy; announced %s after the host's boot", s.StartDelay)
		return r
	}
	r.Detail = fmt.Sprintf("healthy again; announced after recovery_delay of %s", s.RecoveryDelay)
	if grown := recoveryDelay(s, m.Flaps); grown > s.RecoveryDelay {
		r.Detail += fmt.Sprintf(", grown to %s by %d failures in %s", grown, len(m.Flaps), s.FlapWindow)
	}
	return r
}

// checkReasons names every check that the service depends on and that is not simply
// passing: what the disposition rests on first.
func (d *decider) checkReasons(s *Service, disposition Disposition) []Reason {
	if !d.odd {
		return nil
	}
	var reasons []Reason
	for _, l := range d.leaves(s) {
		if reason, ok := d.checkReason(l); ok {
			reasons = append(reasons, reason)
		}
	}
	weight := []Code{CodeCheckFailed, CodeCheckError, CodeCheckDegraded, CodeOverload, CodeCheckPending, CodeAdvisory}
	if disposition == Pending {
		weight = []Code{CodeCheckPending, CodeCheckFailed, CodeCheckError, CodeCheckDegraded, CodeOverload, CodeAdvisory}
	}
	slices.SortStableFunc(reasons, func(a, b Reason) int { return slices.Index(weight, a.Code) - slices.Index(weight, b.Code) })
	return reasons
}

func (d *decider) checkReason(l leaf) (Reason, bool) {
	c := d.in.Checks[l.check]
	v := c.Verdict
	r := Reason{Subject: l.check, Detail: v.Detail, Since: v.Since}
	lo, hi := d.checkBounds(l.check, l.floor)
	switch {
	case !v.ErrorSince.IsZero() && v.Outcome == vip.Fail && lo == vip.LevelFail:
		r.Code, r.Detail = CodeCheckFailed, v.Detail+"; now it cannot ask: "+v.ErrorDetail
	case !v.ErrorSince.IsZero():
		r.Code, r.Detail, r.Since = CodeCheckError, v.ErrorDetail, v.ErrorSince
	case lo != hi:
		r.Code, r.Until, r.Detail = CodeCheckPending, c.PendingUntil, "no verdict yet"
	case l.floor == vip.LevelPass && v.Outcome != vip.Pass:
		r.Code = CodeAdvisory
	case lo == vip.LevelFail:
		r.Code = CodeCheckFailed
	case lo == vip.LevelDegraded:
		r.Code = CodeCheckDegraded
	case !v.Overloaded.IsZero():
		r.Code, r.Since, r.Detail = CodeOverload, v.Overloaded, "no answer in time; on_timeout says absorb"
	default:
		return Reason{}, false
	}
	if v.Outcome == vip.Unknown && r.Code != CodeCheckPending && r.Detail == "" {
		r.Detail = "no verdict in time"
	}
	if l.via != "" {
		r.Detail = strings.TrimSuffix(l.via+": "+r.Detail, ": ")
	}
	return r, true
}
