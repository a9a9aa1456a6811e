package memory

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/anyvip/anyvip/pkg/durable"
	"github.com/anyvip/anyvip/pkg/policy"
)

// services are what is kept, by service: those of which there is anything to keep.
type services map[string]*policy.ServiceMemory

// kept is what outlives the agent. All else in a ServiceMemory is about announcements,
// and they ended with the agent's sessions: a successor that took over Disposition, Level
// or Announced would hold a service for announced and not wait for rise; a step of a
// drain, or a weight that has grown (GrowFrom), is about routes that peers have no longer;
// Since is when the successor itself decided.
func kept(all map[string]*policy.ServiceMemory) services {
	k := services{}
	for name, m := range all {
		if !m.Failed && len(m.Flaps) == 0 {
			continue
		}
		k[name] = &policy.ServiceMemory{Failed: m.Failed, Flaps: m.Flaps}
		if m.Failed { // else it ends start_delay, which counts from the host's boot
			k[name].RecoverAt = m.RecoverAt
		}
	}
	return k
}

func (s services) equal(t services) bool {
	return maps.EqualFunc(s, t, func(a, b *policy.ServiceMemory) bool {
		return a.Failed == b.Failed && a.RecoverAt.Equal(b.RecoverAt) && slices.EqualFunc(a.Flaps, b.Flaps, time.Time.Equal)
	})
}

const version = 1

// file is what is written.
type file struct {
	Version  int     `json:"version"`
	Boot     string  `json:"boot_id"`
	Services []entry `json:"services"`
}

type entry struct {
	Service   string          `json:"service"`
	Failed    bool            `json:"failed,omitempty"`
	Flaps     []durable.Stamp `json:"flaps,omitempty"`      // oldest first
	RecoverAt *durable.Stamp  `json:"recover_at,omitempty"` // none: no recovery delay is running
}

// encode is the file's content, written at a moment.
func encode(s services, m durable.Moment) ([]byte, error) {
	f := file{Version: version, Boot: m.Boot, Services: []entry{}}
	for _, name := range slices.Sorted(maps.Keys(s)) {
		e := entry{Service: name, Failed: s[name].Failed}
		for _, t := range s[name].Flaps {
			e.Flaps = append(e.Flaps, m.Stamp(t))
		}
		if t := s[name].RecoverAt; !t.IsZero() {
			end := m.Stamp(t)
			e.RecoverAt = &end
		}
		f.Services = append(f.Services, e)
	}
	raw, err := json.MarshalIndent(f, "", "\t")
	return append(raw, '\n'), err
}

// decode reads a file's content at a moment.
func decode(raw []byte, m durable.Moment) (services, error) {
	var f file
	if err := durable.Decode(raw, &f); err != nil {
		return nil, err
	}
	if f.Version != version {
		return nil, fmt.Errorf("version is %d, not %d", f.Version, version)
	}
	s := services{}
	for i, e := range f.Services {
		if s[e.Service] != nil {
			return nil, fmt.Errorf("services[%d]: %q is there twice", i, e.Service)
		}
		x := &policy.ServiceMemory{Failed: e.Failed}
		for _, t := range e.Flaps {
			x.Flaps = append(x.Flaps, m.Now.Add(min(m.Until(t, f.Boot), 0))) // no flap is yet to come
		}
		slices.SortFunc(x.Flaps, time.Time.Compare)
		if e.RecoverAt != nil {
			x.RecoverAt = m.Now.Add(m.Until(*e.RecoverAt, f.Boot))
		}
		s[e.Service] = x
	}
	return s, nil
}
