package checks

import (
	"context"

	"github.com/anyvip/anyvip/pkg/vip"
)

// Kind is the configuration of one kind of check, a pointer to a struct with
// yaml tags. The config package decodes into it.
type Kind interface {
	// Validate finds what is wrong; paths are relative to the kind's own key.
	Validate() []vip.Problem
	// Checker prepares the probe. An error is a configuration that passed
	// Validate but cannot work here, such as an unreadable certificate.
	Checker() (Checker, error)
}

// Checker asks once. Probe returns within ctx's deadline plus a short grace,
// and fills Outcome, Class and Detail; the runner adds the rest.
type Checker interface {
	Probe(ctx context.Context) vip.Result
}

// Kinds is the table of kinds: the key in the file, and a new empty
// configuration of that kind. A new kind adds one file and one line here.
func Kinds() map[string]func() Kind {
	return map[string]func() Kind{}
}
