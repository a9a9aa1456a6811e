package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"os/signal"
	"syscall"

	"github.com/anyvip/anyvip/pkg/api"
	anyvipv1 "github.com/anyvip/anyvip/pkg/api/anyvip/v1"
)

// waitForDrain follows a drain that the agent has taken, until it is done. Whatever
// ends it before that is an error.
func waitForDrain(ctx context.Context, client *api.Client, out io.Writer, service string) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := followDrain(client.Watch(ctx), out, service)
	if ctx.Err() != nil && errors.Is(err, errUnfinished) {
		return fmt.Errorf("interrupted; the drain of %s stays, and goes on", subject(service))
	}
	return err
}

// errUnfinished is a watch that ended without saying why.
var errUnfinished = errors.New("the agent says no more")

// followDrain prints each step of each service concerned, until all are done.
func followDrain(states iter.Seq2[*anyvipv1.Status, error], out io.Writer, service string) error {
	w := drainWait{service: service, steps: map[string]anyvipv1.DrainStep_Enum{}}
	for s, err := range states {
		if err != nil {
			return fmt.Errorf("the drain of %s is not done: %w", subject(service), err)
		}
		text, done, err := w.take(s)
		if _, werr := io.WriteString(out, text); err == nil {
			err = werr
		}
		if done || err != nil {
			return err
		}
	}
	return fmt.Errorf("the drain of %s is not done: %w", subject(service), errUnfinished)
}

// drainWait is what was seen of a drain that somebody waits for.
type drainWait struct {
	service string                             // empty: the node
	intent  *anyvipv1.DrainIntent              // as it was seen last
	steps   map[string]anyvipv1.DrainStep_Enum // that were printed, by service
}

// take is what is new in a Status, in lines, and whether all is done.
func (w *drainWait) take(s *anyvipv1.Status) (lines string, done bool, err error) {
	intent := drainOf(s, w.service)
	if intent == nil {
		return "", false, w.gone(s)
	}
	w.intent = intent
	services := s.GetServices()
	if w.service != "" {
		x := serviceNamed(s, w.service)
		if x == nil {
			return "", false, fmt.Errorf("service %s is not configured any more; its drain stays", w.service)
		}
		services = []*anyvipv1.Service{x}
	}
	done = true
	for _, x := range services {
		step := drained(x)
		done = done && step == anyvipv1.DrainStep_DONE
		if step != anyvipv1.DrainStep_UNSPECIFIED && step != w.steps[x.GetName()] {
			w.steps[x.GetName()] = step
			lines += fmt.Sprintf("%s: %s\n", printable(x.GetName()), clock{s.GetAt().AsTime()}.drainStep(step, x.GetDrain()))
		}
	}
	return lines, done, nil
}

// drained is the step of a service's drain. It is not done before no peer has the
// route: what comes next may be a reboot.
func drained(s *anyvipv1.Service) anyvipv1.DrainStep_Enum {
	d := s.GetDrain()
	if d.GetStep() == anyvipv1.DrainStep_DONE && d.GetRouted() {
		return anyvipv1.DrainStep_UNSPECIFIED
	}
	return d.GetStep()
}

// gone says why a drain is in force no more.
func (w *drainWait) gone(s *anyvipv1.Status) error {
	if u := w.intent.GetUntil(); u != nil && !s.GetAt().AsTime().Before(u.AsTime()) {
		return fmt.Errorf("the drain of %s has ended before it was done: its --for is over", subject(w.service))
	}
	return fmt.Errorf("the drain of %s was taken back before it was done", subject(w.service))
}

// drainOf is the drain of a service, or of the node; nil if none is in force.
func drainOf(s *anyvipv1.Status, service string) *anyvipv1.DrainIntent {
	for _, d := range s.GetDrains() {
		if d.GetService() == service {
			return d
		}
	}
	return nil
}

// drainStep is a step of a drain: the word, and what is to be known of it.
func (k clock) drainStep(step anyvipv1.DrainStep_Enum, d *anyvipv1.Drain) string {
	text := word(step)
	if step == anyvipv1.DrainStep_QUIET && d.Receiving != nil {
		text += fmt.Sprintf("; %d of %d connections still receive", d.GetReceiving(), d.GetOpen())
	}
	if by := d.GetWithdrawnBy(); by != nil {
		text += k.in("; withdrawn", by) + " at the latest"
	}
	return text
}
