package balance

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// figuresFile is the page that has the figures, as this test makes them.
const figuresFile = "../../docs/adr/0008-balance.md"

// schemes are ways to make orders, of which ours is the last.
var schemes = []struct {
	name   string
	orders func(vips, nodes []string) [][]int
}{
	{"by place in the list", byPlace},
	{"rendezvous hashing", byRendezvous},
	{"evened rendezvous", orders},
}

// byPlace gives out VIPs like cards, and each owner's successors likewise.
func byPlace(vips, nodes []string) [][]int {
	list := make([][]int, len(vips))
	for v := range vips {
		owner, round := v%len(nodes), v/len(nodes)
		list[v] = []int{owner}
		for i := range len(nodes) - 1 {
			list[v] = append(list[v], (owner+1+(round+i)%(len(nodes)-1))%len(nodes))
		}
	}
	return list
}

func byRendezvous(vips, nodes []string) [][]int {
	list := make([][]int, len(vips))
	for v := range vips {
		list[v] = upTo(len(nodes))
		slices.SortFunc(list[v], func(a, b int) int { return cmp.Compare(score(vips[v], nodes[b]), score(vips[v], nodes[a])) })
	}
	return list
}

// TestFigures measures the schemes against each other over five sets of VIPs, and holds
// the page to what comes out: `go test -v -run Figures ./pkg/balance` prints it.
func TestFigures(t *testing.T) {
	text := "| Nodes, VIPs | Scheme | Uneven: all work | one failed | two failed | A VIP less: owners moved | orders changed | A node more: owners moved, of needed | A node less: others' owners moved |\n" +
		"|---|---|---|---|---|---|---|---|---|\n"
	for _, size := range []struct{ nodes, vips int }{{2, 2}, {3, 10}, {4, 100}, {10, 200}} {
		for _, s := range schemes {
			var sum figures
			const sets = 5
			for set := range sets {
				sum.add(measure(s.orders, names(fmt.Sprintf("10.0.%d.", set), size.vips), names("s", size.nodes+1)))
			}
			text += fmt.Sprintf("| %d, %d | %s | %d | %d | %d | %.1f | %.1f | %.1f of %.1f | %.1f |\n", size.nodes, size.vips, s.name, sum.uneven[0], sum.uneven[1], sum.uneven[2],
				sum.moved/sets, sum.changed/sets, sum.grown/sets, float64(size.vips)/float64(size.nodes+1), sum.shrunk/sets)
		}
	}
	t.Log("\n" + text)
	page, err := os.ReadFile(figuresFile)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), text) {
		t.Errorf("%s has other figures", figuresFile)
	}
}

func names(beginning string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprint(beginning, 1+i)
	}
	return list
}

// figures are the worst unevenness with none, one and two nodes failed, and how many VIPs
// change on average.
type figures struct {
	uneven                        [3]int
	moved, changed, grown, shrunk float64
}

func (f *figures) add(g figures) {
	for i := range f.uneven {
		f.uneven[i] = max(f.uneven[i], g.uneven[i])
	}
	f.moved, f.changed, f.grown, f.shrunk = f.moved+g.moved, f.changed+g.changed, f.grown+g.grown, f.shrunk+g.shrunk
}

// measure has all nodes but the last at first.
func measure(scheme func(vips, nodes []string) [][]int, vips, all []string) (f figures) {
	nodes := all[:len(all)-1]
	now := scheme(vips, nodes)
	f.uneven[0] = unevenness(counts(at(now), len(nodes)))
	for a := range nodes {
		if len(nodes) > 1 {
			f.uneven[1] = max(f.uneven[1], unevenness(counts(at(now, a), len(nodes)), a))
		}
		for b := range a {
			if len(nodes) > 2 {
				f.uneven[2] = max(f.uneven[2], unevenness(counts(at(now, a, b), len(nodes)), a, b))
			}
		}
	}
	removed := 0.0
	for v := 0; v < len(vips); v += 1 + len(vips)/20 {
		removed++
		then := scheme(slices.Delete(slices.Clone(vips), v, v+1), nodes)
		others := slices.Delete(slices.Clone(now), v, v+1)
		f.moved += count(others, func(i int) bool { return others[i][0] != then[i][0] })
		f.changed += count(others, func(i int) bool { return !slices.Equal(others[i], then[i]) })
	}
	f.moved, f.changed = f.moved/removed, f.changed/removed
	more := scheme(vips, all)
	f.grown = count(now, func(i int) bool { return now[i][0] != more[i][0] })
	for n := range nodes {
		less := scheme(vips, slices.Delete(slices.Clone(nodes), n, n+1))
		f.shrunk += count(now, func(i int) bool {
			owner, then := now[i][0], less[i][0]
			if then >= n { // the numbers behind it are lower by one
				then++
			}
			return owner != n && owner != then
		}) / float64(len(nodes))
	}
	return f
}

// count is how many orders are such.
func count(orders [][]int, is func(i int) bool) (n float64) {
	for i := range orders {
		if is(i) {
			n++
		}
	}
	return n
}
