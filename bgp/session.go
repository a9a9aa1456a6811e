package bgp

import (
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

// keepSessions makes the records of sessions those of the peers that are
// wanted: a new peer starts Idle, a peer that is gone is forgotten.
func (e *Engine) keepSessions() {
	wanted := make(map[string]bool, len(e.want.Peers))
	for _, p := range e.want.Peers {
		wanted[p.Name] = true
		if _, ok := e.sessions[p.Name]; !ok {
			e.sessions[p.Name] = vip.Session{Peer: p.Name, Remote: p.Address, RemoteAS: p.ASN, Since: time.Now()}
		}
	}
	for name := range e.sessions {
		if !wanted[name] {
			delete(e.sessions, name)
			e.reader.forget(name)
		}
	}
}

// takeSession replaces the record of one session.
func (e *Engine) takeSession(s vip.Session) {
	was, ok := e.sessions[s.Peer]
	if !ok {
		return // of a peer that is not wanted any more
	}
	s.Flaps = was.Flaps
	if was.State == vip.Established && s.State != vip.Established {
		s.Flaps++
	}
	if s.State != vip.Established {
		e.reader.forget(s.Peer)
	} else if was.State != vip.Established || !slices.Equal(was.Families, s.Families) {
		e.reader.read(s.Peer)
	}
	e.sessions[s.Peer] = s
}

// forgetFailures drops why the attempts of sessions failed that we keep down now:
// when they are wanted again, that was before, and says nothing of the next one.
func (e *Engine) forgetFailures() {
	for _, p := range e.want.Peers {
		if s := e.sessions[p.Name]; !p.Up && s.State != vip.Established {
			s.Cause, s.Detail = vip.CauseNone, ""
			e.sessions[p.Name] = s
		}
	}
}

// endSessions is what a new speaker generation means for the records.
func (e *Engine) endSessions() {
	for name, s := range e.sessions {
		if s.State == vip.Established {
			s.Flaps++
		}
		if s.State != vip.Idle {
			s = vip.Session{Peer: name, Remote: s.Remote, RemoteAS: s.RemoteAS, Since: time.Now(), Flaps: s.Flaps}
		}
		e.sessions[name] = s
		e.reader.forget(name)
	}
}

// reportChange tells the owner what it does not know yet, in maps of its own: what
// the speaker saw, and nothing of what the owner wants, which it knows better.
func (e *Engine) reportChange() {
	if !e.sentNew && maps.EqualFunc(e.sessions, e.reported, sessionEqual) {
		return
	}
	e.reported, e.sentNew = maps.Clone(e.sessions), false
	e.report(Report{Sessions: e.reported, Sent: maps.Clone(e.reader.sent)})
}

func sessionEqual(a, b vip.Session) bool {
	same := slices.Equal(a.Families, b.Families) && slices.Equal(a.Defaults, b.Defaults)
	a.Families, b.Families, a.Defaults, b.Defaults = nil, nil, nil, nil
	return same && reflect.DeepEqual(a, b)
}

// sentEqual compares two Adj-RIB-Outs with every attribute.
func sentEqual(a, b map[netip.Prefix]vip.Announcement) bool {
	return maps.EqualFunc(a, b, vip.Announcement.Equal)
}
