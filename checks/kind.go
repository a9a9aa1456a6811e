package checks

import (
	"context"

	"github.com/anyvip/anyvip/pkg/vip"
)

// Kind is the configuration of one kind of check: a pointer to a struct with
// yaml tags, which the config package decodes into. It is not changed once it
// was handed to a Runner.
type Kind interface {
	// Describe returns the kind's key in Kinds, and in one line what is
	// asked: a URL, an address, a command.
	Describe() (name, target string)
	// Validate finds what is wrong without looking at the machine; paths are
	// relative to the kind's own key.
	Validate() []vip.Problem
	// Checker prepares the probe. An error is a configuration that passed
	// Validate but cannot work here and now; the Runner tries again.
	Checker() (Checker, error)
}

// connector is a Kind that connects to HOST:PORT.
type connector interface{ connectsTo() string }

// Checker asks once per call of Probe, which is never called by two goroutines
// at a time. Probe fills Outcome, Class and Detail; the Runner adds the rest.
// It returns when ctx is done or a short grace (100 ms) later: an open
// connection or a child process is no excuse. Why ctx ended is of no interest
// to it, since the Runner drops what a check that was removed has to say.
type Checker interface {
	Probe(ctx context.Context) vip.Result
}

// Kinds is the table of kinds: the key in the file, and a new empty
// configuration of that kind. A new kind adds one file and one line here.
func Kinds() map[string]func() Kind {
	return map[string]func() Kind{
		"dns":       func() Kind { return new(DNS) },
		"heartbeat": func() Kind { return new(Heartbeat) },
		"exec":      func() Kind { return new(Exec) },
		"file":      func() Kind { return new(File) },
		"http":      func() Kind { return new(HTTP) },
		"postgres":  func() Kind { return new(Postgres) },
		"tcp":       func() Kind { return new(TCP) },
	}
}
