package lab_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/anyvip/anyvip/lab"
	"github.com/anyvip/anyvip/lab/labtest"
)

const peersTopology = `
name: peers
topology:
  defaults: {kind: linux}
  nodes:
    frr:
      image: quay.io/frrouting/frr:10.2.1
      binds: [frr.conf:/etc/frr/frr.conf:ro, daemons:/etc/frr/daemons]
      exec: [ip address add 10.0.0.1/24 dev eth1]
    bird:
      image: pierky/bird:2.0.12
      binds: [bird.conf:/etc/bird/bird.conf:ro]
      exec: [ip address add 10.0.0.2/24 dev eth1, ip address add 192.0.2.1/32 dev lo]
  links:
    - endpoints: ["frr:eth1", "bird:eth1"]
`

const frrConf = `
router bgp 65001
 bgp router-id 10.0.0.1
 no bgp ebgp-requires-policy
 neighbor 10.0.0.2 remote-as 65002
 neighbor 10.0.0.2 timers connect 1
`

const birdConf = `
router id 10.0.0.2;
protocol device {}
protocol direct { ipv4; interface "lo"; }
protocol bgp frr {
	local 10.0.0.2 as 65002;
	neighbor 10.0.0.1 as 65001;
	connect delay time 1;
	ipv4 { import none; export all; };
}
`

func TestLabFRRAndBIRDExchangeRoutes(t *testing.T) {
	labtest.Need(t, "namespaces", "ip", "frr", "bird")
	dir := t.TempDir()
	for name, text := range map[string]string{"frr.conf": frrConf, "daemons": "bgpd=yes\nospfd=no\n", "bird.conf": birdConf} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	l := labtest.Up(t, labtest.Parse(t, dir, peersTopology), lab.Options{})
	routeIs := func(want bool) {
		t.Helper()
		eventually(t, 20*time.Second, func() error {
			out := labtest.Output(t, l, "frr", "ip", "route", "show", "192.0.2.1")
			if strings.Contains(out, "via 10.0.0.2") != want {
				return fmt.Errorf("kernel route %q, wanted is %t", out, want)
			}
			return nil
		})
	}
	routeIs(true)
	if out := labtest.Output(t, l, "bird", "birdc", "show", "protocols", "frr"); !strings.Contains(out, "Established") {
		t.Errorf("bird says %q", out)
	}
	if s, err := l.Daemon("frr").State(); err != nil || s.Program != "bgpd" || !s.Running {
		t.Errorf("state %+v, error %v", s, err)
	}

	// A cut link takes the route along, a healed one brings it back.
	if err := l.SetLink("bird:eth1", false); err != nil {
		t.Fatal(err)
	}
	routeIs(false)
	if err := l.SetLink("bird:eth1", true); err != nil {
		t.Fatal(err)
	}
	routeIs(true)

	// So do the daemons, both of them.
	if err := l.Daemon("bird").Kill(); err != nil {
		t.Fatal(err)
	}
	routeIs(false)
	if err := l.Daemon("bird").Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	routeIs(true)
	if err := l.Daemon("frr").Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	routeIs(true)
}
