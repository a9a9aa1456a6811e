package balance

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// at is where each VIP is while some nodes have failed.
func at(orders [][]int, failed ...int) []int {
	list := make([]int, len(orders))
	for v, order := range orders {
		list[v] = order[slices.IndexFunc(order, func(n int) bool { return !slices.Contains(failed, n) })]
	}
	return list
}

// counts are how many VIPs are at each node.
func counts(at []int, nodes int) []int {
	list := make([]int, nodes)
	for _, n := range at {
		list[n]++
	}
	return list
}

// unevenness is how far the counts of nodes that work are apart.
func unevenness(counts []int, failed ...int) int {
	var list []int
	for n, c := range counts {
		if !slices.Contains(failed, n) {
			list = append(list, c)
		}
	}
	return slices.Max(list) - slices.Min(list)
}

func drawNames(t *rapid.T, what string, most int) []string {
	return rapid.SliceOfNDistinct(rapid.StringMatching("[a-z0-9]{1,4}"), 1, most, rapid.ID).Draw(t, what)
}

func TestOrdersAreEven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes, vips := drawNames(t, "nodes", 12), drawNames(t, "VIPs", 120)
		orders := orders(vips, nodes)
		for v, order := range orders {
			if diff := cmp.Diff(upTo(len(nodes)), slices.Sorted(slices.Values(order))); diff != "" {
				t.Fatalf("%s: %v is no order of all nodes: %s", vips[v], order, diff)
			}
		}
		owned := counts(at(orders), len(nodes))
		if unevenness(owned) > 1 {
			t.Fatalf("owners: %v", owned)
		}
		for failed := range nodes {
			if len(nodes) == 1 {
				break
			}
			then := counts(at(orders, failed), len(nodes))
			inherited := make([]int, len(nodes))
			for n := range inherited {
				inherited[n] = then[n] - owned[n]
			}
			if unevenness(inherited, failed) > 1 || unevenness(then, failed) > 1 {
				t.Fatalf("%s fails: %v more, %v in all", nodes[failed], inherited, then)
			}
		}
	})
}

func TestAReturnMovesOnlyWhatIsTheNodesOwn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes, vips := drawNames(t, "nodes", 8), drawNames(t, "VIPs", 60)
		orders := orders(vips, nodes)
		dead := rapid.SliceOfNDistinct(rapid.IntRange(0, len(nodes)-1), 0, len(nodes)-1, rapid.ID).Draw(t, "dead")
		if len(dead) == 0 {
			return
		}
		before, after := at(orders, dead...), at(orders, dead[1:]...)
		for v := range vips {
			better := slices.Index(orders[v], dead[0]) < slices.Index(orders[v], before[v])
			if moved := before[v] != after[v]; moved != better || moved && after[v] != dead[0] {
				t.Fatalf("%s returns: %s goes from %s to %s", nodes[dead[0]], vips[v], nodes[before[v]], nodes[after[v]])
			}
		}
	})
}

func TestOrdersDependOnNoListsOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes, vips := drawNames(t, "nodes", 8), drawNames(t, "VIPs", 60)
		other, others := rapid.Permutation(nodes).Draw(t, "the same nodes"), rapid.Permutation(vips).Draw(t, "the same VIPs")
		named := func(vips, nodes []string) map[string][]string {
			m := map[string][]string{}
			for v, order := range orders(vips, nodes) {
				for _, n := range order {
					m[vips[v]] = append(m[vips[v]], nodes[n])
				}
			}
			return m
		}
		if diff := cmp.Diff(named(vips, nodes), named(others, other)); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestPriorities(t *testing.T) {
	for n := 1; n <= MostNodes; n++ {
		list := ranks(n)
		for i, p := range list {
			if i > 0 && p >= list[i-1] {
				t.Fatalf("%d nodes: %v", n, list)
			}
			if n <= 10 && int(p) != HighestPriority-10*i {
				t.Errorf("%d nodes: place %d has %d, not what it has with others", n, i, p)
			}
		}
		first, last := int(list[0]), int(list[n-1])
		if n > 1 && first-LowerBy >= last {
			t.Errorf("%d nodes: the first has %d degraded, the last %d healthy", n, first-LowerBy, last)
		}
		if last-LowerBy < 2 || first > 254 {
			t.Errorf("%d nodes: %d to %d", n, last-LowerBy, first)
		}
	}
}

func TestVRID(t *testing.T) {
	for address, want := range map[string]uint8{
		"10.0.5.100": 100, "10.0.5.1": 1, "10.0.5.255": 255, "10.0.4.0": 255, "2001:db8::1:65": 0x65, "2001:db8::100": 255, "fe80::5:164": 0x64,
	} {
		if got := VRID(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %d, want %d", address, got, want)
		}
	}
}

// vipAt is a VIP with the VRID of its first address.
func vipAt(link string, addresses ...string) VIP {
	v := VIP{Link: link}
	for _, a := range addresses {
		v.Addresses = append(v.Addresses, netip.MustParseAddr(a))
	}
	v.VRID = VRID(v.Addresses[0])
	return v
}

func TestClashes(t *testing.T) {
	row := make([]VIP, 0, 255)
	for i := range 255 {
		row = append(row, vipAt("eth1", fmt.Sprintf("10.0.5.%d", 1+i)))
	}
	for _, tt := range []struct {
		name string
		vips []VIP
		want []uint8 // of the clashes: the VRID
		free uint8
	}{
		{"every VRID once", row, nil, 0},
		{"one more", append(slices.Clone(row), vipAt("eth1", "10.0.6.7")), []uint8{7}, 0},
		{"0 stands for 255", []VIP{vipAt("eth1", "10.0.4.255"), vipAt("eth1", "10.0.5.0")}, []uint8{255}, 1},
		{"networks of one segment", []VIP{vipAt("eth1", "10.0.5.1"), vipAt("eth1", "10.0.6.1"), vipAt("eth1", "10.0.5.2")}, []uint8{1}, 3},
		{"two links", []VIP{vipAt("eth1", "10.0.5.1"), vipAt("eth2", "10.0.6.1")}, nil, 0},
		{"two families", []VIP{vipAt("eth1", "10.0.5.1"), vipAt("eth1", "2001:db8::1")}, nil, 0},
		{"one of both families", []VIP{vipAt("eth1", "10.0.5.1", "2001:db8::7"), vipAt("eth1", "2001:db8::1")}, []uint8{1}, 2},
		{"three alike", []VIP{vipAt("eth1", "10.0.5.9"), vipAt("eth1", "10.0.6.9"), vipAt("eth1", "10.0.7.9")}, []uint8{9, 9, 9}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []uint8
			for _, c := range Clashes(tt.vips) {
				got = append(got, c.B.VRID)
				if c.A.VRID != c.B.VRID || c.Free != tt.free {
					t.Errorf("%+v", c)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("clashes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPlan(t *testing.T) {
	vips := []VIP{vipAt("eth1", "10.0.5.100"), vipAt("eth1", "10.0.5.101"), vipAt("eth1", "10.0.5.102")}
	p, err := New([]string{"s1", "s2"}, vips)
	if err != nil {
		t.Fatal(err)
	}
	for v, order := range p.Orders {
		if a, b := p.Priority(v, order[0]), p.Priority(v, order[1]); a != 200 || b != 190 {
			t.Errorf("%s: %d, %d", vips[v].Addresses[0], a, b)
		}
	}
	owned := p.Owned()
	for n := range p.Nodes {
		want := []int{0, 0}
		want[1-n] = owned[n]
		if diff := cmp.Diff(want, p.Inherited(n)); diff != "" {
			t.Errorf("%s fails: %s", p.Nodes[n], diff)
		}
	}

	many := make([]string, MostNodes+1)
	for i := range many {
		many[i] = fmt.Sprint("s", i)
	}
	for _, tt := range []struct {
		nodes []string
		vips  []VIP
		want  string
	}{
		{nil, vips, "there are no nodes"},
		{[]string{"s1"}, nil, "there are no VIPs"},
		{[]string{"s1", "s2", "s1"}, vips, "node s1 is there twice"},
		{[]string{"s1"}, append(slices.Clone(vips), vips[0]), "VIP 10.0.5.100 is there twice"},
		{many, vips, "100 nodes are too many: VRRP has priorities for 99 at most, if the degraded are to stand below the healthy"},
	} {
		if _, err := New(tt.nodes, tt.vips); err == nil || err.Error() != tt.want {
			t.Errorf("got %v, want %s", err, tt.want)
		}
	}
	if _, err := New(many[:MostNodes], vips); err != nil {
		t.Error(err)
	}
}

// TestTheOddOnesOut has more nodes than VIPs: who has none takes over first.
func TestTheOddOnesOut(t *testing.T) {
	for range 100 {
		vips := []string{fmt.Sprint(rand.Uint32()), fmt.Sprint(rand.Uint32())}
		orders := orders(vips, []string{"s1", "s2", "s3"})
		for _, owner := range at(orders) {
			if c := counts(at(orders, owner), 3); slices.Max(c) > 1 {
				t.Fatalf("%v: %v, and %v", vips, orders, c)
			}
		}
	}
}
