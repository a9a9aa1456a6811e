package wire

import (
	"encoding/json"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/anyvip/anyvip/lab"
	"github.com/anyvip/anyvip/lab/labtest"
	"github.com/anyvip/anyvip/pkg/vip"
)

// TestFRRIsAPeer: we take over from FRR's vrrpd and hand over to it, over IPv4 and IPv6.
func TestFRRIsAPeer(t *testing.T) {
	t.Parallel()
	labtest.Need(t, "namespaces", "ip", "frr")
	l := labtest.Up(t, labtest.Load(t, "testdata/frr.clab.yml"), lab.Options{})
	for _, test := range []struct {
		name  string
		setup setup
	}{
		{"IPv4", setup{VRID: 51, Source: netip.MustParseAddr("10.77.0.1"), Addresses: []netip.Addr{netip.MustParseAddr("10.77.0.200")}}},
		{"IPv6", setup{VRID: 52, Source: netip.MustParseAddr("fe80::1"), Addresses: []netip.Addr{netip.MustParseAddr("fe80::5:1"), netip.MustParseAddr("fd77::200")}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := test.setup
			s.Link, s.Version, s.Priority, s.IntervalMS = "eth1", 3, 150, 1000
			frr := frr{t, l, s}
			frr.becomes("Master")
			n := startNodeIn(t, l, "s1", s)
			n.reports("we preempt FRR", state(vip.RouterActive))
			frr.becomes("Backup")
			n.tell("out")
			n.reports("we leave", state(vip.RouterInitialize))
			frr.becomes("Master")
			n.tell("priority 50")
			n.tell("in")
			r := n.reports("we are Backup", func(r map[string]any) bool { return state(vip.RouterBackup)(r) && r["Others"] != nil })
			for _, o := range r["Others"].([]any) {
				if o := o.(map[string]any); o["Trouble"] != float64(0) {
					t.Errorf("FRR is at odds with us: %v", o)
				}
			}
			n.tell("out")
			n.reports("we go", state(vip.RouterInitialize))
		})
	}
	t.Run("dies", func(t *testing.T) {
		s := setup{VRID: 51, Source: netip.MustParseAddr("10.77.0.1"), Addresses: []netip.Addr{netip.MustParseAddr("10.77.0.200")},
			Link: "eth1", Version: 3, Priority: 50, IntervalMS: 1000}
		n := startNodeIn(t, l, "s1", s)
		n.reports("we are Backup", func(r map[string]any) bool { return state(vip.RouterBackup)(r) && r["Others"] != nil })
		if err := l.Daemon("s2").Kill(); err != nil {
			t.Fatal(err)
		}
		if r := n.reports("FRR is dead", state(vip.RouterActive)); r["Cause"] != float64(vip.RouterNothingHeard) {
			t.Errorf("%v", r)
		}
	})
}

// frr is the vrrpd on s2, as far as one of its routers goes.
type frr struct {
	t     *testing.T
	lab   *lab.Lab
	setup setup
}

// becomes waits until vrrpd says that it is in a state.
func (f frr) becomes(want string) {
	f.t.Helper()
	family := "v4"
	if f.setup.Source.Is6() {
		family = "v6"
	}
	text := ""
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		text = labtest.Output(f.t, f.lab, "s2", "vtysh", "-c", "show vrrp json")
		var routers []map[string]any
		if err := json.Unmarshal([]byte(text), &routers); err != nil {
			continue
		}
		for _, r := range routers {
			side, _ := r[family].(map[string]any)
			if r["vrid"] == float64(f.setup.VRID) && side["status"] == want {
				return
			}
		}
	}
	f.t.Fatalf("FRR is not %s: %s", want, text)
}

// startNodeIn is startNode in a lab.
func startNodeIn(t *testing.T, l *lab.Lab, name string, s setup) *node {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	in, stdin, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, stdout, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := l.Command(t.Context(), name, "bash", "-c", `exec -a "$0" "$@"`, nodeRole, self, string(text))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, stdout, &toLog{t}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, f := range []*os.File{in, stdin, out, stdout} {
			f.Close()
		}
	})
	return &node{lines: read(t, out), stdin: stdin}
}

// toLog writes what a process complains of to the test's log.
type toLog struct{ t *testing.T }

func (l *toLog) Write(b []byte) (int, error) {
	l.t.Log(strings.TrimRight(string(b), "\n"))
	return len(b), nil
}
