package checks

import (
	"errors"
	"fmt"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

// Heartbeat does not ask: the application reports over the API how it is, and silence
// for TTL fails. A probe is a look at the latest report: one when it comes, and then one
// each interval until the next report. There is no faster pace, since a report that is
// looked at more often says no more.
type Heartbeat struct {
	TTL   time.Duration `yaml:"ttl" doc:"silence for so long fails, at each interval from then on, 100ms to 1h"`
	Users []string      `yaml:"users" doc:"who may report, besides root and api.operators; they need api.group to connect"`
}

// Report is what an application says of itself.
type Report struct {
	At      time.Time
	Outcome vip.Outcome // Pass, Degraded or Fail
	Detail  string
}

// Describe returns heartbeat, and how often one is due.
func (h *Heartbeat) Describe() (name, target string) {
	return "heartbeat", fmt.Sprintf("a report each %s", h.TTL)
}

// Validate finds what is wrong.
func (h *Heartbeat) Validate() []vip.Problem {
	return within("ttl", h.TTL, 100*time.Millisecond, time.Hour, "100ms to 1h")
}

// Checker returns an error: the Runner, which has the reports, judges by itself.
func (h *Heartbeat) Checker() (Checker, error) { return nil, errors.New("nobody is asked") }

// judge is what a look at the latest report finds, where reports could be taken since
// a time. Before the first one it finds nothing, until that is overdue.
func (h *Heartbeat) judge(r Report, since, now time.Time) vip.Result {
	silent := now.Sub(later(r.At, since))
	switch {
	case silent >= h.TTL && r.At.IsZero():
		return vip.Result{Outcome: vip.Fail, Class: vip.ClassTimeout, Detail: fmt.Sprintf("no report yet, for %s", silent.Truncate(time.Millisecond))}
	case silent >= h.TTL:
		return vip.Result{Outcome: vip.Fail, Class: vip.ClassTimeout, Detail: fmt.Sprintf("no report for %s, and ttl is %s", silent.Truncate(time.Millisecond), h.TTL)}
	case r.At.IsZero():
		return vip.Result{}
	}
	out := vip.Result{Outcome: r.Outcome, Detail: r.Detail}
	if r.Outcome != vip.Pass {
		out.Class = vip.ClassStatus
	}
	return out
}
