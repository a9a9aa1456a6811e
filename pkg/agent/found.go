package agent

import (
	"maps"

	"github.com/anyvip/anyvip/pkg/kernel/lease"
	"github.com/anyvip/anyvip/pkg/vip"
	"github.com/anyvip/anyvip/vrrp"
)

func (l *loop) takeLeases(r lease.Report) {
	l.leased = r.Addresses
	l.takeAddresses()
}

// takeAddresses puts together what is known of VIPs on this host.
func (l *loop) takeAddresses() {
	if l.kept == nil {
		return // nothing is known yet: an address that is missing would count as absent
	}
	all := l.kept
	if len(l.leased) > 0 {
		all = maps.Clone(l.leased)
		maps.Copy(all, l.kept) // one of mode ecmp is here in any case
	}
	l.recordAddresses(l.input.Addresses, all)
	l.input.Addresses, l.input.Leases = all, l.leased
}

// takeRouters takes what virtual routers are now.
func (l *loop) takeRouters(r vrrp.Report) {
	now := make(map[string]vip.VirtualRouter, len(r.Routers))
	for _, v := range r.Routers {
		now[v.Name] = v
	}
	l.recordRouters(l.input.Routers, now)
	l.input.Routers = now
}

// counted are VRRP's counts by name; none where nothing came.
func counted(received map[vrrp.Drop]uint64, sent uint64) (map[string]uint64, uint64) {
	var out map[string]uint64
	for drop, n := range received {
		if n > 0 {
			if out == nil {
				out = map[string]uint64{}
			}
			out[drop.String()] = n
		}
	}
	return out, sent
}
