package integration

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// beat is a check that writes down when each of its probes starts, ten a second.
// What the agent's own records say of time is not asked.
const beat = `  - name: beat
    exec: {command: [/bin/bash, -c, "echo $EPOCHREALTIME >> /run/beats"]}
    interval: 100ms
    fast_interval: 100ms
    timeout: 5s
    scope: advisory
`

// withBeat adds beat to a configuration.
func withBeat(text string) string {
	return strings.Replace(text, "services:\n", beat+"\nservices:\n", 1)
}

// onTime fails the test if no probe of beat started for a second. Both starts of the
// longest time between two were in from..to.
func (r *rig) onTime(node string, from, to time.Time) {
	r.t.Helper()
	var last time.Time
	var gap time.Duration
	n := 0
	for line := range strings.Lines(r.sh(node, "cat /run/beats")) {
		at := epoch(r.t, line)
		if at.Before(from) || at.After(to) {
			continue
		}
		if n++; n > 1 {
			gap = max(gap, at.Sub(last))
		}
		last = at
	}
	r.t.Logf("%d probes, each 100 ms after the one before, %s at most", n, ms(gap))
	if n < 2 || gap > time.Second {
		r.t.Errorf("%d probes in %s, and at a time none for %s", n, to.Sub(from), ms(gap))
	}
}

// epoch reads seconds since 1970 with a fraction, as bash and date write them.
func epoch(t *testing.T, text string) time.Time {
	t.Helper()
	d, err := time.ParseDuration(strings.TrimSpace(text) + "s")
	if err != nil {
		t.Fatal(err)
	}
	return time.Unix(0, int64(d))
}

// usage is what an agent has of its host.
type usage struct {
	Resident                int64 // bytes of memory
	Heap                    int64 // bytes of it that Go's objects had at the latest collection, or since
	Descriptors, Goroutines int
	CPU                     time.Duration // used so far
}

// String is for a test's log.
func (u usage) String() string {
	return fmt.Sprintf("%.1f MB resident (heap %.1f MB), %d descriptors, %d goroutines", mb(u.Resident), mb(u.Heap), u.Descriptors, u.Goroutines)
}

func mb(bytes int64) float64 { return float64(bytes) / 1e6 }

// metric is the value of a series in a page of metrics, by its name and labels as they
// are written.
func (r *rig) metric(page, series string) float64 {
	r.t.Helper()
	for line := range strings.Lines(page) {
		if text, ok := strings.CutPrefix(line, series+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			if err != nil {
				r.t.Fatal(err)
			}
			return v
		}
	}
	r.t.Fatalf("no %s in:\n%s", series, page)
	return 0
}

// usage reads the metrics of the agent of a node.
func (r *rig) usage(node string) usage {
	r.t.Helper()
	page := r.http(node, "/metrics")
	value := func(name string) float64 { return r.metric(page, name) }
	return usage{
		Resident: int64(value("process_resident_memory_bytes")), Heap: int64(value("go_memstats_heap_alloc_bytes")),
		Descriptors: int(value("process_open_fds")), Goroutines: int(value("go_goroutines")),
		CPU: time.Duration(value("process_cpu_seconds_total") * 1e9),
	}
}

// settled waits until the agent of a node has nothing more to do, and returns its
// usage then.
func (r *rig) settled(node string) (u usage) {
	r.t.Helper()
	const pause = 500 * time.Millisecond
	last := r.usage(node)
	tick := time.NewTicker(pause)
	defer tick.Stop()
	eventually(r.t, 2*patience, func() error {
		<-tick.C
		u = r.usage(node)
		used := u.CPU - last.CPU
		last = u
		if used > pause/10 {
			return fmt.Errorf("the agent of %s used %s of a processor in %s", node, used, pause)
		}
		return nil
	})
	return u
}

// untouched fails the test if a ToR heard anything about the VIPs from s1, or its
// kernel's routes to them moved, since then.
func (w tor) untouched(since time.Time, while string) {
	w.t.Helper()
	w.message(time.Now(), "eth1", "a KEEPALIVE", isKeepalive) // what was sent before has been seen, and somebody looks
	if sent := w.busy(since, "eth1"); len(sent) > 0 {
		w.t.Errorf("%s, s1 sent to %s: %s", while, w.name, asJSON(sent))
	}
	if moved := w.moved(since); len(moved) > 0 {
		w.t.Errorf("%s, routes at %s moved: %s", while, w.name, asJSON(moved))
	}
}
