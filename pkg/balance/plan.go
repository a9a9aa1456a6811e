package balance

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// VIP is what moves as one: the addresses of a service in mode vrrp.
type VIP struct {
	Addresses []netip.Addr // one at least; the first is what it is known by
	Link      string
	VRID      uint8
}

// Plan says which node answers for which VIP.
type Plan struct {
	Nodes  []string
	VIPs   []VIP
	Orders [][]int // by VIP: the nodes, its owner first, then who takes over from whom

	ranks []uint8 // the priorities of the first, second, ... of an order
}

// New makes a plan. Nodes have different names, and VIPs different first addresses.
func New(nodes []string, vips []VIP) (Plan, error) {
	switch {
	case len(nodes) == 0:
		return Plan{}, errors.New("there are no nodes")
	case len(vips) == 0:
		return Plan{}, errors.New("there are no VIPs")
	case len(nodes) > MostNodes:
		return Plan{}, fmt.Errorf("%d nodes are too many: VRRP has priorities for %d at most, if the degraded are to stand below the healthy", len(nodes), MostNodes)
	}
	names := make([]string, len(vips))
	for i, v := range vips {
		names[i] = v.Addresses[0].String()
	}
	if name, twice := double(nodes); twice {
		return Plan{}, fmt.Errorf("node %s is there twice", name)
	}
	if name, twice := double(names); twice {
		return Plan{}, fmt.Errorf("VIP %s is there twice", name)
	}
	return Plan{Nodes: nodes, VIPs: vips, Orders: orders(names, nodes), ranks: ranks(len(nodes))}, nil
}

func double(names []string) (name string, twice bool) {
	seen := map[string]bool{}
	for _, n := range names {
		if seen[n] {
			return n, true
		}
		seen[n] = true
	}
	return "", false
}

// Priority is what a node says for a VIP.
func (p Plan) Priority(vip, node int) uint8 {
	return p.ranks[slices.Index(p.Orders[vip], node)]
}

// Owned is how many VIPs each node has while all work.
func (p Plan) Owned() []int { return p.loads(-1) }

// Inherited is how many VIPs each node has from one that failed.
func (p Plan) Inherited(failed int) []int {
	more := p.loads(failed)
	for n, owned := range p.Owned() {
		more[n] -= owned
	}
	more[failed] = 0
	return more
}

// loads is how many VIPs each node has while one has failed, or none.
func (p Plan) loads(failed int) []int {
	loads := make([]int, len(p.Nodes))
	for _, order := range p.Orders {
		for _, n := range order {
			if n != failed {
				loads[n]++
				break
			}
		}
	}
	return loads
}
