package balance

import (
	"cmp"
	"slices"
)

// orders are each VIP's order of preference over the nodes, as indices. Names of VIPs, and
// of nodes, are there once each, in any order.
//
// Owners differ by one VIP at most, and so do the shares that the others get of a node
// that fails, and what each has then. Within these bounds every VIP is where rendezvous
// hashing wants it, so that another VIP or node moves little. From the third place on,
// which matters when two have failed, it is rendezvous hashing alone: evenness there would
// change most orders with every VIP that comes or goes.
func orders(vips, nodes []string) [][]int {
	p := placing{vips: sorted(vips), nodes: sorted(nodes)}
	p.scores = make([][]int64, len(vips))
	for i, v := range p.vips {
		for _, n := range p.nodes {
			p.scores[i] = append(p.scores[i], score(vips[v], nodes[n]))
		}
	}
	list := make([][]int, len(vips))
	for i, order := range p.orders() {
		for _, n := range order {
			list[p.vips[i]] = append(list[p.vips[i]], p.nodes[n])
		}
	}
	return list
}

// sorted are the indices of names in the order of these.
func sorted(names []string) []int {
	list := upTo(len(names))
	slices.SortFunc(list, func(a, b int) int { return cmp.Compare(names[a], names[b]) })
	return list
}

func upTo(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

// placing is the work of orders, by numbers that follow the names.
type placing struct {
	vips, nodes []int     // number to index
	scores      [][]int64 // by VIP and node: the higher, the better it suits
}

// orders are the orders by numbers: first the owners, then who takes over from each.
func (p placing) orders() [][]int {
	owned := p.divide(upTo(len(p.vips)), upTo(len(p.nodes)), make([]int, len(p.nodes)))
	loads := make([]int, len(p.nodes))
	for n, vips := range owned {
		loads[n] = len(vips)
	}
	list := make([][]int, len(p.vips))
	for owner, vips := range owned {
		for _, v := range vips {
			list[v] = p.order(v, owner)
		}
		others := slices.DeleteFunc(upTo(len(p.nodes)), func(n int) bool { return n == owner })
		if len(others) == 0 {
			break
		}
		for second, inherited := range p.divide(vips, others, loads) {
			for _, v := range inherited {
				list[v] = p.order(v, owner, second)
			}
		}
	}
	return list
}

// order is a VIP's whole order, which begins with those that are decided.
func (p placing) order(v int, decided ...int) []int {
	rest := slices.DeleteFunc(upTo(len(p.nodes)), func(n int) bool { return slices.Contains(decided, n) })
	slices.SortStableFunc(rest, func(a, b int) int { return cmp.Compare(p.scores[v][b], p.scores[v][a]) })
	return append(decided, rest...)
}

// score is a number that looks random, and is the same everywhere: FNV-1a, whose last
// bytes are mixed badly, and SplitMix64's finalizer.
func score(vip, node string) int64 {
	x := uint64(0xcbf29ce484222325)
	for _, b := range []byte(vip + " " + node) {
		x = (x ^ uint64(b)) * 0x100000001b3
	}
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return int64((x ^ x>>31) >> 16) // sums of many fit into 64 bits
}
