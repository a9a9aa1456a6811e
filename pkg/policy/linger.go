package policy

import "net/netip"

// lingering keeps addresses that no service wants any more, because it is
// withdrawn or a reload removed it, while a peer still has a route for them and
// Linger longer: ToRs reprogram, and packets under way must find them. A stop
// keeps all of them until its own step.
func (d *decider) lingering() {
	if d.memory.Stop.Step >= StopRemove || d.here == len(d.in.Addresses) { // all that are here are wanted
		return
	}
	wanted := make(map[netip.Addr]bool, len(d.out.Addresses))
	for _, a := range d.out.Addresses {
		wanted[a] = true
	}
	for a, f := range d.in.Addresses {
		if !f.Ours || wanted[a] {
			continue
		}
		last, known := d.in.Prev.Routed[a]
		if d.isSent(netip.PrefixFrom(a, a.BitLen())) {
			last, known = d.in.Now, true
		}
		end := last.Add(d.in.Linger)
		if !known || d.memory.Stop.Step == StopNone && !d.in.Now.Before(end) {
			continue
		}
		d.out.Addresses = append(d.out.Addresses, a)
		d.memory.Routed[a] = last
		d.wake(end)
	}
}

// isSent says whether any peer still has a route for p from us.
func (d *decider) isSent(p netip.Prefix) bool {
	for _, sent := range d.in.Sent {
		if _, ok := sent[p]; ok {
			return true
		}
	}
	return false
}
