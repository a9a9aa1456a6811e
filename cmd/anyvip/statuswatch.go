package main

import (
	"context"
	"fmt"
	"io"
	"iter"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/anyvip/anyvip/pkg/api"
	anyvipv1 "github.com/anyvip/anyvip/pkg/api/anyvip/v1"
)

// redrawEvery keeps ages and countdowns moving on a terminal.
const redrawEvery = time.Second

// watchStatus shows states until a signal, which is no error, or the agent's
// end, which is one.
func watchStatus(ctx context.Context, client *api.Client, out screen, form string) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	if out.terminal && form != formJSON {
		return redraw(ctx, client, out, form)
	}
	return printChanges(client.Watch(ctx), out, form)
}

// printChanges prints each state that differs from the one before.
func printChanges(states iter.Seq2[*anyvipv1.Status, error], out screen, form string) error {
	var before *anyvipv1.Status
	for s, err := range states {
		if err != nil {
			return err
		}
		now := essence(s)
		if before != nil && proto.Equal(before, now) {
			continue
		}
		text, err := renderChange(s, form, out, before == nil)
		if err != nil {
			return err
		}
		if _, err := io.WriteString(out, text); err != nil {
			return err
		}
		before = now
	}
	return nil
}

// renderChange is one line of JSON, or a block after an empty line.
func renderChange(s *anyvipv1.Status, form string, out screen, first bool) (string, error) {
	if form == formJSON {
		return renderJSON(s, "")
	}
	text := renderTables(s, form == formWide, out, time.Now())
	if !first {
		text = "\n" + text
	}
	return text, nil
}

// essence is what makes a change: all but counts and the latest probes.
func essence(s *anyvipv1.Status) *anyvipv1.Status {
	e := proto.CloneOf(s)
	e.Serial, e.At, e.Counters = 0, nil, nil
	for _, c := range e.GetChecks() {
		c.Last, c.Probes = nil, 0
	}
	return e
}

// redraw fills a terminal with the latest state again and again. A goroutine
// reads, so that time goes on between two states; redraw waits for its end.
func redraw(ctx context.Context, client *api.Client, out screen, form string) error {
	ctx, cancel := context.WithCancel(ctx)
	states, ended := make(chan *anyvipv1.Status), make(chan error, 1)
	var reading sync.WaitGroup
	reading.Go(func() {
		for s, err := range client.Watch(ctx) {
			if err != nil {
				ended <- err
				return
			}
			select {
			case states <- s:
			case <-ctx.Done():
			}
		}
		ended <- nil
	})

	tick := time.NewTicker(redrawEvery)
	defer tick.Stop()
	err := drawEach(states, ended, tick.C, func(s *anyvipv1.Status, now time.Time) error {
		return out.redraw(renderTables(s, form == formWide, out.sized(), now))
	})
	cancel()
	reading.Wait()
	return err
}

// drawEach draws each state, and the latest again at each tick, until ended.
func drawEach(states <-chan *anyvipv1.Status, ended <-chan error, tick <-chan time.Time, draw func(*anyvipv1.Status, time.Time) error) error {
	var latest *anyvipv1.Status
	for {
		select {
		case err := <-ended:
			return err
		case latest = <-states:
		case <-tick:
			if latest == nil {
				continue
			}
		}
		if err := draw(latest, time.Now()); err != nil {
			return err
		}
	}
}

// redraw writes text over what is on the terminal, cut to its height.
func (s screen) redraw(text string) error {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if _, height := s.size(); height > 1 && len(lines) >= height {
		left := len(lines) - height + 2
		lines = append(lines[:height-2], fmt.Sprintf("... and %d lines more", left))
	}
	const home, toEndOfLine, toEnd = "\x1b[H", "\x1b[K", "\x1b[J"
	_, err := io.WriteString(s, home+strings.Join(lines, toEndOfLine+"\n")+toEndOfLine+"\n"+toEnd)
	return err
}
