package bench

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/anyvip/anyvip/lab"
)

// tick is the unit of CPU time in /proc/PID/stat, the same on every Linux (USER_HZ).
const tick = 10 * time.Millisecond

// usage is what a daemon and the processes it started use.
type usage struct {
	processes int
	used      time.Duration // user and system, since the start, those that ended included
	resident  int64         // RSS in bytes, summed: what processes share counts for each
}

// usageOf reads the usage of the daemon of a node.
func usageOf(ctx context.Context, l *lab.Lab, node string) (usage, error) {
	state, err := l.Daemon(node).State()
	if err != nil {
		return usage{}, err
	}
	// A process may end while cat reads; the daemon has to be there.
	out, err := output(ctx, l, node, "cat /proc/[0-9]*/stat 2>/dev/null; getconf PAGESIZE")
	if err != nil {
		return usage{}, err
	}
	lines := strings.Split(out, "\n")
	page, err := strconv.ParseInt(lines[len(lines)-1], 10, 64)
	if err != nil {
		return usage{}, fmt.Errorf("read the page size: %w", err)
	}
	u := total(parseProcesses(lines[:len(lines)-1]), state.Pid)
	if u.processes == 0 {
		return usage{}, fmt.Errorf("the daemon of %s does not run: %s", node, state.Ended)
	}
	u.resident *= page
	return u, nil
}

// process is one line of /proc/PID/stat.
type process struct {
	pid, parent int
	cpu         time.Duration
	pages       int64
}

// parseProcesses leaves out what is no such line.
func parseProcesses(lines []string) (list []process) {
	for _, line := range lines {
		pid, rest, ok := strings.Cut(line, " (")
		end := strings.LastIndex(rest, ") ") // the name may have parentheses
		if !ok || end < 0 {
			continue
		}
		f := strings.Fields(rest[end+2:]) // from the third field of proc(5) on
		if len(f) < 22 {
			continue
		}
		number := func(s string) int64 { n, _ := strconv.ParseInt(s, 10, 64); return n }
		list = append(list, process{
			pid: int(number(pid)), parent: int(number(f[1])),
			cpu:   time.Duration(number(f[11])+number(f[12])+number(f[13])+number(f[14])) * tick, // its own and its ended children's
			pages: number(f[21]),
		})
	}
	return list
}

// total sums up root and all its descendants; resident is in pages.
func total(all []process, root int) (u usage) {
	for _, p := range all {
		if p.pid == root {
			u.processes, u.used, u.resident = u.processes+1, u.used+p.cpu, u.resident+p.pages
		} else if p.parent == root && root != 0 {
			below := total(all, p.pid)
			u.processes, u.used, u.resident = u.processes+below.processes, u.used+below.used, u.resident+below.resident
		}
	}
	return u
}
