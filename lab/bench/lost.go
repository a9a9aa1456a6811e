package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/anyvip/anyvip/lab"
	"github.com/anyvip/anyvip/lab/feed"
	"github.com/anyvip/anyvip/lab/load"
)

// loadRate is new connections per second while something happens.
const loadRate = 200

// happening is something that happens to s1 while a client opens connections, and how it ends.
type happening struct {
	name       string
	needsCheck bool   // only a speaker with a check of its own sees it
	by         string // only this speaker needs it; empty: all are compared
	begin      func(ctx context.Context, s *site) error
	repair     func(ctx context.Context, s *site) error
}

// politeStop is the place of the first happening.
const politeStop = 0

var happenings = [4]happening{
	{
		name:   "polite stop",
		begin:  stopAndKillWeb,
		repair: startBoth,
	},
	{
		name: "withdrawn by hand, SIGTERM 1 s later",
		by:   bird.name,
		begin: func(ctx context.Context, s *site) error {
			if _, err := output(ctx, s.lab, "s1", "birdc -s /run/bird/bird.ctl disable vips"); err != nil {
				return err
			}
			if err := wait(ctx, time.Second); err != nil {
				return err
			}
			return stopAndKillWeb(ctx, s)
		},
		repair: startBoth,
	},
	{name: "kill -9 of the service", needsCheck: true, begin: killWeb, repair: startWebAgain},
	{
		name:   "kill -9 of the speaker",
		begin:  func(_ context.Context, s *site) error { return s.lab.Daemon("s1").Kill() },
		repair: func(ctx context.Context, s *site) error { return s.lab.Daemon("s1").Start(ctx) },
	},
}

func stopAndKillWeb(ctx context.Context, s *site) error {
	if err := s.lab.Daemon("s1").Stop(ctx); err != nil {
		return err
	}
	return killWeb(ctx, s)
}

func startBoth(ctx context.Context, s *site) error {
	return errors.Join(startWebAgain(ctx, s), s.lab.Daemon("s1").Start(ctx))
}

func killWeb(ctx context.Context, s *site) error {
	_, err := output(ctx, s.lab, "s1", "kill -9 $(cat /run/web.pid)")
	return err
}

func startWebAgain(ctx context.Context, s *site) error {
	return s.lab.Command(ctx, "s1", startWeb("s1")...).Run()
}

// losers are the speakers that are compared. BIRD announces as long as it runs, without a check.
var losers = []speaker{anyvipChecking, exabgpChecking, birdAlways}

// lost measures how many new connections fail when something happens to one of two servers.
func (b *bench) lost(ctx context.Context) ([]table, error) {
	t := table{
		title: "New connections lost",
		method: fmt.Sprintf("Two servers behind an FRR as ToR announce one VIP; a client opens %d connections a second, each with one small request. Again and again something happens to the first server, "+
			"and is repaired. Polite stop: SIGTERM to the speaker, and the service is killed the moment the speaker has ended, as when a host shuts down; a BIRD that is asked to "+
			"withdraw first has a row of its own. Checks every second, every 200 ms while a change is "+
			"pending, fall 2. BIRD has no check: while a service is dead it announces on, so that is not measured. Moved: the connection was open in the moment in which the ToR changed its next hops, "+
			"and was reset because its packets came to the other server; no speaker can help that. Away: from the event to the ToR's route without the server.", loadRate),
		columns: []string{"Event", "Server", "times", "requests", "lost", "of them moved", "lost each p50", "max", "away p50 ms", "max"},
	}
	var errs failures
	var rows [len(happenings)][][]string // by happening, to stand together
	for _, sp := range losers[:b.Size.losers] {
		if errs.stop(ctx, b.loseAll(ctx, sp, &rows)) {
			return nil, ctx.Err()
		}
	}
	for _, r := range rows {
		t.rows = append(t.rows, r...)
	}
	return []table{t}, errs.join()
}

// loseAll lets everything happen to one kind of server.
func (b *bench) loseAll(ctx context.Context, sp speaker, rows *[len(happenings)][][]string) error {
	var errs failures
	for i, h := range happenings {
		requests := b.Size.deaths
		if i == politeStop {
			requests = b.Size.stops
		}
		if requests == 0 || h.needsCheck && sp.name == bird.name || h.by != "" && h.by != sp.name {
			continue
		}
		var l loss
		err := b.twice(ctx, fmt.Sprintf("lost: %s, %s, %s requests or more", sp.name, h.name, count(requests)), func() (err error) {
			l, err = b.lose(ctx, sp, h, requests)
			return err
		})
		if errs.stop(ctx, err) {
			return ctx.Err()
		}
		if err != nil {
			continue
		}
		rows[i] = append(rows[i], []string{h.name, sp.name, count(len(l.each)), count(l.requests), count(l.failed), count(l.moved), count(l.each.at(50)), count(l.each.at(100)),
			millis(l.away.at(50)), millis(l.away.at(100))})
		if i == politeStop && sp.name == anyvip.name {
			b.targets = append(b.targets, target{what: "polite stop, new connections lost", limit: "0",
				measured: fmt.Sprintf("%s of %s, of them %s moved", count(l.failed), count(l.requests), count(l.moved)), met: l.failed == 0,
				why: "Moved ones were open at the instant in which the ToR spread anew."})
		}
	}
	return errs.join()
}

// loss is what one happening, several times, cost.
type loss struct {
	each     sample[int] // failed requests, each time
	requests int         // all of the run
	failed   int         // all of the run
	moved    int         // those of the failed ones that were open when the ToR changed its next hops
	away     durations   // from the happening to the ToR's route without s1
}

// lose brings two servers and a client up and lets h happen again and again until the client has made so many
// requests, once at least.
func (b *bench) lose(ctx context.Context, sp speaker, h happening, requests int) (l loss, err error) {
	s, err := b.up(ctx, plan{speaker: sp, tor: torFRR, vips: 1, servers: 2, client: true})
	if err != nil {
		return l, err
	}
	defer s.down(&err)
	if err := s.whole(ctx, soon); err != nil {
		return l, err
	}
	client := s.lab.Command(ctx, "client", "anyvip-lab", "load", "--target", "http://"+addresses(1)[0].Addr().String()+"/", "--rate", strconv.Itoa(loadRate))
	events, err := feed.Follow(client, &client.Stdout, load.Decode)
	if err != nil {
		return l, err
	}
	s.follow(events.Done())
	ready, err := events.Wait(ctx, soon, "the client is ready", func(e load.Event) bool { return e.Kind == load.Ready })
	if err != nil {
		return l, err
	}
	enough := ready.Time.Add(time.Duration(requests) * time.Second / loadRate)
	for len(l.each) == 0 || time.Now().Before(enough) {
		from := time.Now()
		gone, err := s.once(ctx, h)
		if err != nil {
			return l, err
		}
		l.away = append(l.away, gone.Sub(from))
		l.each = append(l.each, len(events.All(func(e load.Event) bool { return e.Kind == load.Result && e.Request.Due.After(from) })))
	}
	return l, l.end(ctx, s, client, events)
}

// whole waits until the ToR spreads over all servers.
func (s *site) whole(ctx context.Context, limit time.Duration) error {
	if _, err := s.settle(ctx, inFIB, true, time.Time{}, limit); err != nil {
		return err
	}
	for end := time.Now().Add(limit); ; {
		out, err := output(ctx, s.lab, "tor", "ip route show "+addresses(1)[0].String())
		switch {
		case err != nil:
			return err
		case strings.Count(out, "nexthop") == s.servers:
			return nil
		case time.Now().After(end):
			return s.explain(fmt.Errorf("the ToR does not spread over %d servers within %s: %q", s.servers, limit, out))
		}
		if err := wait(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
}

// once lets h happen, repairs, and returns when the ToR's route was without s1.
func (s *site) once(ctx context.Context, h happening) (gone time.Time, err error) {
	from := time.Now()
	if err := h.begin(ctx, s); err != nil {
		return gone, err
	}
	away, err := s.settle(ctx, inFIB, false, from, soon)
	if err != nil {
		return gone, err
	}
	if err := wait(ctx, time.Second); err != nil { // late failures count too
		return gone, err
	}
	again := time.Now()
	if err := h.repair(ctx, s); err != nil {
		return gone, err
	}
	if _, err = s.settle(ctx, inFIB, true, again, soon); err != nil {
		return gone, err
	}
	return away.Time, wait(ctx, time.Second)
}

// end stops the client and adds up.
func (l *loss) end(ctx context.Context, s *site, client *lab.Cmd, events *feed.Feed[load.Event]) error {
	if err := client.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	e, err := events.Wait(ctx, soon, "the client's summary", func(e load.Event) bool { return e.Kind == load.Summed })
	if err != nil {
		return err
	}
	<-events.Done()
	if n := e.Summary.Failures[load.Local]; n > 0 {
		return fmt.Errorf("the client itself could not ask %d times: the measurement is void", n)
	}
	l.requests, l.failed = e.Summary.Requests, e.Summary.Failed
	changes := s.gauge.All(func(r reading) bool { return r.Where == inFIB })
	l.moved = len(events.All(func(e load.Event) bool { return e.Kind == load.Result && moved(e.Request, changes) }))
	return nil
}

// moved says whether a connection was open when the ToR changed its next hops, and was reset: its packets came to
// another server in the middle.
func moved(r *load.Request, changes []reading) bool {
	return r.Failure == load.Reset && slices.ContainsFunc(changes, func(c reading) bool {
		return r.Started.Before(c.Time) && r.Ended.After(c.Time.Add(-noticed))
	})
}

// noticed is how late the gauge may see a change of the ToR's kernel.
const noticed = time.Millisecond
