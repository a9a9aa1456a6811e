package memory

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/anyvip/anyvip/pkg/durable"
	"github.com/anyvip/anyvip/pkg/latest"
	"github.com/anyvip/anyvip/pkg/policy"
)

const (
	fileName    = "memory.json"
	firstRetry  = time.Second
	cappedRetry = time.Minute
)

// Options are what a Store needs.
type Options struct {
	StateDir string
	Clock    func() (durable.Moment, error) // durable.Now, unless a test has a clock of its own
	Log      *slog.Logger
}

// Store keeps the latest memory on disk.
type Store struct {
	options Options
	path    string
	sets    latest.Value[map[string]*policy.ServiceMemory]

	// Load, and then Run's goroutine alone.
	want    services // nil: nobody has asked for anything
	said    services // what the file says; nil: not known
	disk    durable.Writer
	unsaved error // why the file does not say what is wanted; nil: it does
	retry   time.Duration
}

// New makes a Store of nothing.
func New(o Options) *Store {
	path := filepath.Join(o.StateDir, fileName)
	return &Store{options: o, path: path, sets: latest.Make[map[string]*policy.ServiceMemory](),
		disk: durable.Writer{Path: path, Log: o.Log, Replace: durable.Replace}}
}

// Load reads what the predecessor left, for the first decision's Prev. It is called
// once, before Run, and blocks for the disk. A file that cannot be read or understood is
// logged, and the next write replaces it.
func (s *Store) Load() map[string]*policy.ServiceMemory {
	said, err := s.load()
	if err != nil {
		s.options.Log.Error("failures before this start are not known: no recovery_delay counts from them", "path", s.path, "error", err)
	}
	s.said, s.want = said, said
	return said
}

func (s *Store) load() (services, error) {
	raw, err := durable.Read(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return services{}, nil
	}
	if err != nil {
		return nil, err
	}
	m, err := s.options.Clock()
	if err != nil {
		return nil, err
	}
	return decode(raw, m)
}

// Keep has the file say what of these memories outlives the agent, and nothing of any
// other service. It does not block, and any goroutine may call it; nobody changes the
// memories afterwards.
func (s *Store) Keep(all map[string]*policy.ServiceMemory) { s.sets.Put(all) }

// Run writes what changed until ctx ends. What was to be kept before that is written
// first.
func (s *Store) Run(ctx context.Context) error {
	again := time.NewTimer(cappedRetry)
	again.Stop() // it runs while the file does not say what it should
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			select {
			case all := <-s.sets:
				s.want = kept(all)
			default:
			}
			s.save()
			return ctx.Err()
		case all := <-s.sets:
			s.want = kept(all)
			if s.unsaved != nil {
				continue // decisions do not hurry a disk that refuses
			}
		case <-again.C:
		}
		s.save()
		if s.unsaved != nil {
			again.Reset(s.retry)
		}
	}
}

// save makes the file say what is wanted, unless it does.
func (s *Store) save() {
	if s.want == nil || s.said != nil && s.said.equal(s.want) {
		s.unsaved, s.retry = nil, 0
		return
	}
	err := s.write()
	if err == nil {
		if s.unsaved != nil {
			s.options.Log.Info("failures of services are on disk again", "path", s.path)
		}
		s.said, s.unsaved, s.retry = s.want, nil, 0
		return
	}
	if s.unsaved == nil || s.unsaved.Error() != err.Error() {
		s.options.Log.Warn("failures of services are not on disk: a restart would forget them; trying again", "error", err)
	}
	s.said, s.unsaved = nil, err // a write that hangs may end yet
	s.retry = min(max(2*s.retry, firstRetry), cappedRetry)
}

func (s *Store) write() error {
	m, err := s.options.Clock()
	if err != nil {
		return err
	}
	raw, err := encode(s.want, m)
	if err != nil {
		return err
	}
	return s.disk.Write(raw)
}
