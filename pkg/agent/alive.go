package agent

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

const (
	aliveLimit = 2 * time.Second // a part that stood still this long is not alive
	exitLimit  = 3 * time.Second // and ends the process after this long
	deadTick   = 100 * time.Millisecond
)

// pulse is a part whose life can be seen: when it last did its round.
type pulse struct {
	name string
	last func() time.Time // reads an atomic; never takes a lock
}

// alive is the gate that every part asks before it renews or adds anything
// that would outlive a dead agent.
type alive struct{ pulses []pulse }

// stuck names the first part that has stood still for limit or longer, with
// for how long. A part that has not begun yet is not stuck.
func (a alive) stuck(now time.Time, limit time.Duration) (string, time.Duration) {
	for _, p := range a.pulses {
		last := p.last()
		if age := now.Sub(last); !last.IsZero() && age >= limit {
			return p.name, age
		}
	}
	return "", 0
}

// ok is the gate itself. It is safe from any goroutine.
func (a alive) ok() bool {
	name, _ := a.stuck(time.Now(), aliveLimit)
	return name == ""
}

// health is the gate with its reason, for /healthz.
func (a alive) health() error {
	if name, age := a.stuck(time.Now(), aliveLimit); name != "" {
		return fmt.Errorf("%s has stood still for %s", name, age.Round(time.Millisecond))
	}
	return nil
}

// deadman ends an agent whose parts stand still or panicked: a silent agent
// must not keep its routes. It shares no lock with what it watches.
type deadman struct {
	alive alive
	panic <-chan string // a part panicked; its name and the panic's text
	cease func(text string)
	exit  func(code int)
	log   *slog.Logger
	ended <-chan struct{} // the loop has returned
}

// run watches until ctx ends, and then that the loop ends too: one that hangs
// would keep the process, and with it the VIPs, for ever.
func (d deadman) run(ctx context.Context) error {
	tick := time.NewTicker(deadTick)
	defer tick.Stop()
	var ceased bool
	last := time.Now()
	var grace time.Time
	for {
		select {
		case <-ctx.Done():
			d.last()
			return nil
		case text := <-d.panic:
			d.log.Error("part panicked; closing sessions and ending", "panic", text)
			d.end("anyvip: internal error")
			return nil
		case <-tick.C:
		}
		now := time.Now()
		// Not having run ourselves (SIGSTOP, a frozen machine) says nothing about
		// the others: they get the time to show life.
		if now.Sub(last) > aliveLimit/2 {
			grace = now.Add(aliveLimit)
		}
		last = now
		if now.Before(grace) {
			continue
		}
		name, age := d.alive.stuck(now, aliveLimit)
		switch {
		case name == "":
			ceased = false
		case age >= exitLimit:
			d.log.Error("part stands still; ending the process", "part", name, "for", age)
			d.exit(exitStuck)
			return nil
		case !ceased:
			ceased = true
			d.log.Error("part stands still; closing sessions", "part", name, "for", age)
			go d.cease("anyvip: agent stands still") // nobody waits for it: the process ends in a second
		}
	}
}

// last waits for the loop's end, for endLimit at most.
func (d deadman) last() {
	select {
	case <-d.ended:
	case <-time.After(endLimit):
		d.log.Error("agent loop does not end; ending the process", "after", endLimit)
		d.exit(exitStuck)
	}
}

// end closes the sessions and ends the process, within a second.
func (d deadman) end(text string) {
	done := make(chan struct{})
	go func() { defer close(done); d.cease(text) }()
	select {
	case <-done:
	case <-time.After(exitLimit - aliveLimit):
	}
	d.exit(exitStuck)
}

// exitStuck is the process's exit status when the deadman ended it.
const exitStuck = 3
