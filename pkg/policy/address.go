package policy

import (
	"net/netip"
	"slices"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

// addresses decides each VIP of a service: whether it should be on this host,
// whether it is announced, and what each peer has.
func (d *decider) addresses(s *Service, m, prev *ServiceMemory) []AddressDecision {
	announces := m.Disposition.Announces()
	here := d.memory.Stop.Step < StopRemove && (s.WhenWithdrawn == Keep || announces)
	ann := s.ECMP.announcement(m.Level)
	if announces {
		weight, more := grown(ann.Weight, s.ECMP.SlowStart, m.GrowFrom, d.in.Now)
		ann.Weight = weight
		d.wake(more)
	}
	if m.Disposition == Leaving {
		ann = leavingAnnouncement(ann)
	}
	n := len(s.Addresses)
	out := d.addressed[:n:n]
	d.addressed = d.addressed[n:]
	for i, h := range s.Addresses {
		a := &out[i]
		a.Prefix = h.Prefix
		addr := h.Addr()
		if !here && !announces {
			continue
		}
		f, known := d.in.Addresses[addr]
		if here {
			d.out.Addresses = append(d.out.Addresses, addr)
			if known {
				d.here++
			}
		}
		if !announces {
			continue
		}
		if r, ok := d.addressUsable(&f, addr, prev); !ok {
			a.Reasons = []Reason{r}
			continue
		}
		a.Wanted, ann.Prefix = true, h.Prefix
		d.out.Announcements = append(d.out.Announcements, ann)
		a.SentTo, a.Reasons = d.reach(ann)
	}
	return out
}

// announcedAddresses are the addresses whose announcement is wanted, in the order of
// the list. While they are the same as before, so is the slice, which nobody changes.
func announcedAddresses(list []AddressDecision, before []netip.Addr) []netip.Addr {
	n, same := 0, true
	for i := range list {
		if a := &list[i]; a.Wanted {
			same = same && n < len(before) && before[n] == a.Prefix.Addr()
			n++
		}
	}
	if same && n == len(before) {
		return before
	}
	now := make([]netip.Addr, 0, n)
	for i := range list {
		if a := &list[i]; a.Wanted {
			now = append(now, a.Prefix.Addr())
		}
	}
	return now
}

const (
	addressGrace   = 100 * time.Millisecond // an announced address may be away this long
	unstableLosses = 5                      // losses within unstableWindow that end trust in an address
	unstableWindow = 10 * time.Second
)

// addressUsable says whether an announcement may rest on the address: it is
// present, or was announced and is away for a moment, and is not being taken
// away again and again.
func (d *decider) addressUsable(f *vip.Address, addr netip.Addr, prev *ServiceMemory) (Reason, bool) {
	if f.State == vip.AddressPresent && len(f.Lost) < unstableLosses {
		return Reason{}, true // as good as always
	}
	r := Reason{Subject: addr.String(), Detail: f.Detail, Since: f.Since}
	if n := len(f.Lost); n >= unstableLosses {
		if until := f.Lost[n-unstableLosses].Add(unstableWindow); d.in.Now.Before(until) {
			d.wake(until)
			r.Code, r.Until = CodeAddressUnstable, until
			r.Detail = "someone keeps removing it from this host; find out who"
			return r, false
		}
	}
	switch f.State {
	case vip.AddressPresent:
		return Reason{}, true
	case vip.AddressUnknown:
		r.Code = CodeAddressUnknown
	case vip.AddressAbsent:
		r.Code = CodeAddressAbsent
	case vip.AddressTentative:
		r.Code = CodeAddressTentative
	case vip.AddressRefused:
		r.Code = CodeAddressRefused
		return r, false
	}
	until := f.Since.Add(addressGrace)
	if d.in.Now.Before(until) && d.wasAnnounced(addr, prev) {
		d.wake(until)
		return Reason{}, true
	}
	return r, false
}

// wasAnnounced looks into Announced as into a set, which is made once for a service.
func (d *decider) wasAnnounced(addr netip.Addr, prev *ServiceMemory) bool {
	if d.before.of != prev {
		d.before.of, d.before.set = prev, make(map[netip.Addr]bool, len(prev.Announced))
		for _, a := range prev.Announced {
			d.before.set[a] = true
		}
	}
	return d.before.set[addr]
}

// way is how routes of one family get to one peer, or why they cannot.
type way struct {
	peer     string
	open     bool
	obstacle Reason // while it is not open
	sent     map[netip.Prefix]vip.Announcement
}

func (d *decider) waysOf(f vip.Family) []way {
	ways := make([]way, len(d.in.Peers))
	for i, p := range d.in.Peers {
		ways[i] = way{peer: p.Name, sent: d.in.Sent[p.Name]}
		ways[i].obstacle, ways[i].open = d.takes(p, f)
	}
	return ways
}

// reach says which peers have exactly this announcement, sorted, and why the
// others do not. VIPs that the same peers have share one list of them.
func (d *decider) reach(ann vip.Announcement) (sent []string, why []Reason) {
	if len(d.in.Peers) == 0 {
		return nil, []Reason{{Code: CodeNoPeer, Detail: "bgp.peers is empty, so nobody hears of it"}}
	}
	if d.out.Phase == Starting {
		return nil, []Reason{{Code: CodeStarting, Detail: "the first round of checks is not over"}}
	}
	sent = d.scratch[:0]
	ways := d.ways[vip.FamilyOf(ann.Prefix.Addr())]
	for i := range ways {
		w := &ways[i]
		r := w.obstacle
		if w.open {
			if got, there := w.sent[ann.Prefix]; there && got.Equal(ann) {
				sent = append(sent, w.peer)
				continue
			}
			r = Reason{Code: CodeNotSent, Subject: w.peer}
		}
		why = append(why, r)
	}
	d.scratch = sent
	slices.Sort(sent)
	if !slices.Equal(sent, d.sent) {
		d.sent = slices.Clone(sent)
	}
	return d.sent, why
}

// takes says whether a route of a family can be sent to p at all.
func (d *decider) takes(p Peer, family vip.Family) (Reason, bool) {
	s := d.out.Shown[p.Name]
	if s.State != vip.Established {
		detail := s.Detail
		if detail == "" {
			detail = "the session is in state " + s.State.String()
		}
		return Reason{Code: CodeSessionDown, Subject: p.Name, Detail: detail, Since: s.Since}, false
	}
	if !slices.Contains(s.Families, family) {
		return Reason{Code: CodeFamilyMissing, Subject: p.Name, Since: s.Since, Detail: familyAdvice(family, s)}, false
	}
	if family == vip.IPv6 && s.Remote.Is4() && !d.nextHop6(p).IsValid() {
		return Reason{Code: CodeNoNextHop6, Subject: p.Name,
			Detail: "the session's interface has no global IPv6 address; add one, or set next_hop6 for this peer"}, false
	}
	return Reason{}, true
}

func familyAdvice(f vip.Family, s vip.Session) string {
	if f == vip.IPv4 && s.Remote.Is6() {
		return "IPv4 over an IPv6 session needs extended next hops (RFC 8950) there, or add an IPv4 session"
	}
	return "the peer did not negotiate " + f.String() + "; activate it for this neighbour there"
}
