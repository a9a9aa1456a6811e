// Package labtest is for tests that need a lab: it says what they need of the
// machine, and brings labs up and down with the test.
package labtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anyvip/anyvip/lab"
)

// Require is the environment variable that turns every skip of Need into a
// failure: CI sets it to 1.
const Require = "ANYVIP_REQUIRE_INTEGRATION"

// needs are the things a test can ask for, and how to tell that one is missing.
var needs = map[string]func() error{
	"namespaces": lab.Check,
	"root": func() error {
		if os.Geteuid() != 0 {
			return errors.New("run the tests as root")
		}
		return nil
	},
	"ip":   program("iproute2", "ip"),
	"frr":  program("frr", "/usr/lib/frr/zebra", "/usr/lib/frr/bgpd", "vtysh"),
	"bird": program("bird2", "bird", "birdc"),

	"keepalived": program("keepalived", "keepalived"),
	"nft":        program("nftables", "nft"),
	"haproxy":    program("haproxy", "haproxy"),
	"nginx":      program("nginx", "nginx"),
	"postgresql": server("postgresql", "/usr/lib/postgresql/*/bin/initdb"),
}

// Need skips the test if the machine lacks one of things: "namespaces" (what every
// lab needs), "root", or a program: "ip", "frr", "bird",
// "keepalived", "nft", "haproxy", "nginx", "postgresql". With
// ANYVIP_REQUIRE_INTEGRATION=1 it fails the test instead.
func Need(t testing.TB, things ...string) {
	t.Helper()
	for _, thing := range things {
		missing, ok := needs[thing]
		if !ok {
			t.Fatalf("labtest: nobody knows how to tell whether %q is there", thing)
		}
		if err := missing(); err != nil {
			Missing(t, thing, err)
		}
	}
}

// Missing skips the test, or fails it if ANYVIP_REQUIRE_INTEGRATION=1, because
// thing is not there.
func Missing(t testing.TB, thing string, why error) {
	t.Helper()
	if os.Getenv(Require) == "1" {
		t.Fatalf("needs %s (%s=1 forbids to skip): %v", thing, Require, why)
	}
	t.Skipf("needs %s: %v", thing, why)
}

func program(pkg string, names ...string) func() error {
	return func() error {
		for _, name := range names {
			if _, err := exec.LookPath(name); err == nil {
				continue
			}
			found := false
			for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/local/sbin"} {
				if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
					found = true
				}
			}
			if !found {
				return fmt.Errorf("%s is not on this machine; install it with `apt-get install %s`", name, pkg)
			}
		}
		return nil
	}
}

// server is program for one that its package keeps off the PATH.
func server(pkg, pattern string) func() error {
	return func() error {
		if found, err := filepath.Glob(pattern); err != nil || len(found) == 0 {
			return fmt.Errorf("there is no %s on this machine; install it with `apt-get install %s`", pattern, pkg)
		}
		return nil
	}
}

var labs atomic.Int32

// Load reads a topology and gives it a name that no other test uses, on a machine
// that runs many at the same time.
func Load(t testing.TB, file string) *lab.Topology {
	t.Helper()
	topo, err := lab.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	return Unique(topo)
}

// Parse is Load for a topology in the test's source; dir is where relative bind
// sources are.
func Parse(t testing.TB, dir, text string) *lab.Topology {
	t.Helper()
	topo, err := lab.Parse(filepath.Join(dir, "test.clab.yml"), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return Unique(topo)
}

// Unique gives topo a name that no other test uses.
func Unique(topo *lab.Topology) *lab.Topology {
	topo.Name = fmt.Sprintf("%s-%d-%d", topo.Name, os.Getpid(), labs.Add(1))
	return topo
}

// Up brings the lab up and ends it with the test. If the test fails it shows the
// nodes' logs.
func Up(t testing.TB, topo *lab.Topology, o lab.Options) *lab.Lab {
	t.Helper()
	Need(t, "namespaces")
	if o.LogDir == "" {
		o.LogDir = t.TempDir()
	}
	if o.Progress == nil {
		o.Progress = func(line string) { t.Log(line) }
	}
	l, err := lab.Up(t.Context(), topo, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Down(); err != nil {
			t.Error(err)
		}
		for _, n := range topo.Nodes {
			if text := l.Logs(n.Name); t.Failed() && strings.TrimSpace(text) != "" {
				t.Logf("log of %s:\n%s", n.Name, text)
			}
		}
	})
	return l
}

// Output runs a command in a node and returns what it printed. If it fails, so
// does the test.
func Output(t testing.TB, l *lab.Lab, node string, argv ...string) string {
	t.Helper()
	out, err := l.Command(t.Context(), node, argv...).Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// Explain shows in the test's output what a command in a node prints, if the test
// has failed; to be deferred or given to Cleanup. A test's own context is over by
// then.
func Explain(t testing.TB, l *lab.Lab, node string, argv ...string) {
	t.Helper()
	if !t.Failed() {
		return
	}
	ctx, stop := context.WithTimeout(context.Background(), 10*time.Second)
	defer stop()
	out, err := l.Command(ctx, node, argv...).CombinedOutput()
	t.Logf("%s: %s\n%s", node, strings.Join(argv, " "), out)
	if err != nil {
		t.Log(err)
	}
}
