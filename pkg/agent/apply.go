package agent

import (
	"net/netip"
	"slices"

	"github.com/anyvip/anyvip/bgp"
	"github.com/anyvip/anyvip/bgp/neighbor"
	"github.com/anyvip/anyvip/checks"
	"github.com/anyvip/anyvip/pkg/hint"
	"github.com/anyvip/anyvip/pkg/kernel"
	"github.com/anyvip/anyvip/pkg/policy"
	"github.com/anyvip/anyvip/pkg/vip"
)

// apply hands the decision to every receiver, as whole sets; routes first, since
// somebody waits for them.
func (l *loop) apply() {
	l.out.bgp(l.desiredBGP())
	l.out.routers(candidacies(l.desired.Routers, func(file string) string { return string(l.config.Secrets[file]) }))
	l.out.kernel(kernel.Desired{Addresses: l.desired.Addresses, Leased: l.desired.Leased, Defaults: l.desired.Defaults, AdoptDefaults: l.desired.AdoptDefaults})
	l.out.neighbors(l.desiredNeighbors())
	l.out.checks(l.desiredProbes())
	l.out.hints(l.desiredHints())
	l.out.flows(l.desired.Watch)
	if len(l.desired.Watch) == 0 {
		l.input.Flows = nil // what was seen then says nothing about the next time
	}
	l.keep()
}

// remember takes what an earlier agent left, before the first decision.
func (l *loop) remember(left map[string]*policy.ServiceMemory) { l.desired.Memory.Services = left }

// keep leaves to the next agent what it must know of failures. While this one starts it has
// announced nothing, and may yet be refused because the state directory is another agent's;
// while it stops, what fails was as a rule stopped with it.
func (l *loop) keep() {
	if l.desired.Phase == policy.Running {
		l.out.keep(l.desired.Memory.Services)
	}
}

// desiredHints are the kernel events that are worth a probe.
func (l *loop) desiredHints() []hint.Watch {
	out := make([]hint.Watch, 0, len(l.config.Checks))
	for _, c := range l.config.Checks {
		w := hint.Watch{Check: c.Name}
		if to := l.checks[c.Name].connects; to.IsValid() && l.isHere(to.Addr()) {
			w.Listener = to
		}
		if c.Watch != nil {
			w.PIDFile, w.Files, w.Unit = c.Watch.PIDFile, c.Watch.Files, c.Watch.Unit
		}
		out = append(out, w)
	}
	if l.config.DrainFile != "" {
		out = append(out, hint.Watch{Check: drainFileWatch, Files: []string{l.config.DrainFile}, Begin: true})
	}
	return out
}

// isHere says whether an address is one of this host.
func (l *loop) isHere(a netip.Addr) bool {
	if _, ours := l.input.Addresses[a]; ours || a.IsLoopback() {
		return true
	}
	return slices.ContainsFunc(l.input.Links, func(k vip.Link) bool {
		return slices.ContainsFunc(k.Prefixes, func(p netip.Prefix) bool { return p.Addr() == a })
	})
}

func (l *loop) desiredNeighbors() neighbor.Desired {
	links := make([]neighbor.Link, len(l.desired.Unnumbered))
	for i, u := range l.desired.Unnumbered {
		links[i] = neighbor.Link(u)
	}
	return neighbor.Desired{Links: links}
}

func (l *loop) desiredProbes() []checks.Probe {
	probes := make([]checks.Probe, len(l.config.Checks))
	for i, c := range l.config.Checks {
		_, fast := slices.BinarySearch(l.desired.Fast, c.Name)
		probes[i] = checks.Probe{Config: c, Fast: fast}
	}
	return probes
}

// desiredBGP joins what policy wants with the peers as the file has them.
func (l *loop) desiredBGP() bgp.Desired {
	c := l.config.BGP
	d := bgp.Desired{ASN: c.ASN, RouterID: c.RouterID, AllowedPrefixes: c.AllowedPrefixes,
		ImportDefault: c.ImportDefault, Announcements: l.desired.Announcements}
	if slices.ContainsFunc(c.Peers, func(p bgp.PeerConfig) bool { return p.Passive }) {
		d.ListenPort = c.ListenPort
	}
	for i, p := range c.Peers {
		want := l.desired.Sessions[i] // Decide keeps the order of Input.Peers
		d.Peers = append(d.Peers, bgp.Peer{
			Name: p.Name, Address: want.Address, ASN: p.ASN.Number, Port: p.Port, LocalAddress: p.LocalAddress,
			HoldTime: p.HoldTime, Password: l.config.Password(p), TTLSecurity: p.TTLSecurity,
			Multihop: p.Multihop, Passive: p.Passive,
			Up: want.Up, Cause: want.Cause, Text: want.Text, NextHop6: want.NextHop6,
		})
	}
	return d
}

func policyPeers(peers []bgp.PeerConfig) []policy.Peer {
	out := make([]policy.Peer, len(peers))
	for i, p := range peers {
		out[i] = policy.Peer{Name: p.Name, Address: p.Address, Interface: p.Interface, Multihop: p.Multihop > 0, NextHop6: p.NextHop6}
	}
	return out
}
