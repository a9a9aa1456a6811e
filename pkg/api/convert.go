package api

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	anyvipv1 "github.com/anyvip/anyvip/pkg/api/anyvip/v1"
	"github.com/anyvip/anyvip/pkg/event"
	"github.com/anyvip/anyvip/pkg/policy"
	"github.com/anyvip/anyvip/pkg/status"
	"github.com/anyvip/anyvip/pkg/vip"
)

// statusOf is a Snapshot in the words of the protocol.
func statusOf(s *status.Snapshot) *anyvipv1.Status {
	out := &anyvipv1.Status{
		Serial:    s.Serial,
		At:        timeOf(s.At),
		Node:      text(s.Node),
		Version:   text(s.Version),
		Started:   timeOf(s.Started),
		Phase:     enum[anyvipv1.Phase_Enum](s.Phase),
		Services:  each(s.Desired.Decisions, serviceOf),
		Checks:    each(s.Checks, func(c status.Check) *anyvipv1.Check { return checkOf(c, s.Input.Checks[c.Name]) }),
		Sessions:  each(s.Peers, func(p status.Peer) *anyvipv1.Session { return sessionOf(p, s) }),
		Addresses: addressesOf(s.Input.Addresses),
		Events:    each(s.Events, eventOf),
		DefaultRoutes: each(s.Input.Defaults, func(r vip.DefaultRoute) *anyvipv1.DefaultRoute {
			return &anyvipv1.DefaultRoute{Family: enum[anyvipv1.Family_Enum](r.Family), NextHops: each(r.NextHops, addressText), Detail: text(r.Detail)}
		}),
		IntentsWarning: text(s.Intents),
		Hooks: each(s.Hooks, func(h status.Hook) *anyvipv1.Hook {
			return &anyvipv1.Hook{Name: text(h.Name), Runs: h.Runs, Failed: h.Failed, Dropped: h.Dropped, LastFailure: text(h.Last)}
		}),
		Drains:   drainsOf(s.Input),
		Routers:  routersOf(s.Input.Routers),
		Counters: &anyvipv1.Counters{Decisions: s.Counters.Decisions, AddressAdds: s.Counters.AddressAdds},
	}
	if !s.Reload.At.IsZero() {
		out.Reload = &anyvipv1.Reload{At: timeOf(s.Reload.At), Error: text(s.Reload.Error)}
	}
	return out
}

// drainsOf are the drains in force, sorted: the node's, of the empty name, is the first.
func drainsOf(in policy.Input) []*anyvipv1.DrainIntent {
	var out []*anyvipv1.DrainIntent
	for _, name := range slices.Sorted(maps.Keys(in.Drains)) {
		if d := in.Drains[name]; d.InForce(in.Now) {
			out = append(out, drainIntentOf(name, d))
		}
	}
	return out
}

func serviceOf(d policy.Decision) *anyvipv1.Service {
	return &anyvipv1.Service{
		Name:        text(d.Service),
		Disposition: enum[anyvipv1.Disposition_Enum](d.Disposition),
		Level:       enum[anyvipv1.Level_Enum](d.Level),
		Since:       timeOf(d.Since),
		Reasons:     each(d.Reasons, reasonOf),
		Addresses: each(d.Addresses, func(a policy.AddressDecision) *anyvipv1.ServiceAddress {
			return &anyvipv1.ServiceAddress{Prefix: a.Prefix.String(), Wanted: a.Wanted,
				SentTo: each(a.SentTo, text), Reasons: each(a.Reasons, reasonOf)}
		}),
		Drain: drainOf(d.Drain),
	}
}

func reasonOf(r policy.Reason) *anyvipv1.Reason {
	return &anyvipv1.Reason{
		Code:    enum[anyvipv1.ReasonCode_Enum](r.Code),
		Subject: text(r.Subject),
		Detail:  text(r.Detail),
		Since:   timeOf(r.Since),
		Until:   timeOf(r.Until),
	}
}

func drainIntentOf(service string, d policy.Drain) *anyvipv1.DrainIntent {
	return &anyvipv1.DrainIntent{Service: text(service), Node: service == "", Force: d.Force, Reason: text(d.Reason), Actor: text(d.Actor),
		Since: timeOf(d.Since), Until: timeOf(d.Until)}
}

// drainOf is nil without a drain.
func drainOf(p *policy.DrainProgress) *anyvipv1.Drain {
	if p == nil {
		return nil
	}
	out := &anyvipv1.Drain{Step: enum[anyvipv1.DrainStep_Enum](p.Step), Since: timeOf(p.Since), Intent: drainIntentOf(p.Service, p.Drain),
		WithdrawnBy: timeOf(p.WithdrawnBy), Routed: p.Routed}
	if p.Counted {
		out.Open, out.Receiving = proto.Uint32(uint32(p.Open)), proto.Uint32(uint32(p.Receiving))
	}
	return out
}

func checkOf(c status.Check, p policy.Check) *anyvipv1.Check {
	v := p.Verdict
	out := &anyvipv1.Check{
		Name:        text(c.Name),
		Kind:        text(c.Kind),
		Target:      text(c.Target),
		Scope:       enum[anyvipv1.Scope_Enum](p.Scope),
		Outcome:     enum[anyvipv1.Outcome_Enum](v.Outcome),
		Since:       timeOf(v.Since),
		Class:       enum[anyvipv1.Class_Enum](v.Class),
		Detail:      text(v.Detail),
		ErrorSince:  timeOf(v.ErrorSince),
		ErrorDetail: text(v.ErrorDetail),
		Probes:      c.Probes,
		Pending:     p.Pending,
		Warning:     text(c.Warning),

		OverloadedSince: timeOf(v.Overloaded),
	}
	if r := c.Last; !r.At.IsZero() {
		out.Last = &anyvipv1.Result{
			At:      timeOf(r.At),
			Outcome: enum[anyvipv1.Outcome_Enum](r.Outcome),
			Class:   enum[anyvipv1.Class_Enum](r.Class),
			Detail:  text(r.Detail),
			Latency: durationpb.New(r.Latency),
			Trigger: enum[anyvipv1.Trigger_Enum](r.Trigger),
		}
	}
	return out
}

func sessionOf(p status.Peer, from *status.Snapshot) *anyvipv1.Session {
	s := from.Desired.Shown[p.Name]
	out := &anyvipv1.Session{
		Peer:      text(p.Name),
		Address:   addressText(p.Address),
		Asn:       p.ASN,
		Interface: text(p.Interface),
		State:     enum[anyvipv1.SessionState_Enum](s.State),
		Since:     timeOf(s.Since),
		Cause:     enum[anyvipv1.SessionCause_Enum](s.Cause),
		Detail:    text(s.Detail),
		Warning:   text(s.Warning),
		Flaps:     s.Flaps,
		Local:     addressText(s.Local),
		RemoteId:  addressText(s.RemoteID),
		Families: each(s.Families, func(f vip.Family) anyvipv1.Family_Enum {
			return enum[anyvipv1.Family_Enum](f)
		}),
		SentPrefixes: uint32(len(from.Input.Sent[p.Name])),
	}
	if p.Interface != "" && s.Cause != vip.CauseNoNeighbor {
		out.Address = addressText(s.Remote)
	}
	if p.ASN == 0 {
		out.Asn = s.RemoteAS
	}
	if s.HoldTime > 0 {
		out.HoldTime = durationpb.New(s.HoldTime)
	}
	return out
}

func addressesOf(m map[netip.Addr]vip.Address) []*anyvipv1.Address {
	out := make([]*anyvipv1.Address, 0, len(m))
	for _, addr := range slices.SortedFunc(maps.Keys(m), netip.Addr.Compare) {
		a := m[addr]
		out = append(out, &anyvipv1.Address{
			Address: addr.String(),
			State:   enum[anyvipv1.AddressState_Enum](a.State),
			Since:   timeOf(a.Since),
			Ours:    a.Ours,
			Link:    text(a.Link),
			Lost:    each(a.Lost, timeOf),
			Detail:  text(a.Detail),
		})
	}
	return out
}

func routersOf(m map[string]vip.VirtualRouter) []*anyvipv1.VirtualRouter {
	var out []*anyvipv1.VirtualRouter
	for _, name := range slices.Sorted(maps.Keys(m)) {
		r := m[name]
		out = append(out, &anyvipv1.VirtualRouter{
			Name:      text(r.Name),
			Interface: text(r.Interface),
			Vrid:      uint32(r.VRID),
			Family:    enum[anyvipv1.Family_Enum](r.Family),
			State:     enum[anyvipv1.RouterState_Enum](r.State),
			Since:     timeOf(r.Since),
			Cause:     enum[anyvipv1.RouterCause_Enum](r.Cause),
			By:        addressText(r.By),
			Priority:  uint32(r.Priority),
			Answers:   r.Answers,
			Addresses: each(r.Addresses, addressText),
			Others:    each(r.Others, otherRouterOf),
			Detail:    text(r.Detail),
		})
	}
	return out
}

func otherRouterOf(o vip.OtherRouter) *anyvipv1.OtherRouter {
	return &anyvipv1.OtherRouter{
		Address:  addressText(o.Addr),
		Mac:      text(o.MAC),
		Vrid:     uint32(o.VRID),
		Priority: uint32(o.Priority),
		Since:    timeOf(o.Since),
		Trouble: each(o.Trouble.Each(), func(t vip.RouterTrouble) anyvipv1.RouterTrouble_Enum {
			return enum[anyvipv1.RouterTrouble_Enum](t)
		}),
	}
}

func eventOf(r event.Record) *anyvipv1.Event {
	return &anyvipv1.Event{
		Serial: r.Serial,
		At:     timeOf(r.At),
		Kind:   enum[anyvipv1.EventKind_Enum](r.Kind),
		Name:   text(r.Name),
		From:   text(r.From),
		To:     text(r.To),
		Reason: text(r.Reason),
	}
}

// enum finds one of our words in a set of the protocol: the same word in
// capitals. A word that the set lacks becomes UNSPECIFIED; a test over all
// words sees to it that there is none.
func enum[E interface {
	~int32
	protoreflect.Enum
}](word fmt.Stringer) E {
	var zero E
	v := zero.Descriptor().Values().ByName(protoreflect.Name(capitals(word.String())))
	if v == nil {
		return zero
	}
	return E(v.Number())
}

// capitals writes not_sent as NOT_SENT, and RFC 4271's OpenSent as OPEN_SENT.
func capitals(word string) string {
	var b strings.Builder
	for i, r := range word {
		if i > 0 && unicode.IsUpper(r) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToUpper(r))
	}
	return b.String()
}

func each[S, T any](in []S, f func(S) T) []T {
	out := make([]T, len(in))
	for i, v := range in {
		out[i] = f(v)
	}
	return out
}

// timeOf leaves a zero time unset.
func timeOf(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// text makes s fit to be sent: what a probe read may be no UTF-8, and one such
// string would make the whole Status unsendable.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func addressText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
