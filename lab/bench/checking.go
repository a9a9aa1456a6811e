package bench

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"

	"github.com/anyvip/anyvip/lab"
)

// checking are the speakers that have health checks of their own, each VIP with one: http every second, at 200 ms
// while a change is pending, two results for a change.
var checking = []speaker{anyvipChecking, exabgpChecking}

const anyvipCheckingConfig = `version: 1
node: s1
bgp:
  asn: SERVER-AS
  router_id: SERVER
  allowed_prefixes: [RANGE]
  peers: [{name: tor, address: TOR, asn: TOR-AS}]
checks:
CHECKS
services:
SERVICES
`

const (
	anyvipCheck   = `  - {name: web%d, http: {url: "http://127.0.0.1:80/", status: [200]}, interval: 1s, fast_interval: 200ms, timeout: 500ms, rise: 2, fall: 2}`
	anyvipService = `  - {name: web%d, addresses: [%s], require: {all: [web%d]}, recovery_delay: 2s, max_recovery_delay: 0s}`
)

var anyvipChecking = speaker{
	name: "anyvip",
	files: func(dir string, sv server, vips []netip.Prefix) error {
		var checks, services []string
		for i, p := range vips {
			checks = append(checks, fmt.Sprintf(anyvipCheck, i))
			services = append(services, fmt.Sprintf(anyvipService, i, p.Addr(), i))
		}
		return fill(filepath.Join(dir, "anyvip.yaml"), anyvipCheckingConfig,
			sv.pairs("CHECKS", strings.Join(checks, "\n"), "SERVICES", strings.Join(services, "\n"))...)
	},
	node: func(n *lab.Node, dir string) {
		anyvipNode(n, dir)
		n.Exec = append(n.Exec, startWeb(n.Name))
	},
}

const exabgpCheckingConfig = `PROCESSES
neighbor TOR {
	router-id SERVER;
	local-address SERVER;
	local-as SERVER-AS;
	peer-as TOR-AS;
	hold-time 9;
	family { ipv4 unicast; }
	api { processes [ NAMES ]; }
}
`

const exabgpCheck = `process web%d {
	run /usr/bin/exabgp-healthcheck --no-ack --no-syslog --cmd "curl -sf -o /dev/null http://127.0.0.1:80/" --interval 1 --fast-interval 0.2 --timeout 1 --rise 2 --fall 2 --withdraw-on-down --no-ip-setup --ip %s;
	encoder text;
}
`

var exabgpChecking = speaker{
	name: "ExaBGP",
	files: func(dir string, sv server, vips []netip.Prefix) error {
		var processes, names []string
		for i, p := range vips {
			processes = append(processes, fmt.Sprintf(exabgpCheck, i, p))
			names = append(names, fmt.Sprintf("web%d", i))
		}
		return fill(filepath.Join(dir, "exabgp.conf"), exabgpCheckingConfig,
			sv.pairs("PROCESSES", strings.Join(processes, ""), "NAMES", strings.Join(names, ", "))...)
	},
	node: func(n *lab.Node, dir string) {
		exabgpNode(n, dir)
		n.Exec = append(n.Exec, startWeb(n.Name))
	},
}

// birdAlways has no check: it announces as long as it runs.
var birdAlways = speaker{
	name:  "BIRD",
	files: func(dir string, sv server, vips []netip.Prefix) error { return birdFiles(dir, sv, vips, "no") },
	node: func(n *lab.Node, dir string) {
		birdNode(n, dir)
		n.Exec = append(n.Exec, startWeb(n.Name))
	},
}

// startWeb is the exec line that starts a web service.
func startWeb(name string) []string {
	return words("anyvip-lab web -d --pidfile /run/web.pid --name " + name)
}
