package policy

import (
	"slices"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

// Fallback is how a service in mode ecmp is reached while no BGP session is up: this
// server takes part in an election on a segment then. Servers decide that each for
// itself, so for a moment some may announce routes while one answers on the segment.
type Fallback struct {
	After time.Duration `yaml:"after" default:"10s" doc:"no session to any peer for this long, 1s to 1h; back at once"`
	VRRP  VRRP          `yaml:"vrrp" doc:"the virtual routers that take part then"`
}

// FallbackMemory is how a service stands to its fallback.
type FallbackMemory struct {
	Lost time.Time `json:"lost,omitzero"` // since when no session is Established; zero: one is, or the agent starts
	On   bool      `json:"on,omitempty"`  // its routers take part
	Back time.Time `json:"back,omitzero"` // when the routers of BGP had all its routes again; its own leave after fallbackOverlap
}

// fallbackOverlap is how long both ways are open on the way back: a router that has a
// route since now may not use it yet.
const fallbackOverlap = time.Second

// onSegment is the service as its fallback has it, in mode vrrp.
func (s *Service) onSegment() *Service {
	v := *s
	v.Mode, v.VRRP = ModeVRRP, s.Fallback.VRRP
	return &v
}

// VirtualRouters are what the service's virtual routers are configured with, in mode
// vrrp or as its fallback, and under which key. Nil: it has none.
func (s *Service) VirtualRouters() (v *VRRP, key string) {
	switch {
	case s.Mode == ModeVRRP:
		return &s.VRRP, "vrrp"
	case s.Fallback != nil:
		return &s.Fallback.VRRP, "fallback.vrrp"
	}
	return nil, ""
}

func (s *Service) validateFallback() (ps []vip.Problem) {
	f := s.Fallback
	switch {
	case f == nil:
		return nil
	case s.Mode == ModeVRRP:
		return []vip.Problem{{Path: "fallback", Message: "is for mode ecmp; in mode vrrp there is nothing to fall back from"}}
	case s.Exclusive:
		return []vip.Problem{{Path: "fallback", Message: "cannot keep the promise of exclusive: while sessions are lost and return, one server may announce routes and another answer on the segment"}}
	}
	if f.After < time.Second || f.After > time.Hour {
		ps = append(ps, vip.Problem{Path: "fallback.after", Value: f.After.String(), Message: "is out of range", Allowed: "1s to 1h"})
	}
	if f.VRRP.Priority == ownerPriority {
		ps = append(ps, vip.Problem{Path: "fallback.vrrp.priority", Value: "255", Message: "is the owner's, and nobody owns an address that many servers announce", Allowed: "1 to 254"})
	}
	return append(ps, vip.Under("fallback.vrrp", s.onSegment().validateVRRP())...)
}

// fallback decides whether the routers of a service take part, now that its routes are
// decided, and makes the decision say so.
func (d *decider) fallback(s *Service, m *ServiceMemory, dec *Decision) {
	m.Fallback = d.fallBack(s, m.Fallback, dec)
	v := s.onSegment()
	if m.Fallback.On {
		d.refused(v, m)
	}
	x := m.Fallback
	way := Decision{Service: s.Name, Disposition: dec.Disposition, Since: dec.Since, Reasons: dec.Reasons, Addresses: d.routers(v, m)}
	if !x.On && !d.answers(v) {
		dec.inAdvance(&way, v)
		return
	}
	for i, a := range way.Addresses {
		dec.Addresses[i].Reasons = append(slices.Clip(a.Reasons), dec.Addresses[i].Reasons...)
	}
	why := Reason{Code: CodeFallback, Subject: v.VRRP.Interface, Since: x.Lost, Detail: "no BGP session is up, so VRRP is the way to it"}
	switch {
	case !x.On:
		why.Detail = "VRRP is the way to it no more; waiting for another virtual router, or none, to come"
	case !x.Back.IsZero():
		why.Since, why.Until, why.Detail = x.Back, x.Back.Add(fallbackOverlap), "BGP has the routes again; both ways are open for a moment"
	case x.Lost.IsZero():
		why.Detail = "a BGP session is up again, and has not all the routes yet"
	default:
		way.standby(d, v, m)
	}
	if dec.Disposition.Announces() && dec.Disposition != Leaving {
		way.Reasons = append([]Reason{why}, way.Reasons...)
	} else { // which way leads to it is not why
		way.Reasons = append(way.Reasons, why)
	}
	dec.Disposition, dec.Since, dec.Reasons = way.Disposition, way.Since, way.Reasons
}

// inAdvance says what would keep the fallback from working, as long as nobody needs it.
func (dec *Decision) inAdvance(way *Decision, v *Service) {
	for _, f := range []vip.Family{vip.IPv4, vip.IPv6} {
		if why, blocked := way.obstacle(f); blocked && why.Code != CodeAddressUnknown {
			dec.Reasons = append(slices.Clip(dec.Reasons), Reason{Code: CodeFallback, Subject: v.VRRP.Interface, Detail: "would not work: " + why.String()})
			return
		}
	}
}

// fallBack takes the steps to the fallback and back.
func (d *decider) fallBack(s *Service, x FallbackMemory, dec *Decision) FallbackMemory {
	now := d.in.Now
	if d.in.Phase == Starting {
		x = FallbackMemory{} // what an earlier agent saw of its sessions
	}
	switch {
	case d.out.Phase != Running:
		return x
	case !d.anyEstablished():
		x.Back = time.Time{}
		if x.Lost.IsZero() {
			x.Lost = now
		}
		end := x.Lost.Add(s.Fallback.After)
		x.On = x.On || !now.Before(end)
		d.wake(end)
		return x
	}
	x.Lost = time.Time{}
	if !x.On {
		return x
	}
	if x.Back.IsZero() && everywhere(dec.Addresses) {
		x.Back = now
	}
	if x.Back.IsZero() {
		return x
	}
	end := x.Back.Add(fallbackOverlap)
	if !now.Before(end) {
		return FallbackMemory{}
	}
	d.wake(end)
	return x
}

// everywhere says whether every peer has every route that is wanted and that it can
// take, and one has at least.
func everywhere(list []AddressDecision) bool {
	for _, a := range list {
		if a.Wanted && len(a.SentTo) == 0 || a.Wanted && slices.ContainsFunc(a.Reasons, func(r Reason) bool { return r.Code == CodeNotSent || r.Code == CodeStarting }) {
			return false
		}
	}
	return true
}
