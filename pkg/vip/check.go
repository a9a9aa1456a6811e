package vip

import (
	"fmt"
	"slices"
	"strings"
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
func (s *Scope) UnmarshalText(text []byte) (err error) {
	*s, err = word[Scope](scopeNames[:], text)
	return err
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
func (o *OnError) UnmarshalText(text []byte) (err error) {
	*o, err = word[OnError](onErrorNames[:], text)
	return err
}

// OnGone says what it means that nobody listens any more where the kernel has just
// told us that the listener ended.
type OnGone uint8

// The rules for a listener that ended.
const (
	OnGoneDown  OnGone = iota // one probe that is refused is enough
	OnGoneProbe               // it is one failure like any other
	OnGoneAuto                // down for services over BGP, which withdraw cheaply; probe for those of VRRP, whose address moves
)

var onGoneNames = [...]string{"down", "probe", "auto"}

func (o OnGone) String() string { return onGoneNames[o] }

// MarshalText writes the name.
func (o OnGone) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText reads auto, down or probe.
func (o *OnGone) UnmarshalText(text []byte) (err error) {
	*o, err = word[OnGone](onGoneNames[:], text)
	return err
}

// OnTimeout says what a probe means that had no answer in time: a dead service, or
// one with more work than it can do, whose share would only bury the others.
type OnTimeout uint8

// The rules for a probe that timed out.
const (
	OnTimeoutFail    OnTimeout = iota // it failed
	OnTimeoutDegrade                  // it is degraded
	OnTimeoutAbsorb                   // the verdict stays as it is
)

var onTimeoutNames = [...]string{"fail", "degrade", "absorb"}

func (o OnTimeout) String() string { return onTimeoutNames[o] }

// MarshalText writes the name.
func (o OnTimeout) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText reads fail, degrade or absorb.
func (o *OnTimeout) UnmarshalText(text []byte) (err error) {
	*o, err = word[OnTimeout](onTimeoutNames[:], text)
	return err
}

// word finds text among the names of an enum.
func word[E ~uint8](names []string, text []byte) (E, error) {
	i := slices.Index(names, string(text))
	if i < 0 {
		return 0, fmt.Errorf("%q is none of %s", text, strings.Join(names, ", "))
	}
	return E(i), nil
}
