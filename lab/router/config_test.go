package router

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestParseFillsInDefaults(t *testing.T) {
	c, err := Parse([]byte("asn: 65000\nrouter_id: 10.0.0.1\npeer_ranges:\n  - {prefix: 10.0.0.0/8, asn: 65101}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen.Port != 179 || c.MaxPaths != 64 || c.HoldTime != 9*time.Second {
		t.Errorf("defaults: port %d, max_paths %d, hold_time %v", c.Listen.Port, c.MaxPaths, c.HoldTime)
	}
}

func TestParseReportsEveryProblem(t *testing.T) {
	const head = "asn: 65000\nrouter_id: 10.0.0.1\n"
	const tail = "peers:\n  - {address: 10.0.1.2, asn: 65101}\n"
	for _, test := range []struct{ name, text, want string }{
		{"an unknown key", head + tail + "colour: red\n", `unknown field "colour"`},
		{"no AS number", "router_id: 10.0.0.1\n" + tail, "asn: missing"},
		{"a router id that is none", "asn: 1\nrouter_id: 2001:db8::1\n" + tail, "router_id:"},
		{"no peers", head, "peers: none"},
		{"a peer without an address", head + "peers:\n  - {asn: 1}\n", "peers[0]: address or prefix is missing"},
		{"a peer without an AS number", head + "peers:\n  - {address: 10.0.1.2}\n", "peers[0].asn: missing"},
		{"a range with host bits", head + "peer_ranges:\n  - {prefix: 10.0.0.1/8, asn: 1}\n", "write 10.0.0.0/8"},
		{"a peer named twice", head + tail + "  - {address: 10.0.1.2, asn: 1}\n", "is there already as peers[0]"},
		{"too short a hold time", head + tail + "hold_time: 1s\n", "out of range 3s..300s"},
		{"too many paths", head + tail + "max_paths: 1000\n", "out of range 1..256"},
		{"two documents", head + tail + "---\nasn: 1\n", "more than one YAML document"},
		{"two problems at once", "max_paths: 0\n", "max_paths: 0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Parse([]byte(test.text))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestPasswordComesFromAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "md5")
	if err := os.WriteFile(file, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if key, err := (PeerRange{PasswordFile: file}).password(); key != "secret" || err != nil {
		t.Errorf("password %q, %v", key, err)
	}
	if _, err := (PeerRange{PasswordFile: file + ".gone"}).password(); err == nil {
		t.Error("no error for a missing password file")
	}
}

func TestTheLabsRouterFileIsGood(t *testing.T) {
	if _, err := Load("../ecmp/router.yaml"); err != nil {
		t.Error(err)
	}
}
