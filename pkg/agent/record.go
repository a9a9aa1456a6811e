package agent

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/anyvip/anyvip/pkg/event"
	"github.com/anyvip/anyvip/pkg/health"
	"github.com/anyvip/anyvip/pkg/hook"
	"github.com/anyvip/anyvip/pkg/policy"
	"github.com/anyvip/anyvip/pkg/vip"
)

// record keeps an event and writes its one line to the log.
func (l *loop) record(r event.Record) {
	r.At, r.Reason = l.at, strings.ReplaceAll(r.Reason, "\n", "; ")
	l.ring.Add(r)
	attrs := []slog.Attr{slog.String(logKeys[r.Kind], r.Name)}
	if r.From != "" {
		attrs = append(attrs, slog.String("from", r.From))
	}
	attrs = append(attrs, slog.String("to", r.To))
	if r.Reason != "" {
		attrs = append(attrs, slog.String("reason", r.Reason))
	}
	l.log.LogAttrs(context.Background(), slog.LevelInfo, r.Kind.String()+" changed", attrs...)
}

// logKeys are the attributes under which a record's name is logged.
var logKeys = map[event.Kind]string{
	event.KindAgent: "node", event.KindCheck: "check", event.KindService: "service",
	event.KindSession: "peer", event.KindAddress: "vip", event.KindRoute: "route", event.KindRouter: "router",
}

func (l *loop) recordVerdict(name string, before, after health.Verdict) {
	r := event.Record{Kind: event.KindCheck, Name: name, From: before.Outcome.String(), To: after.Outcome.String(), Reason: after.Detail}
	switch {
	case before.ErrorSince.IsZero() && !after.ErrorSince.IsZero():
		r.To, r.Reason = vip.Error.String(), after.ErrorDetail
	case !before.ErrorSince.IsZero() && after.ErrorSince.IsZero():
		r.From = vip.Error.String()
	case before.Overloaded.IsZero() && !after.Overloaded.IsZero():
		r.To, r.Reason = overload, "no answer in time, which on_timeout absorbs"
	case !before.Overloaded.IsZero() && after.Overloaded.IsZero():
		r.From = overload
	}
	l.record(r)
}

// overload is the state of a check whose timeouts are absorbed.
const overload = "overload"

// recordDecisions writes down each service whose disposition changed, and tells hooks.
func (l *loop) recordDecisions(before policy.Desired) {
	old := make(map[string]policy.Disposition, len(before.Decisions))
	for _, d := range before.Decisions {
		old[d.Service] = d.Disposition
	}
	for _, d := range l.desired.Decisions {
		was, known := old[d.Service]
		if known && was == d.Disposition {
			delete(old, d.Service)
			continue
		}
		r := event.Record{Kind: event.KindService, Name: d.Service, To: d.Disposition.String(), Reason: d.Reasons[0].String()}
		if known {
			r.From = was.String()
		}
		l.record(r)
		l.out.fire(hook.Event{At: l.at, Node: l.config.Node, Service: d.Service, From: r.From, To: r.To, Reason: hookReason(d.Reasons[0])})
		delete(old, d.Service)
	}
	for _, name := range sorted(old) {
		l.record(event.Record{Kind: event.KindService, Name: name, From: old[name].String(), To: removed})
		l.out.fire(hook.Event{At: l.at, Node: l.config.Node, Service: name, From: old[name].String(), To: removed})
	}
}

// removed is the state of what is no longer in the configuration.
const removed = "removed"

// recordSessions writes down what changed of each session, and then of what is
// odd about it.
func (l *loop) recordSessions(before, after map[string]vip.Session) {
	for _, name := range sorted(after) {
		was, is := before[name], after[name]
		if sessionNews(was, is) {
			l.record(sessionRecord(was, is))
		}
		if was.Warning != is.Warning {
			l.record(warningRecord(was, is))
		}
	}
}

func sessionRecord(was, is vip.Session) event.Record {
	r := event.Record{Kind: event.KindSession, Name: is.Peer, To: is.State.String(), Reason: is.Detail}
	if r.Reason == "" && is.Cause != vip.CauseNone {
		r.Reason = is.Cause.String()
	}
	if was.State != is.State {
		r.From = was.State.String()
	}
	return r
}

func warningRecord(was, is vip.Session) event.Record {
	r := event.Record{Kind: event.KindSession, Name: is.Peer, To: is.State.String(), Reason: "warning: " + is.Warning}
	if is.Warning == "" {
		r.Reason = "warning over: " + was.Warning
	}
	return r
}

// recordRouters writes down what changed of each virtual router: its state, and who is
// at odds with it.
func (l *loop) recordRouters(before, after map[string]vip.VirtualRouter) {
	for _, name := range sorted(after) {
		was, is := before[name], after[name]
		again := was.Cause == vip.RouterNoSuccessor && is.Cause == vip.RouterNoSuccessor // it tries to go every now and then
		if was.State != is.State && !again {
			r := event.Record{Kind: event.KindRouter, Name: name, From: was.State.String(), To: is.State.String(), Reason: is.Cause.String()}
			if is.By.IsValid() {
				r.Reason += " by " + is.By.String()
			}
			l.record(r)
		}
		known := map[vip.OtherRouter]vip.RouterTrouble{}
		for _, o := range was.Others {
			known[who(o)] = o.Trouble
		}
		for _, o := range is.Others {
			if worse := o.Trouble &^ known[who(o)]; worse != 0 {
				l.record(event.Record{Kind: event.KindRouter, Name: name, To: "at odds", Reason: worse.String() + ": " + o.Addr.String() + ", MAC " + o.MAC})
			}
		}
	}
}

// who is somebody else, whatever he says.
func who(o vip.OtherRouter) vip.OtherRouter {
	return vip.OtherRouter{Addr: o.Addr, MAC: o.MAC, VRID: o.VRID}
}

// sessionNews says whether a change is worth an event: coming up, going down,
// and another cause for staying down. The steps of an attempt are none, nor
// that a session is down which nobody wants.
func sessionNews(was, is vip.Session) bool {
	if was.State == vip.Established || is.State == vip.Established {
		return was.State != is.State || was.Flaps != is.Flaps
	}
	return was.Cause != is.Cause && is.Cause != vip.CauseNone && is.Cause != vip.CauseNotWanted
}

func (l *loop) recordAddresses(before, after map[netip.Addr]vip.Address) {
	for _, a := range slices.SortedFunc(maps.Keys(after), netip.Addr.Compare) {
		was, is := before[a], after[a]
		if was.State != is.State {
			l.record(event.Record{Kind: event.KindAddress, Name: a.String(), From: was.State.String(), To: is.State.String(), Reason: is.Detail})
		}
	}
	for _, a := range slices.SortedFunc(maps.Keys(before), netip.Addr.Compare) {
		if _, still := after[a]; !still {
			l.record(event.Record{Kind: event.KindAddress, Name: a.String(), From: before[a].State.String(), To: removed})
		}
	}
}

// recordDefaults writes down each default route that goes another way than
// before, or that cannot be as it should.
func (l *loop) recordDefaults(before, after []vip.DefaultRoute) {
	old := make(map[vip.Family]vip.DefaultRoute, len(before))
	for _, r := range before {
		old[r.Family] = r
	}
	for _, is := range after {
		if was := old[is.Family]; !slices.Equal(was.NextHops, is.NextHops) || was.Detail != is.Detail {
			l.record(event.Record{Kind: event.KindRoute, Name: "default " + is.Family.String(), From: hopsText(was), To: hopsText(is), Reason: is.Detail})
		}
		delete(old, is.Family)
	}
	for _, r := range before {
		if _, gone := old[r.Family]; gone && len(r.NextHops) > 0 {
			l.record(event.Record{Kind: event.KindRoute, Name: "default " + r.Family.String(), From: hopsText(r), To: removed})
		}
	}
}

func hopsText(r vip.DefaultRoute) string {
	if len(r.NextHops) == 0 {
		return "none"
	}
	words := make([]string, len(r.NextHops))
	for i, a := range r.NextHops {
		words[i] = a.String()
	}
	return strings.Join(words, ",")
}

func sorted[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
