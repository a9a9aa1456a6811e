package balance

// Priorities stand in two bands. A healthy node has HighestPriority or somewhat less, by
// its place in the VIP's order. A degraded one has LowerBy less: the degraded keep their
// order, and the best of them stands below the last of the healthy. Both bands end before
// what has a meaning of its own: 255 is the owner of an address, 0 a router that leaves,
// and 1 one that is drained and looks for a successor.
//
// A step of 10 keeps the Skew_Times of two neighbours in an order 39 ms apart while
// advertisements come every second. Up to ten nodes the priority of a place is the same
// however many there are: one node more changes no more numbers than it must.
const (
	HighestPriority = 200
	LowerBy         = 100

	leastPriority = 2
	// MostNodes is how many nodes such priorities can tell apart.
	MostNodes = HighestPriority - LowerBy - leastPriority + 1
)

// ranks are the priorities of the first, second, ... of so many nodes.
func ranks(nodes int) []uint8 {
	list := make([]uint8, nodes)
	for i := range list {
		list[i] = uint8(HighestPriority - i*step(nodes))
	}
	return list
}

// step is how far priorities of neighbours in an order are apart.
func step(nodes int) int {
	for _, s := range []int{10, 5, 2} {
		if HighestPriority-(nodes-1)*s-LowerBy >= leastPriority {
			return s
		}
	}
	return 1
}
