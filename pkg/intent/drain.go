package intent

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Drain is an operator's wish to have a service, or the node, off the network.
type Drain struct {
	Service string        // empty: the whole node
	Reason  string        // one line
	Actor   string        // who
	At      time.Time     // when it was asked for
	Left    time.Duration // how long it lasts from At; 0: until it is taken back
	Until   time.Time     // its end; zero: until it is taken back. Put fills it in
}

// ended says whether a drain's time has gone by.
func (d Drain) ended(now time.Time) bool { return !d.Until.IsZero() && !now.Before(d.Until) }

// moment is one moment on all clocks.
type moment struct {
	now  time.Time     // with its monotonic reading
	boot string        // which boot this is
	up   time.Duration // since that
}

const version = 1

// file is what is written.
type file struct {
	Version int     `json:"version"`
	Boot    string  `json:"boot_id"`
	Drains  []entry `json:"drains"`
}

type entry struct {
	Service string    `json:"service,omitempty"` // empty: the node
	Reason  string    `json:"reason,omitempty"`
	Actor   string    `json:"actor,omitempty"`
	At      time.Time `json:"at"`
	End     *end      `json:"end,omitempty"` // none: until it is taken back
}

// end is when a drain ends, on each clock.
type end struct {
	Up   time.Duration `json:"since_boot_ns"` // in the boot that the file names
	Wall time.Time     `json:"wall"`          // as far as it was known when this was written
	Left time.Duration `json:"left_ns"`       // when this was written
}

// encode is the file's content for a set, written at a moment.
func encode(set []Drain, m moment) ([]byte, error) {
	f := file{Version: version, Boot: m.boot, Drains: []entry{}}
	for _, d := range set {
		e := entry{Service: d.Service, Reason: d.Reason, Actor: d.Actor, At: d.At.Round(0)}
		if !d.Until.IsZero() {
			left := d.Until.Sub(m.now)
			e.End = &end{Up: m.up + left, Wall: m.now.Round(0).Add(left), Left: left}
		}
		f.Drains = append(f.Drains, e)
	}
	raw, err := json.MarshalIndent(f, "", "\t")
	return append(raw, '\n'), err
}

// decode reads a file's content at a moment. Drains that have ended are not in the set;
// over names their services.
func decode(raw []byte, m moment) (set []Drain, over []string, err error) {
	var f file
	r := json.NewDecoder(bytes.NewReader(raw))
	r.DisallowUnknownFields()
	if err := r.Decode(&f); err != nil {
		return nil, nil, err
	}
	if r.More() {
		return nil, nil, errors.New("something follows the end")
	}
	if f.Version != version {
		return nil, nil, fmt.Errorf("version is %d, not %d", f.Version, version)
	}
	for i, e := range f.Drains {
		if slices.ContainsFunc(set, func(d Drain) bool { return d.Service == e.Service }) {
			return nil, nil, fmt.Errorf("drains[%d]: %q is drained twice", i, e.Service)
		}
		d := Drain{Service: e.Service, Reason: e.Reason, Actor: e.Actor, At: e.At}
		if e.End != nil {
			left := e.End.left(f.Boot, m)
			if left <= 0 {
				over = append(over, cmp.Or(e.Service, "the node"))
				continue
			}
			d.Left, d.Until = left, m.now.Add(left)
		}
		set = append(set, d)
	}
	return set, over, nil
}

// left is how long it is until an end that was written in a boot.
func (e end) left(boot string, m moment) time.Duration {
	if boot == m.boot && boot != "" {
		return e.Up - m.up
	}
	return min(e.Wall.Sub(m.now), e.Left)
}

// put adds a drain to a set, in place of one for the same.
func put(set []Drain, d Drain) []Drain {
	if d.Left > 0 {
		d.Until = d.At.Add(d.Left)
	}
	return sorted(append(without(set, d.Service), d))
}

func without(set []Drain, service string) []Drain {
	return slices.DeleteFunc(slices.Clone(set), func(d Drain) bool { return d.Service == service })
}

func sorted(set []Drain) []Drain {
	slices.SortFunc(set, func(a, b Drain) int { return strings.Compare(a.Service, b.Service) })
	return set
}
