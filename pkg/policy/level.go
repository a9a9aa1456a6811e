package policy

import (
	"fmt"
	"slices"

	"github.com/anyvip/anyvip/pkg/vip"
)

// bounds are the worst and the best level that the requirement can have, given
// that a check without a verdict may turn out either way. They are equal once
// enough is known.
func (d *decider) bounds(r Require) (lo, hi vip.Level) {
	switch r.Rule {
	case RuleNone:
		return vip.LevelPass, vip.LevelPass
	case RuleCheck:
		return d.checkBounds(r.Check)
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
	los, his := make([]vip.Level, len(of)), make([]vip.Level, len(of))
	for i, r := range of {
		los[i], his[i] = d.bounds(r)
	}
	slices.Sort(los)
	slices.Sort(his)
	return los[len(of)-k], his[len(of)-k]
}

// checkBounds are the bounds of one check.
func (d *decider) checkBounds(name string) (lo, hi vip.Level) {
	c, exists := d.in.Checks[name]
	if !exists {
		return vip.LevelFail, vip.LevelFail
	}
	l, known, next := c.Verdict.Level(c.Params, d.in.Now)
	d.wake(next)
	if known {
		l = max(l, c.Scope.Floor())
		return l, l
	}
	if d.in.Now.Before(c.PendingUntil) {
		d.wake(c.PendingUntil)
		return c.Scope.Floor(), vip.LevelPass
	}
	return c.Scope.Floor(), max(c.Scope.Floor(), c.overdue())
}

// overdue is the best that a check can be which has had no verdict in time: one
// that answered now and then has failed, but one that could not ask says nothing
// about the service. It starts no announcement and, unless on_error is fail,
// ends none.
func (c Check) overdue() vip.Level {
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
func (d *decider) serviceReasons(s Service, m ServiceMemory) []Reason {
	var first []Reason
	switch m.Disposition {
	case Announced:
		first = []Reason{{Code: CodeHealthy, Since: m.Since}}
		if s.Require.Rule == RuleNone {
			first[0].Code = CodeNotRequired
		}
	case Recovering:
		first = []Reason{{Code: CodeRecoveryDelay, Since: m.Since, Until: m.RecoverAt,
			Detail: fmt.Sprintf("healthy again; announced after recovery_delay of %s", s.RecoveryDelay)}}
	case Leaving:
		first = []Reason{{Code: CodeStopping, Since: d.memory.Stop.Since, Detail: "the agent stops; " + d.memory.Stop.Step.String()}}
	case Pending, Withdrawn, Degraded:
		if d.memory.Stop.Step != StopNone {
			first = []Reason{{Code: CodeStopping, Since: d.memory.Stop.Since, Detail: "the agent stops; " + d.memory.Stop.Step.String()}}
		}
	}
	reasons := append(first, d.checkReasons(s.Require, m.Disposition)...)
	if len(reasons) == 0 { // a level that no check explains: cannot be, and is said all the same
		return []Reason{{Code: CodeNone, Detail: "no check explains this: " + s.Require.String()}}
	}
	return reasons
}

// checkReasons names every check of the tree that is not simply passing: what
// the disposition rests on first.
func (d *decider) checkReasons(r Require, disposition Disposition) []Reason {
	var reasons []Reason
	for _, name := range r.Checks() {
		if reason, ok := d.checkReason(name); ok {
			reasons = append(reasons, reason)
		}
	}
	weight := []Code{CodeCheckFailed, CodeCheckError, CodeCheckDegraded, CodeCheckPending, CodeAdvisory}
	if disposition == Pending {
		weight = []Code{CodeCheckPending, CodeCheckFailed, CodeCheckError, CodeCheckDegraded, CodeAdvisory}
	}
	slices.SortStableFunc(reasons, func(a, b Reason) int { return slices.Index(weight, a.Code) - slices.Index(weight, b.Code) })
	return reasons
}

func (d *decider) checkReason(name string) (Reason, bool) {
	c := d.in.Checks[name]
	v := c.Verdict
	r := Reason{Subject: name, Detail: v.Detail, Since: v.Since}
	lo, hi := d.checkBounds(name)
	switch {
	case !v.ErrorSince.IsZero() && v.Outcome == vip.Fail && lo == vip.LevelFail:
		r.Code, r.Detail = CodeCheckFailed, v.Detail+"; now it cannot ask: "+v.ErrorDetail
	case !v.ErrorSince.IsZero():
		r.Code, r.Detail, r.Since = CodeCheckError, v.ErrorDetail, v.ErrorSince
	case lo != hi:
		r.Code, r.Until, r.Detail = CodeCheckPending, c.PendingUntil, "no verdict yet"
	case c.Scope == vip.ScopeAdvisory && v.Outcome != vip.Pass:
		r.Code = CodeAdvisory
	case lo == vip.LevelFail:
		r.Code = CodeCheckFailed
	case lo == vip.LevelDegraded:
		r.Code = CodeCheckDegraded
	default:
		return Reason{}, false
	}
	if v.Outcome == vip.Unknown && r.Code != CodeCheckPending && r.Detail == "" {
		r.Detail = "no verdict in time"
	}
	return r, true
}
