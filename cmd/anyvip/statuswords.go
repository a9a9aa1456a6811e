package main

import (
	"fmt"
	"math"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	anyvipv1 "github.com/anyvip/anyvip/pkg/api/anyvip/v1"
)

// clock says times relative to now.
type clock struct{ now time.Time }

// reason is a Reason as a sentence.
func (k clock) reason(r *anyvipv1.Reason) string {
	about := r.GetSubject() + ": "
	switch code := r.GetCode(); code {
	case anyvipv1.ReasonCode_HEALTHY:
		return "every required check passes"
	case anyvipv1.ReasonCode_NOT_REQUIRED:
		return "it requires no check"
	case anyvipv1.ReasonCode_STARTING:
		return "the first round of checks is not over"
	case anyvipv1.ReasonCode_STOPPING, anyvipv1.ReasonCode_NO_PEER, anyvipv1.ReasonCode_NONE:
		if r.GetDetail() != "" {
			return r.GetDetail()
		}
		return strings.ToLower(code.String())
	case anyvipv1.ReasonCode_CHECK_PENDING:
		return "check " + r.GetSubject() + " has no verdict yet" + k.in("; it counts as failed", r.GetUntil())
	case anyvipv1.ReasonCode_CHECK_FAILED:
		return k.state("check "+r.GetSubject()+" fails", r)
	case anyvipv1.ReasonCode_CHECK_DEGRADED:
		return k.state("check "+r.GetSubject()+" lowers it", r)
	case anyvipv1.ReasonCode_CHECK_ERROR:
		return k.state("check "+r.GetSubject()+" cannot ask", r)
	case anyvipv1.ReasonCode_ADVISORY:
		return k.state("advisory check "+r.GetSubject()+" does not pass", r)
	case anyvipv1.ReasonCode_RECOVERY_DELAY:
		return "healthy again" + k.in("; announced", r.GetUntil())
	case anyvipv1.ReasonCode_START_DELAY:
		return "healthy, but the host has booted only just now" + k.in("; announced", r.GetUntil())
	case anyvipv1.ReasonCode_OVERLOAD:
		return k.state("timeouts of check "+r.GetSubject()+" are absorbed", r)
	case anyvipv1.ReasonCode_DRAINING:
		return "draining: " + r.GetDetail() + k.in("; withdrawn", r.GetUntil()) + " at the latest"
	case anyvipv1.ReasonCode_DRAINED:
		return k.state("drained", r) + k.in("; ends", r.GetUntil())
	case anyvipv1.ReasonCode_ADDRESS_UNKNOWN:
		return about + "this host was not looked at yet"
	case anyvipv1.ReasonCode_ADDRESS_ABSENT:
		return k.state(about+"not usable on this host", r)
	case anyvipv1.ReasonCode_ADDRESS_TENTATIVE:
		return k.state(about+"still tentative", r)
	case anyvipv1.ReasonCode_ADDRESS_UNSTABLE:
		return about + r.GetDetail() + k.in("; tried again", r.GetUntil())
	case anyvipv1.ReasonCode_ADDRESS_REFUSED:
		return k.state(about+"may not be here", r)
	case anyvipv1.ReasonCode_SESSION_DOWN:
		return k.state(about+"session down", r)
	case anyvipv1.ReasonCode_FAMILY_MISSING, anyvipv1.ReasonCode_NO_NEXT_HOP6:
		return about + r.GetDetail()
	case anyvipv1.ReasonCode_NOT_SENT:
		return about + "not sent yet"
	case anyvipv1.ReasonCode_BACKUP:
		return strings.TrimSpace(r.GetSubject() + " " + r.GetDetail())
	case anyvipv1.ReasonCode_NO_SUCCESSOR, anyvipv1.ReasonCode_LINK, anyvipv1.ReasonCode_NOT_OWNER, anyvipv1.ReasonCode_OFF_SEGMENT, anyvipv1.ReasonCode_ROUTER:
		return about + r.GetDetail()
	case anyvipv1.ReasonCode_RIVAL:
		return about + "at odds: " + r.GetDetail()
	case anyvipv1.ReasonCode_FALLBACK:
		return k.state("fallback to "+r.GetSubject(), r) + k.in("; over", r.GetUntil())
	case anyvipv1.ReasonCode_UNSPECIFIED:
	}
	return fmt.Sprintf("reason %s %s%s", r.GetCode(), about, r.GetDetail()) // of a newer agent
}

// state is what holds, for how long, and the detail.
func (k clock) state(what string, r *anyvipv1.Reason) string {
	if r.GetSince() != nil {
		what += " for " + k.age(r.GetSince())
	}
	if r.GetDetail() != "" {
		what += ": " + r.GetDetail()
	}
	return what
}

// in is what happens at a time to come; nothing without one.
func (k clock) in(what string, t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	left := math.Ceil(max(t.AsTime().Sub(k.now), 0).Seconds())
	return what + " in " + short(time.Duration(left)*time.Second)
}

// age is how long ago t was; empty for no time.
func (k clock) age(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return short(max(k.now.Sub(t.AsTime()), 0))
}

// short writes a duration in its two largest units.
func short(d time.Duration) string {
	const day = 24 * time.Hour
	switch s := d.Truncate(time.Second); {
	case s < time.Minute:
		return fmt.Sprintf("%ds", s/time.Second)
	case s < time.Hour:
		return fmt.Sprintf("%dm%02ds", s/time.Minute, s%time.Minute/time.Second)
	case s < day:
		return fmt.Sprintf("%dh%02dm", s/time.Hour, s%time.Hour/time.Minute)
	default:
		return fmt.Sprintf("%dd%02dh", s/day, s%day/time.Hour)
	}
}

// latency writes a duration with three digits.
func latency(p *durationpb.Duration) string {
	d := p.AsDuration()
	switch {
	case d < time.Microsecond:
		return d.String()
	case d < time.Millisecond:
		return fmt.Sprintf("%.3gµs", float64(d)/float64(time.Microsecond))
	case d < time.Second:
		return fmt.Sprintf("%.3gms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%.3gs", d.Seconds())
}

// word is an enum's value as people write it.
func word(v fmt.Stringer) string { return strings.ToLower(v.String()) }

// stateWord writes the state of a session as RFC 4271 does.
func stateWord(s fmt.Stringer) string {
	var b strings.Builder
	for part := range strings.SplitSeq(s.String(), "_") {
		b.WriteString(part[:1] + strings.ToLower(part[1:]))
	}
	return b.String()
}
