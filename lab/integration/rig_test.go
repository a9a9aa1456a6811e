package integration

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/anyvip/anyvip/lab"
	"github.com/anyvip/anyvip/lab/labtest"
)

// rig is one running lab with what tests do to it.
type rig struct {
	t *testing.T
	*lab.Lab
	configs map[string]string // by node: the file on the host that is its anyvip.yaml
	expects []string
	theirs  bool
}

// options change a topology before it comes up.
type options struct {
	edits map[string]func(text string) string // of the agents' configurations, by node
	env   map[string]map[string]string        // of the nodes

	product bool     // the agents are as users have them: no race detector, no hook of the tests
	expects []string // what the agents' logs may have of what they should never have
	theirs  bool     // data races between two places of GoBGP are none of ours
}

// up brings a topology of testdata up. Each agent's configuration is a copy that
// the test may change. When the test ends, every agent's log is searched for
// data races and panics.
func up(t *testing.T, topology string, o options) *rig {
	t.Helper()
	labtest.Need(t, "namespaces", "ip", "frr", "bird")
	topo := labtest.Load(t, filepath.Join("testdata", topology))
	r := &rig{t: t, configs: map[string]string{}, expects: o.expects, theirs: o.theirs}
	for i, n := range topo.Nodes {
		topo.Nodes[i].Env = map[string]string{"GORACE": os.Getenv("GORACE")}
		maps.Copy(topo.Nodes[i].Env, o.env[n.Name])
		if o.product && len(n.Cmd) > 0 && n.Cmd[0] == "anyvip" {
			topo.Nodes[i].Cmd[0] = product(t)
		}
		for j, b := range n.Binds {
			if b.Target == "/etc/anyvip/anyvip.yaml" {
				r.configs[n.Name] = filepath.Join(t.TempDir(), n.Name+".yaml")
				topo.Nodes[i].Binds[j].Source = r.configs[n.Name]
				r.write(n.Name, read(t, b.Source), o.edits[n.Name])
			}
		}
	}
	r.Lab = labtest.Up(t, topo, lab.Options{Progress: func(string) {}})
	t.Cleanup(r.inspectLogs)
	return r
}

// withoutTheirRaces takes the data races out of a log of which both accesses are
// GoBGP's own code, and counts them.
func withoutTheirRaces(log string) (rest string, n int) {
	const line = "==================\n"
	for i, part := range strings.Split(log, line) {
		_, report, isRace := strings.Cut(part, "WARNING: DATA RACE\n")
		if isRace && i > 0 {
			first, second, _ := strings.Cut(report, "Previous ")
			if inGoBGP(first) && inGoBGP(second) {
				n++
				continue
			}
		}
		rest += part + line
	}
	return rest, n
}

// inGoBGP says whether a stack, from its end, comes to GoBGP's code first of all
// that is not Go's own.
func inGoBGP(stack string) bool {
	for line := range strings.Lines(stack) {
		if frame := strings.TrimSpace(line); strings.HasPrefix(frame, "github.com/") {
			return strings.HasPrefix(frame, "github.com/osrg/gobgp/")
		}
	}
	return false
}

// product is the path of the agent as users have it.
func product(t *testing.T) string {
	t.Helper()
	tested, err := exec.LookPath("anyvip")
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(filepath.Dir(tested), productDir, "anyvip")
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// write makes text, edited, the configuration of a node. The file stays the same
// file: the node has it as a mount.
func (r *rig) write(node, text string, edit func(string) string) {
	r.t.Helper()
	if edit != nil {
		text = edit(text)
	}
	if err := os.WriteFile(r.configs[node], []byte(text), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

// replace is an edit that puts one text in place of another, which must be there.
func (r *rig) replace(node, old, new string) {
	r.t.Helper()
	text := read(r.t, r.configs[node])
	if !strings.Contains(text, old) {
		r.t.Fatalf("the configuration of %s has no %q", node, old)
	}
	r.write(node, strings.ReplaceAll(text, old, new), nil)
}

// inspectLogs fails the test for what an agent should never log.
func (r *rig) inspectLogs() {
	for node := range r.configs {
		text := r.Logs(node)
		if r.theirs {
			var n int
			if text, n = withoutTheirRaces(text); n > 0 {
				r.t.Logf("the agent of %s logged %d data races within GoBGP", node, n)
			}
		}
		for _, bad := range []string{"WARNING: DATA RACE", "panic:", "fatal error:", "stands still"} {
			if strings.Contains(text, bad) && !slices.Contains(r.expects, bad) {
				r.t.Errorf("the agent of %s logged %q", node, bad)
			}
		}
	}
}

// sh runs a shell line in a node and returns what it printed.
func (r *rig) sh(node, line string) string {
	r.t.Helper()
	return labtest.Output(r.t, r.Lab, node, "sh", "-c", line)
}

// role starts this binary in a node as what it is by the name of one of roles.
func (r *rig) role(node, name string, args ...string) *lab.Cmd {
	r.t.Helper()
	return r.Command(r.t.Context(), node, roleArgv(r.t, name, args...)...)
}

// roleArgv is the command line of role.
func roleArgv(t *testing.T, name string, args ...string) []string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return append([]string{"bash", "-c", `exec -a "$0" "$@"`, name, self}, args...)
}

// signal sends a signal to the daemon of a node.
func (r *rig) signal(node string, sig syscall.Signal) {
	r.t.Helper()
	if err := r.Daemon(node).Signal(sig); err != nil {
		r.t.Fatal(err)
	}
}

// start starts the daemon of a node.
func (r *rig) start(node string) {
	r.t.Helper()
	if err := r.Daemon(node).Start(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

// kill ends all processes of a node's daemon with SIGKILL.
func (r *rig) kill(node string) {
	r.t.Helper()
	if err := r.Daemon(node).Kill(); err != nil {
		r.t.Fatal(err)
	}
}

// addresses are the addresses that a link of a node has, as ADDRESS/LENGTH.
func (r *rig) addresses(node, link string) (list []string) {
	r.t.Helper()
	var links []struct {
		Addresses []struct {
			Local  string
			Length int `json:"prefixlen"`
		} `json:"addr_info"`
	}
	if err := json.Unmarshal([]byte(r.sh(node, "ip -json address show dev "+link)), &links); err != nil {
		r.t.Fatal(err)
	}
	for _, l := range links {
		for _, a := range l.Addresses {
			list = append(list, fmt.Sprintf("%s/%d", a.Local, a.Length))
		}
	}
	return list
}

// has says whether a node has an address on lo.
func (r *rig) has(node, address string) bool {
	r.t.Helper()
	return slices.Contains(r.addresses(node, "lo"), address)
}

// eventually polls until check returns nil, and returns how long that took.
func eventually(t *testing.T, limit time.Duration, check func() error) time.Duration {
	t.Helper()
	start := time.Now()
	for {
		err := check()
		if err == nil {
			return time.Since(start)
		}
		if time.Since(start) > limit {
			t.Fatalf("not within %s: %v", limit, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func asJSON(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// ms writes a duration for a test's log.
func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", d.Seconds()*1e3) }
