package bench

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

const microTitle = "Parts of the daemon: `go test -bench`"

const microHead = `- ` + "`Decide`" + `: one decision over 1,000 services with 2,000 checks. Every change of a verdict, session or address costs one.
- ` + "`AResultThatChangesNothing`" + `: what the loop does with a probe's result while all is well.
- ` + "`Look`" + `: the kernel is asked when connections to 1 and to 10,000 VIPs last received something, as a drain does.
- ` + "`Listeners`" + `: the kernel is asked for all listening sockets, as after an event about one.
- ` + "`HTTPProbe`, `TCPProbe`, `ExecProbe` and so on" + `: one probe, the server's side included where it is in the same process.
- ` + "`ApplyUnchanged`" + `: the check runner is handed the same 1,000 checks again.
- ` + "`ApplyToWire`" + `: from the engine's Apply of one changed route to the moment in which a plain TCP peer has read the UPDATE, with 0 or
  1,000 other routes announced. GoBGP is in between.
- ` + "`ManyRoutes`" + `: the same for all of 1,000 and 10,000 routes, announced and withdrawn at once; heap of the process afterwards.
- ` + "`PeersTable`" + `: a peer sends its whole table, with 500 routes or 1 in an UPDATE, until GoBGP has it, and what that takes.

`

// microText is what the document quotes of go test -bench.
func microText(micro string) string {
	var b strings.Builder
	b.WriteString(microHead)
	for line := range strings.Lines(micro) {
		if strings.HasPrefix(line, "Benchmark") {
			b.WriteString("    " + line)
		}
	}
	return b.String()
}

const whyDecide = "Look-ups in maps, six for each service, take most of it, so the machine's memory decides: " +
	"`go test -run - -bench Decide/1000 -count 10 ./pkg/policy` differs by a third from one time to the next."

// aimMicro adds the targets whose figures go test -bench prints.
func (b *bench) aimMicro() error {
	decide, err := microFigure(b.Micro, "BenchmarkDecide/1000-services-2000-checks", "ns/op")
	if err != nil {
		return err
	}
	result, err := microFigure(b.Micro, "BenchmarkAResultThatChangesNothing", "ns/op")
	if err != nil {
		return err
	}
	allocations, err := microFigure(b.Micro, "BenchmarkAResultThatChangesNothing", "allocs/op")
	if err != nil {
		return err
	}
	b.aim("a decision over 1,000 services with 2,000 checks", decide/float64(time.Millisecond), 1, " ms", whyDecide)
	b.aim("a result that changes nothing", result/float64(time.Microsecond), 5, " us", "")
	b.targets = append(b.targets, target{what: "a result that changes nothing, allocations", limit: "0", measured: strconv.FormatFloat(allocations, 'f', -1, 64), met: allocations == 0})
	return nil
}

// microFigure is the figure before a unit in a benchmark's line.
func microFigure(micro, name, unit string) (float64, error) {
	for line := range strings.Lines(micro) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] != name && !strings.HasPrefix(fields[0], name+"-") { // -2: of two processors
			continue
		}
		for i := 1; i < len(fields); i++ {
			if fields[i] == unit {
				return strconv.ParseFloat(fields[i-1], 64)
			}
		}
	}
	return 0, fmt.Errorf("go test -bench has printed no %s of %s", unit, name)
}
