package agent

import (
	"maps"

	"github.com/anyvip/anyvip/pkg/event"
	"github.com/anyvip/anyvip/pkg/hook"
	"github.com/anyvip/anyvip/pkg/policy"
)

// prepared is the end of a service's pre_drain.
type prepared struct {
	service string
	which   uint64
	err     error
}

// prepare starts the pre_drains that are wanted and not under way yet, and forgets
// those that are not wanted any more.
func (l *loop) prepare() {
	wanted := make(map[string]bool, len(l.desired.Prepare))
	for _, name := range l.desired.Prepare {
		wanted[name] = true
		if _, started := l.preparing[name]; !started {
			l.startPrepare(name)
		}
	}
	for name := range l.preparing {
		if !wanted[name] {
			delete(l.preparing, name)
			l.input.Prepared = maps.Clone(l.input.Prepared)
			delete(l.input.Prepared, name)
		}
	}
}

func (l *loop) startPrepare(name string) {
	for _, s := range l.config.Services {
		if s.Name != name || s.PreDrain == nil {
			continue
		}
		l.prepares++
		which := l.prepares
		l.preparing[name] = which
		ev := hook.Event{At: l.at, Node: l.config.Node, Service: name, From: l.disposition(name).String(), To: "drain", Reason: l.reasonFor(name)}
		l.out.prepare(s.PreDrain.Command, s.PreDrain.Timeout, ev, func(err error) { l.mail.prepared(prepared{name, which, err}) })
	}
}

func (l *loop) disposition(service string) policy.Disposition {
	if m := l.desired.Memory.Services[service]; m != nil {
		return m.Disposition
	}
	return policy.Pending
}

func (l *loop) reasonFor(service string) hook.Reason {
	for _, d := range l.desired.Decisions {
		if d.Service == service {
			return hookReason(d.Reasons[0])
		}
	}
	return hook.Reason{}
}

func hookReason(r policy.Reason) hook.Reason {
	return hook.Reason{Code: r.Code.String(), Subject: r.Subject, Detail: r.Detail}
}

// takePrepared lets drains go on whose pre_drain has ended, well or not.
func (l *loop) takePrepared(list []prepared) (decide bool) {
	for _, p := range list {
		if l.preparing[p.service] != p.which {
			continue // of a drain that was taken back
		}
		if p.err != nil {
			l.record(event.Record{Kind: event.KindService, Name: p.service, To: "pre_drain failed", Reason: p.err.Error()})
		}
		l.input.Prepared = maps.Clone(l.input.Prepared)
		if l.input.Prepared == nil {
			l.input.Prepared = map[string]bool{}
		}
		l.input.Prepared[p.service] = true
		decide = true
	}
	return decide
}
