package integration

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anyvip/anyvip/lab/load"
)

// TestWeights has two servers with weights of 1 and 3 behind FRR: 4,000 connections
// spread 25 to 75. After a drain a server's share grows in steps. A server that is
// degraded by weight keeps a share, one that is degraded by prepends none.
func TestWeights(t *testing.T) {
	t.Parallel()
	weighs := func(weight, degraded string) func(string) string {
		return func(text string) string {
			text = strings.Replace(text, "degraded: {med: 200, prepend: 2, communities:", "weight: "+weight+", degraded: {"+degraded+"communities:", 1)
			text = strings.Replace(text, "    require:", "    drain_hold: 1s\n    require:", 1)
			return strings.ReplaceAll(text, `communities: ["65000:666"]`, `communities: ["65000:100"]`)
		}
	}
	r := up(t, "tors.clab.yml", options{edits: map[string]func(string) string{
		"s1": weighs("10", "med: 10, prepend: 0, weight: 5, "), "s2": weighs("30, slow_start: 5s", "med: 10, prepend: 2, weight: 30, ")}})
	r.sh("client", "ip route replace 192.0.2.0/24 via 10.1.9.1") // by the FRR alone
	for _, step := range []struct {
		name, node, line string
		route            string  // the weights in FRR's kernel, of s1 and s2
		share            float64 // of s1
	}{
		{"both healthy", "s1", "true", "25 75", 0.25},
		{"s1 degraded by weight", "s1", "touch /run/dependency-down", "14 85", 5. / 35},
		{"s2 degraded by prepends", "s2", "touch /run/dependency-down", "", 1},
	} {
		r.sh(step.node, step.line)
		eventually(t, patience, func() error {
			if got := r.weights("tor-a"); got != step.route {
				return fmt.Errorf("%s: the weights in the kernel of tor-a are %q, want %q", step.name, got, step.route)
			}
			return nil
		})
		const flows = 4000
		c := follow(r, load.Decode, "client", "anyvip-lab", "load", "--target", "http://192.0.2.10/", "--spread", fmt.Sprint(flows))
		sum := c.wait(4*time.Minute, "the summary", func(e load.Event) bool { return e.Kind == load.Summed }).Summary
		share := float64(sum.Servers["s1"]) / float64(sum.Requests)
		t.Logf("%s: %d of %d connections to s1: %.1f%%, want %.1f%%", step.name, sum.Servers["s1"], sum.Requests, 100*share, 100*step.share)
		if sum.Requests != flows || sum.Failed > 0 || math.Abs(share-step.share) > 0.03 {
			t.Errorf("%s: %s", step.name, asJSON(sum))
		}
		if step.name == "both healthy" {
			r.drainAndGrowBack()
		}
	}
}

// drainAndGrowBack drains s2, whose weight is 30 with a slow_start of 5 s, beside the
// 10 of s1, and has it back: in the kernel of tor-a its share grows from 3 to 30.
func (r *rig) drainAndGrowBack() {
	r.t.Helper()
	const full = "25 75"
	steps := []string{"", "76 23", "62 37", "52 47", "45 54", "40 60", "35 64", "32 67", "29 70", "27 72", full} // "": s1 alone
	r.sh("s2", "anyvip drain web")
	r.statusShows("s2", "a drained service", func(s agentStatus) bool { return s.Services[0].Disposition == "DRAINED" })
	eventually(r.t, patience, func() error {
		if got := r.weights("tor-a"); got != steps[0] {
			return fmt.Errorf("s2 is drained, and the weights in the kernel of tor-a are %q", got)
		}
		return nil
	})
	r.sh("s2", "anyvip undrain web")
	var seen []string
	took := eventually(r.t, patience, func() error {
		got := r.weights("tor-a")
		if len(seen) == 0 || seen[len(seen)-1] != got {
			seen = append(seen, got)
		}
		if got != full {
			return fmt.Errorf("after the drain of s2 the weights in the kernel of tor-a were %q", seen)
		}
		return nil
	})
	r.t.Logf("full weight %s after undrain, by way of %q", ms(took), seen)
	rises := true
	for i, at := 0, -1; i < len(seen); i++ {
		next := slices.Index(steps, seen[i])
		rises = rises && next > at
		at = next
	}
	// One look takes its time on a busy machine, and may miss a step of half a second.
	if !rises || len(seen) < len(steps)/2 || took < 4*time.Second {
		r.t.Errorf("the weights were %q and full after %s, want most of %q within 4.5 s", seen, ms(took), steps)
	}
}

// weights are those of the next hops of 192.0.2.10 in a router's kernel, in the
// order of their links; empty with one next hop.
func (r *rig) weights(node string) string {
	var words []string
	for _, line := range strings.Split(r.sh(node, "ip route show 192.0.2.10 | sort -k 5"), "\n") {
		if _, weight, ok := strings.Cut(line, "weight "); ok {
			words = append(words, strings.Fields(weight)[0])
		}
	}
	return strings.Join(words, " ")
}
