package balance

import (
	"cmp"
	"math"
	"slices"
)

// division is VIPs that are divided among nodes.
type division struct {
	scores [][]int64
	nodes  []int   // who may have some
	held   [][]int // by node
	shares []share // by node
}

// share is how many VIPs a node may have in the end.
type share struct{ least, most int }

// divide divides VIPs among nodes, one at least, and returns who has which. Shares differ
// by one at most; the larger ones go to those that have fewer VIPs anyway. At first each
// VIP is where its score is highest. Then they go, one step after the other, from where
// there are too many to where there are too few, by the way that costs the least score.
func (p placing) divide(vips, nodes, loads []int) [][]int {
	d := division{scores: p.scores, nodes: nodes, held: make([][]int, len(p.nodes)), shares: shares(len(vips), nodes, loads)}
	for _, v := range vips {
		best := slices.MaxFunc(nodes, func(a, b int) int { return cmp.Compare(p.scores[v][a], p.scores[v][b]) })
		d.held[best] = append(d.held[best], v)
	}
	for d.step() {
	}
	return d.held
}

// shares are how many of so many VIPs each node may have, by node.
func shares(vips int, nodes, loads []int) []share {
	list := make([]share, len(loads))
	each, larger := vips/len(nodes), vips%len(nodes)
	light := slices.Clone(nodes)
	slices.SortFunc(light, func(a, b int) int { return cmp.Compare(loads[a], loads[b]) })
	for _, n := range nodes {
		s := share{each, each}
		if larger > 0 {
			switch last := light[larger-1]; cmp.Compare(loads[n], loads[last]) {
			case -1:
				s = share{each + 1, each + 1}
			case 0: // as many of these as there are larger shares left
				s.most++
			}
		}
		list[n] = s
	}
	return list
}

// step moves one VIP, or one each along a way, and says whether any share was wrong.
func (d *division) step() bool {
	from := d.where(func(held int, s share) bool { return held > s.most })
	to := d.where(func(held int, s share) bool { return held < s.least })
	switch {
	case len(from) == 0 && len(to) == 0:
		return false
	case len(from) == 0:
		from = d.where(func(held int, s share) bool { return held > s.least })
	case len(to) == 0:
		to = d.where(func(held int, s share) bool { return held < s.most })
	}
	for _, m := range d.way(from, to) {
		d.held[m.from] = slices.DeleteFunc(d.held[m.from], func(v int) bool { return v == m.vip })
		d.held[m.to] = append(d.held[m.to], m.vip)
	}
	return true
}

func (d *division) where(is func(held int, s share) bool) (list []int) {
	for _, n := range d.nodes {
		if is(len(d.held[n]), d.shares[n]) {
			list = append(list, n)
		}
	}
	return list
}

// move is a VIP that goes from one node to another, and how much less it suits there.
type move struct {
	from, to, vip int
	cost          int64
}

// way is the cheapest way from one of some nodes to one of others: the shortest path by
// Bellman and Ford. A move may gain, but no circle of them does, since every VIP was at its
// best place first, and only cheapest ways have been gone.
func (d *division) way(from, to []int) (way []move) {
	moves := d.moves()
	cost := make([]int64, len(d.held))
	last := make([]*move, len(d.held))
	for n := range cost {
		cost[n] = math.MaxInt64
	}
	for _, n := range from {
		cost[n] = 0
	}
	for shorter := true; shorter; {
		shorter = false
		for i := range moves {
			m := &moves[i]
			if cost[m.from] < math.MaxInt64 && cost[m.from]+m.cost < cost[m.to] {
				cost[m.to], last[m.to], shorter = cost[m.from]+m.cost, m, true
			}
		}
	}
	end := slices.MinFunc(to, func(a, b int) int { return cmp.Compare(cost[a], cost[b]) })
	for m := last[end]; m != nil; m = last[m.from] {
		way = append(way, *m)
	}
	return way
}

// moves are the cheapest between any two nodes.
func (d *division) moves() (list []move) {
	for _, from := range d.nodes {
		for _, to := range d.nodes {
			if from == to || len(d.held[from]) == 0 {
				continue
			}
			loss := func(v int) int64 { return d.scores[v][from] - d.scores[v][to] }
			v := slices.MinFunc(d.held[from], func(a, b int) int { return cmp.Or(cmp.Compare(loss(a), loss(b)), cmp.Compare(a, b)) })
			list = append(list, move{from, to, v, loss(v)})
		}
	}
	return list
}
