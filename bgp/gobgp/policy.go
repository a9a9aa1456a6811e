package gobgp

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/osrg/gobgp/v4/api"

	"github.com/anyvip/anyvip/bgp"
	"github.com/anyvip/anyvip/pkg/vip"
)

const (
	importPolicy = "import"
	exportPolicy = "export"
	globalTable  = "global" // GoBGP's name of the table whose policies all our peers share
)

// policy is everything that our export policy depends on.
type policy struct {
	asn     uint32
	allowed []netip.Prefix
	markers []marker // in use, sorted; grows only
	peers   []peerPolicy
}

// peerPolicy is what may go to one peer, beside what the prefixes allow.
type peerPolicy struct {
	address  netip.Addr
	ipv4     bool       // an IPv4 session, or RFC 8950 was negotiated
	nextHop6 netip.Addr // for IPv6 prefixes on an IPv4 session; zero on an IPv6 session
}

func (p policy) equal(q policy) bool {
	return p.asn == q.asn && slices.Equal(p.allowed, q.allowed) && slices.Equal(p.markers, q.markers) && slices.Equal(p.peers, q.peers)
}

// policyFor is the policy for the peers as they are now.
func (s *Speaker) policyFor(allowed []netip.Prefix) policy {
	p := policy{asn: s.shared.asn, allowed: allowed, markers: s.policy.markers}
	for _, peer := range s.peers {
		w := peer.want
		if !w.Address.IsValid() {
			continue
		}
		pp := peerPolicy{address: w.Address, ipv4: w.Address.Is4() || peer.extended}
		if w.Address.Is4() {
			pp.nextHop6 = w.NextHop6
		}
		p.peers = append(p.peers, pp)
	}
	slices.SortFunc(p.peers, func(a, b peerPolicy) int { return a.address.Compare(b.address) })
	return p
}

// needMarkers makes sure that the policy knows each marker that add uses.
func (s *Speaker) needMarkers(add []vip.Announcement) error {
	p := s.policy
	for _, a := range add {
		if m := markerOf(a); m.prepend() > 0 && !slices.Contains(p.markers, m) {
			p.markers = append(slices.Clone(p.markers), m)
			slices.Sort(p.markers)
		}
	}
	return s.setPolicy(p)
}

// setPolicy replaces the policies as a whole, and sends again what the change
// lets out or holds back, to the peers that it concerns.
func (s *Speaker) setPolicy(p policy) error {
	if p.equal(s.policy) {
		return nil
	}
	ctx := context.Background()
	if err := s.server.SetPolicies(ctx, p.request()); err != nil {
		return fmt.Errorf("set bgp policies: %w", err)
	}
	if s.policy.asn == 0 { // the first of this server
		for direction, name := range map[api.PolicyDirection]string{
			api.PolicyDirection_POLICY_DIRECTION_IMPORT: importPolicy,
			api.PolicyDirection_POLICY_DIRECTION_EXPORT: exportPolicy,
		} {
			err := s.server.AddPolicyAssignment(ctx, &api.AddPolicyAssignmentRequest{Assignment: &api.PolicyAssignment{
				Name: globalTable, Direction: direction, Policies: []*api.Policy{{Name: name}},
				DefaultAction: api.RouteAction_ROUTE_ACTION_REJECT,
			}})
			if err != nil {
				return fmt.Errorf("assign bgp policy %s: %w", name, err)
			}
		}
	}
	was := s.policy
	s.policy = p
	s.announcedAt = time.Now() // sessions that are just coming up may have been sent routes by the old one
	s.resend(was, p)
	return nil
}

// resend asks for a soft reset outwards (no session goes down) of Established
// peers that p treats otherwise than was did.
func (s *Speaker) resend(was, p policy) {
	everywhere := !slices.Equal(was.allowed, p.allowed)
	for _, peer := range s.peers {
		concerned := func(q policy) int {
			return slices.IndexFunc(q.peers, func(pp peerPolicy) bool { return pp.address == peer.want.Address })
		}
		i, j := concerned(was), concerned(p)
		if !everywhere && i >= 0 && j >= 0 && was.peers[i] == p.peers[j] || peer.session.State != vip.Established {
			continue
		}
		s.softReset(peer)
	}
}

// softReset sends an Established peer all routes again, and withdraws what the
// policy no longer lets out. Where that fails, a new session does.
func (s *Speaker) softReset(p *peer) {
	err := s.server.ResetPeer(context.Background(), &api.ResetPeerRequest{
		Address: p.want.Address.String(), Soft: true, Direction: api.ResetPeerRequest_DIRECTION_OUT})
	if err != nil {
		s.log.Warn("cannot send routes again; starting the session again", "peer", p.want.Name, "error", err)
		p.reopen = time.Now()
	}
}

// request is the policy in GoBGP's words. A set without members matches
// everything there, so a statement about nobody is left out.
func (p policy) request() *api.SetPoliciesRequest {
	b := builder{request: &api.SetPoliciesRequest{}}
	b.policy(importPolicy, []*api.Statement{{
		Name:       "own routes in",
		Conditions: &api.Conditions{RouteType: api.Conditions_ROUTE_TYPE_LOCAL},
		Actions:    &api.Actions{RouteAction: api.RouteAction_ROUTE_ACTION_ACCEPT},
	}})
	b.policy(exportPolicy, slices.Concat(p.markerStatements(&b), p.exportStatements(&b)))
	return b.request
}

// markerStatements repeat our AS number as often as a path's marker says, on eBGP,
// and take the marker off everywhere. Our own path has an AS number by then only
// where it goes out to another AS. GoBGP can take off all extended communities alone,
// or lose those that are not transitive: the marker's weight is put back.
func (p policy) markerStatements(b *builder) (statements []*api.Statement) {
	ebgp := &api.AsPathLength{Type: api.Comparison_COMPARISON_GE, Length: 1}
	for _, m := range p.markers {
		has := b.marker(fmt.Sprintf("marker %d", m), fmt.Sprintf("rt:^%d:%d$", markerAS, m))
		left := &api.CommunityAction{Type: api.CommunityAction_TYPE_REPLACE}
		if w := m.weight(); w > 0 {
			left.Communities = []string{fmt.Sprintf("lb:%d:%d", twoOctets(p.asn), uint64(w)*weightUnit)}
		}
		statements = append(statements, &api.Statement{
			Name:       fmt.Sprintf("prepend of marker %d", m),
			Conditions: &api.Conditions{AsPathLength: ebgp, ExtCommunitySet: has},
			Actions:    &api.Actions{AsPrepend: &api.AsPrependAction{Asn: p.asn, Repeat: uint32(m.prepend())}},
		}, &api.Statement{
			Name:       fmt.Sprintf("marker %d stays here", m),
			Conditions: &api.Conditions{ExtCommunitySet: has},
			Actions:    &api.Actions{ExtCommunity: left},
		})
	}
	return statements
}

// exportStatements are the guard: host routes within the allowed prefixes that
// are our own, and only to peers that can use them.
func (p policy) exportStatements(b *builder) (statements []*api.Statement) {
	let := func(name string, to, what *api.MatchSet, nextHop6 netip.Addr) {
		if to == nil || what == nil {
			return
		}
		st := &api.Statement{
			Name:       name,
			Conditions: &api.Conditions{NeighborSet: to, PrefixSet: what, RouteType: api.Conditions_ROUTE_TYPE_LOCAL},
			Actions:    &api.Actions{RouteAction: api.RouteAction_ROUTE_ACTION_ACCEPT},
		}
		if nextHop6.IsValid() {
			st.Actions.Nexthop = &api.NexthopAction{Address: nextHop6.String()}
		}
		statements = append(statements, st)
	}
	hosts4, hosts6 := b.hosts("ipv4 hosts", p.allowed, vip.IPv4), b.hosts("ipv6 hosts", p.allowed, vip.IPv6)
	let("ipv4 out", b.neighbors("ipv4", p.addresses(func(pp peerPolicy) bool { return pp.ipv4 })), hosts4, netip.Addr{})
	let("ipv6 out", b.neighbors("ipv6", p.addresses(func(pp peerPolicy) bool { return pp.address.Is6() })), hosts6, netip.Addr{})
	for _, pp := range p.peers {
		if pp.nextHop6.IsValid() {
			name := "ipv6 to " + pp.address.String()
			let(name, b.neighbors(name, []netip.Addr{pp.address}), hosts6, pp.nextHop6)
		}
	}
	return statements
}

func (p policy) addresses(f func(peerPolicy) bool) (out []netip.Addr) {
	for _, pp := range p.peers {
		if f(pp) {
			out = append(out, pp.address)
		}
	}
	return out
}

// builder collects policies and the sets that they name.
type builder struct{ request *api.SetPoliciesRequest }

func (b *builder) policy(name string, statements []*api.Statement) {
	b.request.Policies = append(b.request.Policies, &api.Policy{Name: name, Statements: statements})
}

func (b *builder) add(set *api.DefinedSet) *api.MatchSet {
	b.request.DefinedSets = append(b.request.DefinedSets, set)
	return &api.MatchSet{Type: api.MatchSet_TYPE_ANY, Name: set.Name}
}

// neighbors is a set of peers. GoBGP does not look at the zone: peers with the
// same link-local address on several links are in it all or none, see hasTwin.
func (b *builder) neighbors(name string, addresses []netip.Addr) *api.MatchSet {
	if len(addresses) == 0 {
		return nil
	}
	set := &api.DefinedSet{DefinedType: api.DefinedType_DEFINED_TYPE_NEIGHBOR, Name: name}
	for _, a := range addresses {
		set.List = append(set.List, netip.PrefixFrom(a, a.BitLen()).String())
	}
	return b.add(set)
}

func (b *builder) marker(name string, list ...string) *api.MatchSet {
	return b.add(&api.DefinedSet{DefinedType: api.DefinedType_DEFINED_TYPE_EXT_COMMUNITY, Name: name, List: list})
}

// hosts are the host routes within those of the prefixes that are of family f.
func (b *builder) hosts(name string, within []netip.Prefix, f vip.Family) *api.MatchSet {
	set := &api.DefinedSet{DefinedType: api.DefinedType_DEFINED_TYPE_PREFIX, Name: name}
	for _, p := range within {
		if vip.FamilyOf(p.Addr()) == f {
			bits := uint32(p.Addr().BitLen())
			set.Prefixes = append(set.Prefixes, &api.Prefix{IpPrefix: p.Masked().String(), MaskLengthMin: bits, MaskLengthMax: bits})
		}
	}
	if len(set.Prefixes) == 0 {
		return nil
	}
	return b.add(set)
}

var _ bgp.Speaker = (*Speaker)(nil)
