package vip

import (
	"fmt"
	"slices"
)

// Scope says what a check's failure means for the services that require it.
type Scope uint8

// The scopes.
const (
	ScopeLocal      Scope = iota // this server's own fault: withdraw
	ScopeDependency              // shared with other servers: never worse than degraded
	ScopeAdvisory                // shown, but decides nothing
)

var scopeNames = [...]string{"local", "dependency", "advisory"}

func (s Scope) String() string { return scopeNames[s] }

// MarshalText writes the name.
func (s Scope) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads local, dependency or advisory.
func (s *Scope) UnmarshalText(text []byte) error {
	i := slices.Index(scopeNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("%q is none of local, dependency, advisory", text)
	}
	*s = Scope(i)
	return nil
}

// Floor is the worst level a check of this scope can bring a service to.
func (s Scope) Floor() Level {
	switch s {
	case ScopeDependency:
		return LevelDegraded
	case ScopeAdvisory:
		return LevelPass
	case ScopeLocal:
	}
	return LevelFail
}

// OnError says what a check means that could not ask for longer than ErrorHold.
type OnError uint8

// The rules for a check that cannot ask.
const (
	OnErrorDegrade OnError = iota // count as degraded at best
	OnErrorHold                   // keep the last verdict
	OnErrorFail                   // count as failed
)

var onErrorNames = [...]string{"degrade", "hold", "fail"}

func (o OnError) String() string { return onErrorNames[o] }

// MarshalText writes the name.
func (o OnError) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText reads degrade, hold or fail.
func (o *OnError) UnmarshalText(text []byte) error {
	for i, n := range onErrorNames {
		if n == string(text) {
			*o = OnError(i)
			return nil
		}
	}
	return fmt.Errorf("%q is none of degrade, hold, fail", text)
}
