package intent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/anyvip/anyvip/pkg/durable"
)

const (
	fileName    = "intents.json"
	maxWaiting  = 1000 // wishes that the disk has not taken yet
	firstRetry  = time.Second
	cappedRetry = time.Minute

	rewriteEvery = time.Minute // while a drain has an end
)

// ErrRefused is the error of a wish that was not taken: nothing is changed by it.
var ErrRefused = errors.New("nothing was changed")

// Options are what a Store needs.
type Options struct {
	StateDir string
	Report   func(Report) // called from Run's goroutine when the set or Detail changed; must not block
	Log      *slog.Logger
}

// Report is what operators want now.
type Report struct {
	Drains []Drain // by service; never changed afterwards
	Detail string  // why they will not survive a restart, or did not, and what to do; empty: all is well
}

// Store keeps the set, in memory and on disk.
type Store struct {
	options Options
	path    string

	mu     sync.Mutex // guards waiting, for a few lines
	wishes []wish     // in their order
	rung   chan struct{}

	// Load, and then Run's goroutine alone.
	set     []Drain
	loaded  string // what was wrong with the file that Load found; until a wish has been written
	asked   bool   // there was a wish since
	unsaved error  // why the file does not say what set does; nil: it does
	saved   time.Time
	disk    durable.Writer
	retry   time.Duration
}

type wish struct {
	change func([]Drain) []Drain
	done   func(error)
}

// New makes a Store of nothing.
func New(o Options) *Store {
	path := filepath.Join(o.StateDir, fileName)
	return &Store{options: o, path: path, disk: durable.Writer{Path: path, Log: o.Log, Replace: durable.Replace}, rung: make(chan struct{}, 1)}
}

// Load reads the file, so that what is drained is known before anything is decided.
// It is called once, before Run, and blocks for the disk. A file that cannot be read
// or understood is set aside, and what was in it is lost, which the Report says.
func (s *Store) Load() Report {
	if err := s.load(); err != nil {
		s.loaded = fmt.Sprintf("drains of before are not known: %s: %v", s.path, err)
		if aside, err := durable.SetAside(s.path); err == nil {
			s.loaded += "; it is kept as " + aside
		}
		s.loaded += "; drain again what should be"
		s.options.Log.Error("drains are lost", "error", s.loaded)
	}
	return s.report()
}

func (s *Store) load() error {
	raw, err := durable.Read(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	m, err := durable.Now()
	if err != nil {
		return err
	}
	var over []string
	if s.set, over, err = decode(raw, m); len(over) > 0 {
		s.options.Log.Info("drains ended while no agent ran", "services", over)
	}
	return err
}

// Put adds a drain, in place of one for the same. It does not block. done is called
// once the Report has it: with nil when it is on disk, else with why it is not; it is
// in force in both cases. done comes from Run's goroutine and must not block. An error
// of Put is an ErrRefused, and done is not called.
func (s *Store) Put(d Drain, done func(error)) error {
	return s.ask(wish{func(set []Drain) []Drain { return put(set, d) }, done})
}

// Remove takes a drain back. done and the error are as with Put.
func (s *Store) Remove(service string, done func(error)) error {
	return s.ask(wish{func(set []Drain) []Drain { return without(set, service) }, done})
}

func (s *Store) ask(w wish) error {
	s.mu.Lock()
	full := len(s.wishes) >= maxWaiting
	if !full {
		s.wishes = append(s.wishes, w)
	}
	s.mu.Unlock()
	if full {
		return fmt.Errorf("%w: %d wishes wait for the disk already (%s); try again later", ErrRefused, maxWaiting, s.path)
	}
	select {
	case s.rung <- struct{}{}:
	default:
	}
	return nil
}

// Run writes what is asked for, and ends drains whose time has gone by, until ctx
// ends. What was asked for before that is written first.
func (s *Store) Run(ctx context.Context) error {
	timer := time.NewTimer(s.nextLook())
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			s.turn()
			return ctx.Err()
		case <-s.rung:
		case <-timer.C:
		}
		s.turn()
		timer.Reset(s.nextLook())
	}
}

// turn does what is asked for and what is due, tells everybody, and then writes it: a
// drain is in force whatever the disk does.
func (s *Store) turn() {
	s.mu.Lock()
	wishes := s.wishes
	s.wishes = nil
	s.mu.Unlock()
	before := s.report()
	for _, w := range wishes {
		s.set = w.change(s.set)
	}
	now := time.Now()
	s.set = slices.DeleteFunc(slices.Clone(s.set), func(d Drain) bool { return d.ended(now) })
	changed := len(wishes) > 0 || !slices.Equal(s.set, before.Drains)
	if changed {
		s.options.Report(s.report())
	}
	s.asked = s.asked || len(wishes) > 0
	if changed || s.unsaved != nil || s.hasEnd() && now.Sub(s.saved) >= rewriteEvery {
		s.save()
	}
	if after := s.report(); after.Detail != before.Detail {
		s.options.Report(after)
	}
	for _, w := range wishes {
		w.done(s.unsaved)
	}
}

// hasEnd says whether a drain ends by itself: how much is left of it is written again
// and again, for a reboot.
func (s *Store) hasEnd() bool {
	return slices.ContainsFunc(s.set, func(d Drain) bool { return !d.Until.IsZero() })
}

// save writes the file. Only what somebody asked for makes good for a file that was
// lost.
func (s *Store) save() {
	err := s.write()
	if err == nil {
		s.unsaved, s.retry, s.saved = nil, 0, time.Now()
		if s.asked {
			s.loaded = ""
		}
		return
	}
	if s.unsaved == nil || s.unsaved.Error() != err.Error() {
		s.options.Log.Warn("drains are not on disk; trying again", "error", err)
	}
	s.unsaved = err
	s.retry = min(max(2*s.retry, firstRetry), cappedRetry)
}

func (s *Store) write() error {
	m, err := durable.Now()
	if err != nil {
		return err
	}
	raw, err := encode(s.set, m)
	if err != nil {
		return err
	}
	return s.disk.Write(raw)
}

// nextLook is when time alone asks for a turn.
func (s *Store) nextLook() time.Duration {
	wait := cappedRetry
	if s.unsaved != nil {
		wait = s.retry
	}
	for _, d := range s.set {
		if !d.Until.IsZero() {
			wait = min(wait, time.Until(d.Until))
		}
	}
	return max(wait, 0)
}

func (s *Store) report() Report {
	r := Report{Drains: s.set, Detail: s.loaded}
	if s.unsaved != nil {
		r.Detail = fmt.Sprintf("drains will not survive a restart: %v; make room or give the agent a state directory that it may write", s.unsaved)
	}
	return r
}
