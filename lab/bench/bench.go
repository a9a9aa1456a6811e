package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/anyvip/anyvip/lab"
)

// Options say what to measure and where to tell it.
type Options struct {
	Size     Size
	Only     string    // the name of one measurement; empty: all
	Binaries string    // where anyvip and anyvip-lab are; default as in package lab
	Out      io.Writer // progress and tables
	// Document is the file to write, with all tables and the targets; empty: none. Micro is what it quotes of
	// `go test -bench`.
	Document string
	Micro    string
}

// Size is how much is measured.
type Size struct {
	tors      []router      // against which one VIP comes and goes
	rounds    int           // of that
	kills     int           // of a service
	killTors  []router      // against which
	many      []int         // numbers of VIPs that come and go at once
	manyTors  []router      // against which
	batches   int           // rounds of those
	patience  time.Duration // rounds end after this time, but not before the third
	commands  int           // up to how many VIPs a speaker is measured whose every VIP is a command
	memory    []int         // numbers of VIPs whose memory is read
	steady    time.Duration // before memory or CPU is read
	checks    []int         // numbers of checks at 1 s
	processes int           // up to how many a speaker is measured whose every check is a process
	window    time.Duration // over which CPU is counted
	stops     int           // requests under way while the speaker stops politely, again and again
	deaths    int           // requests while other things happen; 0: they do not
	losers    int           // how many of the speakers lose connections, anyvip first
	flows     int           // established connections
	changes   int           // how often a server leaves and returns
	paces     []pace        // how often a VRRP router is lost
	elections []election    // virtual routers that are many, or have many VIPs
	losses    int           // how often the Active one of those is lost
	rest      time.Duration // over which their CPU is counted
	aftermath time.Duration // for which they are watched after a takeover: longer than the rounds of announcements
	strain    time.Duration // how long a machine is busy; 0: not at all
	strained  int           // how many of the daemons then, anyvip first
}

// The sizes: for the document, for a look, for a test of the program itself.
var (
	Full = Size{tors: tors, rounds: 200, kills: 30, killTors: tors, many: []int{1_000, 10_000}, manyTors: tors, batches: 20, patience: 20 * time.Second, commands: 1_000,
		memory: []int{1, 1_000, 10_000}, steady: 5 * time.Second, checks: []int{1, 100, 1_000}, processes: 100, window: 30 * time.Second,
		stops: 10_000, deaths: 4_000, losers: 3, flows: 300, changes: 12,
		paces:     []pace{{time.Second, 5, partings}, {100 * time.Millisecond, 8, partings}, {10 * time.Millisecond, 16, partings}},
		elections: []election{{1, 1_000, time.Second}, {1, 1_000, 10 * time.Millisecond}, {255, 1, time.Second}}, losses: 3, rest: 15 * time.Second, aftermath: 5500 * time.Millisecond,
		strain: time.Minute, strained: 4}
	Quick = Size{tors: []router{torBIRD}, rounds: 10, kills: 2, killTors: []router{torBIRD}, many: []int{1_000}, manyTors: []router{torFRR}, batches: 3, patience: 3 * time.Second, commands: 1,
		memory: []int{1_000}, steady: 2 * time.Second, checks: []int{100}, processes: 1, window: 6 * time.Second,
		stops: 1, deaths: 1, losers: 1, flows: 300, changes: 3,
		paces:  []pace{{time.Second, 1, []parting{partingSilence, partingStop}}, {10 * time.Millisecond, 1, partings}},
		strain: 15 * time.Second, strained: 2}
	Smoke = Size{tors: []router{torBIRD}, rounds: 1, kills: 1, killTors: []router{torBIRD}, many: []int{10}, manyTors: []router{torBIRD}, batches: 1, commands: 1,
		memory: []int{1}, checks: []int{1}, processes: 1, window: time.Second,
		stops: 1, losers: 1, flows: 30, changes: 1,
		paces:     []pace{{100 * time.Millisecond, 1, []parting{partingSilence, partingStop}}},
		elections: []election{{2, 5, 100 * time.Millisecond}}, losses: 1, rest: time.Second, aftermath: time.Second,
		strain: time.Second, strained: 1}
)

// measurement is one question, with its tables as the answer.
type measurement struct {
	name string
	run  func(*bench, context.Context) ([]table, error)
}

var measurements = []measurement{
	{"wire", (*bench).wire},
	{"death", (*bench).death},
	{"many", (*bench).many},
	{"memory", (*bench).memory},
	{"checks", (*bench).checks},
	{"lost", (*bench).lost},
	{"kept", (*bench).kept},
	{"takeover", (*bench).takeover},
	{"routers", (*bench).routers},
	{"busy", (*bench).busy},
}

// Names are those of the measurements, for Options.Only.
func Names() []string {
	var names []string
	for _, m := range measurements {
		names = append(names, m.name)
	}
	return names
}

// bench is one run.
type bench struct {
	Options
	start   time.Time
	tables  []table
	targets []target
}

// Run measures, prints a table for each question, and writes the document. It takes down all it started, also when
// ctx ends. Where something could not be measured it goes on, returns an error in the end and writes no document.
func Run(ctx context.Context, o Options) error {
	chosen := slices.DeleteFunc(slices.Clone(measurements), func(m measurement) bool { return o.Only != "" && m.name != o.Only })
	if len(chosen) == 0 {
		return fmt.Errorf("no measurement %q; there are %s", o.Only, strings.Join(Names(), ", "))
	}
	if err := errors.Join(lab.Check(), Missing()); err != nil {
		return err
	}
	b := &bench{Options: o, start: time.Now()}
	machine, err := describeMachine(ctx, o.Binaries)
	if err != nil {
		return err
	}
	for _, line := range machine {
		b.say("%s", line)
	}
	var errs []error
	for _, m := range chosen {
		tables, err := m.run(b, ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		for _, t := range tables {
			fmt.Fprintf(b.Out, "\n%s\n\n%s\n", t.title, t.markdown())
		}
		b.tables = append(b.tables, tables...)
		errs = append(errs, err)
	}
	if b.Micro != "" {
		errs = append(errs, b.aimMicro())
	}
	if len(b.targets) > 0 {
		fmt.Fprintf(b.Out, "\nTargets\n\n%s\n", targetText(b.targets))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("not all could be measured: %w", err)
	}
	b.say("done")
	if o.Document == "" {
		return nil
	}
	return b.write(machine)
}

// say tells progress: one line, with the time since the start.
func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.Out, "%6.1f s  %s\n", time.Since(b.start).Seconds(), fmt.Sprintf(format, args...))
}

// twice measures something, and once more if that failed: a machine that is busy with other things can make an
// instrument miss something, or a daemon too slow.
func (b *bench) twice(ctx context.Context, what string, measure func() error) error {
	b.say("%s", what)
	err := measure()
	if err == nil || ctx.Err() != nil {
		return err
	}
	b.say("%s failed, once more: %v", what, err)
	if err = measure(); err != nil {
		err = fmt.Errorf("%s: %w", what, err)
	}
	return err
}

// wait lets time pass.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
