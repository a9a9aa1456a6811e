package router

import (
	"cmp"
	"slices"
)

// Best returns the paths that share the traffic of one prefix, at most max of them, ordered by next hop, each next
// hop once. It follows RFC 4271, section 9.1.2.2, up to the point where only tie-breakers are left, which is what
// routers call multipath with as-path multipath-relax: highest local preference, shortest AS path, lowest origin,
// lowest MED among paths of one neighbor AS, eBGP before iBGP. The caller has removed paths whose next hop cannot be
// reached. Best does not change its argument.
func Best(paths []Path, max int) []Path {
	best := slices.Clone(paths)
	best = keepLowest(best, func(p Path) int64 { return -int64(p.LocalPref) })
	best = keepLowest(best, func(p Path) int64 { return int64(p.ASPathLen) })
	best = keepLowest(best, func(p Path) int64 { return int64(p.Origin) })
	best = dropWorseMED(best)
	best = keepLowest(best, func(p Path) int64 {
		if p.External {
			return 0
		}
		return 1
	})

	slices.SortFunc(best, func(a, b Path) int { return cmp.Or(a.NextHop.Compare(b.NextHop), a.Peer.Compare(b.Peer)) })
	best = slices.CompactFunc(best, func(a, b Path) bool { return a.NextHop == b.NextHop })
	return best[:min(len(best), max)]
}

func keepLowest(paths []Path, key func(Path) int64) []Path {
	if len(paths) == 0 {
		return nil
	}
	lowest := key(slices.MinFunc(paths, func(a, b Path) int { return cmp.Compare(key(a), key(b)) }))
	return slices.DeleteFunc(paths, func(p Path) bool { return key(p) != lowest })
}

func dropWorseMED(paths []Path) []Path {
	lowest := map[uint32]uint32{}
	for _, p := range paths {
		if med, seen := lowest[p.NeighborAS]; !seen || p.MED < med {
			lowest[p.NeighborAS] = p.MED
		}
	}
	return slices.DeleteFunc(paths, func(p Path) bool { return p.MED > lowest[p.NeighborAS] })
}
