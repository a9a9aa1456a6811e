package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/anyvip/anyvip/checks"
	"github.com/anyvip/anyvip/pkg/api"
	"github.com/anyvip/anyvip/pkg/config"
	"github.com/anyvip/anyvip/pkg/event"
	"github.com/anyvip/anyvip/pkg/intent"
	"github.com/anyvip/anyvip/pkg/policy"
	"github.com/anyvip/anyvip/pkg/vip"
)

// wish is a client's Command on its way through the loop. answer is called once,
// from any goroutine, and does not block.
type wish struct {
	command api.Command
	answer  func(api.Reply, error)
}

// commander hands what clients want to the loop.
type commander struct{ mail *mailbox }

// Do implements api.Commander.
func (c commander) Do(ctx context.Context, command api.Command) (api.Reply, error) {
	type answer struct {
		reply api.Reply
		err   error
	}
	answered := make(chan answer, 1)
	c.mail.wish(wish{command, func(r api.Reply, err error) { answered <- answer{r, err} }})
	select {
	case a := <-answered:
		return a.reply, a.err
	case <-ctx.Done():
		return api.Reply{}, ctx.Err()
	}
}

// grant does what a client wants, or says why not.
func (l *loop) grant(w wish) {
	if l.input.Phase >= policy.Stopping {
		w.answer(api.Reply{}, errors.New("the agent is stopping"))
		return
	}
	reply := api.Reply{At: l.at}
	switch c := w.command.(type) {
	case api.Probe:
		if l.checks[c.Check] == nil {
			w.answer(reply, api.Unknown("check", c.Check, config.Nearest(c.Check, sorted(l.checks))))
			return
		}
		if l.checks[c.Check].config.Told() {
			w.answer(reply, errors.New("check "+c.Check+" is of kind heartbeat: the application reports, and nobody is asked"))
			return
		}
		l.out.wake(c.Check, vip.TriggerRequest, false)
		w.answer(reply, nil)
	case api.Drain:
		l.grantDrain(c, reply, w.answer)
	case api.Undrain:
		l.grantUndrain(c, reply, w.answer)
	case api.Heartbeat:
		w.answer(reply, l.takeHeartbeat(c))
	}
}

// takeHeartbeat hands a report to its check, if that is who may report.
func (l *loop) takeHeartbeat(c api.Heartbeat) error {
	k := l.checks[c.Check]
	if k == nil {
		return api.Unknown("check", c.Check, config.Nearest(c.Check, sorted(l.checks)))
	}
	h, ok := k.config.Kind.(*checks.Heartbeat)
	if !ok {
		return api.NotThere("check " + c.Check + " is of kind " + k.config.KindName() + ", which asks by itself; only heartbeat takes reports")
	}
	if !c.Actor.Operator && !slices.Contains(h.Users, c.Actor.Name) {
		return fmt.Errorf("%w: user %s may not report for check %s; its users and api.operators may", api.ErrForbidden, c.Actor, c.Check)
	}
	l.out.report(c.Check, checks.Report{At: l.at, Outcome: c.Outcome, Detail: c.Detail})
	return nil
}

func (l *loop) grantDrain(c api.Drain, reply api.Reply, answer func(api.Reply, error)) {
	if c.Service != "" && !l.knows(c.Service) {
		answer(reply, l.unknownService(c.Service))
		return
	}
	_, reply.Replaced = l.asked[c.Service]
	err := l.out.drain(intent.Drain{Service: c.Service, Force: c.Force, Reason: c.Reason, Actor: c.Actor.Name, At: l.at, Left: c.For}, func(err error) {
		if err != nil {
			reply.Warning = "it will not survive a restart of the agent: " + err.Error()
		}
		l.mail.answer(func() { answer(reply, nil) })
	})
	if err != nil {
		answer(reply, fmt.Errorf("%w: %w", api.ErrBusy, err))
		return
	}
	l.recordWish(c.Service, "drain asked for", c.Actor.Name, c.Reason)
}

func (l *loop) grantUndrain(c api.Undrain, reply api.Reply, answer func(api.Reply, error)) {
	_, node := l.input.Drains[""]
	if _, there := l.asked[c.Service]; !there {
		what := "service " + c.Service
		switch {
		case c.Service == "":
			what = "this node"
		case !l.knows(c.Service):
			answer(reply, l.unknownService(c.Service))
			return
		}
		text := what + " is not drained"
		if node && c.Service != "" {
			text += " by itself; the node is: anyvip undrain --node"
		}
		if c.Service == "" && l.drainFile.there {
			text = "this node is drained by drain_file; remove " + l.config.DrainFile
		}
		answer(reply, api.NotThere(text))
		return
	}
	if c.Service == "" && l.drainFile.there {
		reply.Warning = "drain_file is there too, so the node stays off; remove " + l.config.DrainFile
	}
	if node && c.Service != "" {
		reply.Warning = "the node is drained too, so it stays off: anyvip undrain --node"
	}
	err := l.out.undrain(c.Service, func(err error) {
		if err != nil {
			reply.Warning = "a restart of the agent would bring the drain back: " + err.Error()
		}
		l.mail.answer(func() { answer(reply, nil) })
	})
	if err != nil {
		answer(reply, fmt.Errorf("%w: %w", api.ErrBusy, err))
		return
	}
	l.recordWish(c.Service, "undrain asked for", c.Actor.Name, "")
}

func (l *loop) unknownService(name string) error {
	var names []string
	for _, s := range l.config.Services {
		names = append(names, s.Name)
	}
	return api.Unknown("service", name, config.Nearest(name, names))
}

func (l *loop) knows(service string) bool {
	for _, s := range l.config.Services {
		if s.Name == service {
			return true
		}
	}
	return false
}

func (l *loop) recordWish(service, what, actor, reason string) {
	r := event.Record{Kind: event.KindService, Name: service, To: what, Reason: "by " + actor}
	if service == "" {
		r.Kind, r.Name = event.KindAgent, l.config.Node
	}
	if reason != "" {
		r.Reason += ": " + reason
	}
	l.record(r)
}
