package lab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestProgramsOf(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "daemons"), []byte("# comment\nbgpd=no\nbfdd=yes\n vrrpd=yes\nbgpd_options=\"-A 127.0.0.1\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	daemons := Bind{Source: filepath.Join(dir, "daemons"), Target: "/etc/frr/daemons"}
	conf := Bind{Source: dir, Target: "/etc/frr/frr.conf"}
	tests := []struct {
		name string
		node Node
		want string // names of the programs
	}{
		{"FRR without files is a BGP router", Node{Image: "quay.io/frrouting/frr:10.2.1"}, "zebra staticd bgpd"},
		{"FRR's configuration is read by vtysh", Node{Image: "frrouting/frr", Binds: []Bind{conf}}, "zebra staticd bgpd vtysh"},
		{"FRR's daemons file decides", Node{Image: "quay.io/frrouting/frr:latest", Binds: []Bind{daemons}}, "zebra staticd bfdd vrrpd"},
		{"and in a bound directory too", Node{Image: "frr", Binds: []Bind{{Source: dir, Target: "/etc/frr"}}}, "zebra staticd bfdd vrrpd vtysh"},
		{"BIRD", Node{Image: "pierky/bird:2.0.12"}, "bird"},
		{"keepalived", Node{Image: "osixia/keepalived@sha256:0123"}, "keepalived"},
		{"ExaBGP", Node{Image: "ghcr.io/exa-networks/exabgp:4.2.21"}, "exabgp"},
		{"GoBGP's daemon", Node{Image: "osrg/gobgp"}, "gobgpd"},
		{"the agent", Node{Image: "ghcr.io/anyvip/anyvip:1.0"}, "anyvip"},
		{"a registry with a port", Node{Image: "localhost:5000/debian"}, ""},
		{"an image that runs nothing", Node{Image: "alpine"}, ""},
		{"cmd replaces what the image runs", Node{Image: "frr", Cmd: []string{"/bin/sleep", "1"}}, "sleep"},
		{"cmd allows any image", Node{Image: "nginx", Cmd: []string{"nginx"}}, "nginx"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			programs, err := programsOf(test.node)
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, p := range programs {
				if p.Name != "mgmtd" { // where FRR is 9 or newer
					names = append(names, p.Name)
				}
			}
			if diff := cmp.Diff(test.want, strings.Join(names, " ")); diff != "" {
				t.Errorf("programs (-want +got):\n%s", diff)
			}
		})
	}
	if _, err := programsOf(Node{Image: "nginx"}); err == nil {
		t.Error("an unknown image without cmd: no error")
	}
}

func TestMissingProgramsAreNamedWithTheirPackage(t *testing.T) {
	tests := []struct{ image, want string }{
		{"osixia/keepalived", "keepalived is not on this machine; install it with `apt-get install keepalived`"},
		{"ghcr.io/anyvip/anyvip", "anyvip is neither beside the running binary nor on PATH; build it with `make build`"},
	}
	for _, test := range tests {
		n := Node{Image: test.image}
		programs, err := programsOf(n)
		if err != nil {
			t.Fatal(err)
		}
		img, _ := imageOf(n.Image)
		if err := missing(programs, img, "/no/such/path"); err == nil || err.Error() != test.want {
			t.Errorf("error %v, want %s", err, test.want)
		}
	}
}
