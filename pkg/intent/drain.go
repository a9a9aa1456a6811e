package intent

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/anyvip/anyvip/pkg/durable"
)

// Drain is an operator's wish to have a service, or the node, off the network.
type Drain struct {
	Service string        // empty: the whole node
	Force   bool          // virtual routers leave although no other takes over
	Reason  string        // one line
	Actor   string        // who
	At      time.Time     // when it was asked for
	Left    time.Duration // how long it lasts from At; 0: until it is taken back
	Until   time.Time     // its end; zero: until it is taken back. Put fills it in
}

// ended says whether a drain's time has gone by.
func (d Drain) ended(now time.Time) bool { return !d.Until.IsZero() && !now.Before(d.Until) }

const version = 1

// file is what is written.
type file struct {
	Version int     `json:"version"`
	Boot    string  `json:"boot_id"`
	Drains  []entry `json:"drains"`
}

type entry struct {
	Service string         `json:"service,omitempty"` // empty: the node
	Force   bool           `json:"force,omitempty"`
	Reason  string         `json:"reason,omitempty"`
	Actor   string         `json:"actor,omitempty"`
	At      time.Time      `json:"at"`
	End     *durable.Stamp `json:"end,omitempty"` // none: until it is taken back
}

// encode is the file's content for a set, written at a moment.
func encode(set []Drain, m durable.Moment) ([]byte, error) {
	f := file{Version: version, Boot: m.Boot, Drains: []entry{}}
	for _, d := range set {
		e := entry{Service: d.Service, Force: d.Force, Reason: d.Reason, Actor: d.Actor, At: d.At.Round(0)}
		if !d.Until.IsZero() {
			end := m.Stamp(d.Until)
			e.End = &end
		}
		f.Drains = append(f.Drains, e)
	}
	raw, err := json.MarshalIndent(f, "", "\t")
	return append(raw, '\n'), err
}

// decode reads a file's content at a moment. Drains that have ended are not in the set;
// over names their services.
func decode(raw []byte, m durable.Moment) (set []Drain, over []string, err error) {
	var f file
	if err := durable.Decode(raw, &f); err != nil {
		return nil, nil, err
	}
	if f.Version != version {
		return nil, nil, fmt.Errorf("version is %d, not %d", f.Version, version)
	}
	for i, e := range f.Drains {
		if slices.ContainsFunc(set, func(d Drain) bool { return d.Service == e.Service }) {
			return nil, nil, fmt.Errorf("drains[%d]: %q is drained twice", i, e.Service)
		}
		d := Drain{Service: e.Service, Force: e.Force, Reason: e.Reason, Actor: e.Actor, At: e.At}
		if e.End != nil {
			left := m.Until(*e.End, f.Boot)
			if left <= 0 {
				over = append(over, cmp.Or(e.Service, "the node"))
				continue
			}
			d.Left, d.Until = left, m.Now.Add(left)
		}
		set = append(set, d)
	}
	return set, over, nil
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
