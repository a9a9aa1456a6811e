package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"github.com/anyvip/anyvip/lab"
)

// speaker is a BGP daemon of a server, and how it is told that a service works or does not.
type speaker struct {
	name string
	// perVIP says that each VIP is a command of its own, which is too slow for many.
	perVIP bool
	// files writes what s1 and the others need; a node sees dir as /etc/bench.
	files func(dir string, sv server, vips []netip.Prefix) error
	// node adds what runs the daemon, with its configuration in dir.
	node func(n *lab.Node, dir string)
	// turn is the line of shell that makes the VIPs announced or withdrawn. It is nil where the speaker itself finds out.
	turn func(up bool, vips []netip.Prefix) string
	// verdict says when the decision was made, where that is not when the line was issued.
	verdict func(ctx context.Context, s *site, up bool) (time.Time, error)
}

var speakers = []speaker{anyvip, bird, exabgp, gobgpd}

const anyvipConfig = `version: 1
node: s1
bgp:
  asn: SERVER-AS
  router_id: SERVER
  allowed_prefixes: [RANGE]
  peers: [{name: tor, address: TOR, asn: TOR-AS}]
checks:
  - name: web
    http: {url: "http://127.0.0.1:80/", status: [200]}
    interval: INTERVAL
    fast_interval: INTERVAL
    rise: 1
    fall: 1
services:
  - name: web
    addresses: [VIPS]
    require: {all: [web]}
    recovery_delay: 0s
`

// anyvip is told nothing: its service fails, and its check finds out.
var anyvip = speaker{
	name: "anyvip",
	files: func(dir string, sv server, vips []netip.Prefix) error {
		// The clock starts with the end of a probe, so a shorter interval only saves waiting.
		interval := "10ms"
		if len(vips) > 1 {
			interval = "100ms"
		}
		return fill(filepath.Join(dir, "anyvip.yaml"), anyvipConfig, sv.pairs("INTERVAL", interval, "VIPS", join(vips, ", ", func(p netip.Prefix) string { return p.Addr().String() }))...)
	},
	node: func(n *lab.Node, dir string) {
		anyvipNode(n, dir)
		n.Exec = append(n.Exec, []string{"mkfifo", "/run/service"},
			[]string{"sh", "-c", "anyvip-lab bench service --pipe /run/service &"})
	},
	turn: func(up bool, _ []netip.Prefix) string {
		if up {
			return "echo up >/run/service"
		}
		return "echo down >/run/service"
	},
	verdict: verdictTime,
}

func anyvipNode(n *lab.Node, dir string) {
	n.Image = "ghcr.io/anyvip/anyvip"
	n.Binds = append(n.Binds, configuration(dir, "anyvip.yaml", "/etc/anyvip/anyvip.yaml"))
}

// configuration shows a file of dir where a daemon looks for it.
func configuration(dir, file, target string) lab.Bind {
	return lab.Bind{Source: filepath.Join(dir, file), Target: target, ReadOnly: true}
}

// verdictTime is when the probe ended that gave the verdict, as the agent's status has it.
func verdictTime(ctx context.Context, s *site, up bool) (time.Time, error) {
	out, err := output(ctx, s.lab, server(1).name(), "anyvip status -o json")
	if err != nil {
		return time.Time{}, err
	}
	var status struct {
		Checks []struct {
			Outcome string
			Since   time.Time
		}
	}
	if err := json.Unmarshal([]byte(out), &status); err != nil {
		return time.Time{}, fmt.Errorf("read the agent's status: %w", err)
	}
	want := map[bool]string{true: "PASS", false: "FAIL"}[up]
	if len(status.Checks) != 1 || status.Checks[0].Outcome != want {
		return time.Time{}, fmt.Errorf("the agent's check is not %s: %+v", want, status.Checks)
	}
	return status.Checks[0].Since, nil
}

const birdConfig = `log stderr all;
router id SERVER;
protocol device {}
protocol static vips {
	disabled DISABLED;
	ipv4;
ROUTES
}
protocol bgp tor {
	local SERVER as SERVER-AS;
	neighbor TOR as TOR-AS;
	hold time 9;
	connect delay time 1;
	ipv4 { import none; export all; next hop self; };
}
`

// bird has the VIPs as static routes, in one protocol that is enabled or disabled.
var bird = speaker{
	name:  "BIRD",
	files: func(dir string, sv server, vips []netip.Prefix) error { return birdFiles(dir, sv, vips, "yes") },
	node:  birdNode,
	turn: func(up bool, _ []netip.Prefix) string {
		if up {
			return "birdc -s /run/bird/bird.ctl enable vips >/dev/null"
		}
		return "birdc -s /run/bird/bird.ctl disable vips >/dev/null"
	},
}

func birdNode(n *lab.Node, dir string) {
	n.Image = "bird"
	n.Binds = append(n.Binds, configuration(dir, "bird.conf", "/etc/bird/bird.conf"))
}

func birdFiles(dir string, sv server, vips []netip.Prefix, disabled string) error {
	routes := join(vips, "\n", func(p netip.Prefix) string { return "\troute " + p.String() + " blackhole;" })
	return fill(filepath.Join(dir, "bird.conf"), birdConfig, sv.pairs("ROUTES", routes, "DISABLED", disabled)...)
}

const exabgpConfig = `process vips {
	run /bin/sh -c "exec cat <>/run/vips";
	encoder text;
}
neighbor TOR {
	router-id SERVER;
	local-address SERVER;
	local-as SERVER-AS;
	peer-as TOR-AS;
	hold-time 9;
	family { ipv4 unicast; }
	api { processes [ vips ]; }
}
`

// exabgp is told by lines on a helper's pipe, one for each VIP, as its own health check does.
var exabgp = speaker{
	name: "ExaBGP",
	files: func(dir string, sv server, vips []netip.Prefix) error {
		for _, verb := range []string{"announce", "withdraw"} {
			lines := join(vips, "", func(p netip.Prefix) string { return verb + " route " + p.String() + " next-hop self\n" })
			if err := fill(filepath.Join(dir, verb), lines); err != nil {
				return err
			}
		}
		return fill(filepath.Join(dir, "exabgp.conf"), exabgpConfig, sv.pairs()...)
	},
	node: exabgpNode,
	turn: func(up bool, vips []netip.Prefix) string {
		verb := map[bool]string{true: "announce", false: "withdraw"}[up]
		if len(vips) == 1 {
			return "echo '" + verb + " route " + vips[0].String() + " next-hop self' >/run/vips"
		}
		return "cat /etc/bench/" + verb + " >/run/vips"
	},
}

func exabgpNode(n *lab.Node, dir string) {
	n.Image = "exabgp"
	n.Binds = append(n.Binds, configuration(dir, "exabgp.conf", "/etc/exabgp/exabgp.conf"))
	n.Exec = append(n.Exec, words("mkfifo /run/vips"))
	n.Env = map[string]string{
		"exabgp.daemon.user": "root", "exabgp.daemon.drop": "false", "exabgp.api.cli": "false",
		"exabgp.api.ack": "false", // nobody reads the answers
	}
}

const gobgpdConfig = `[global.config]
  as = SERVER-AS
  router-id = "SERVER"
[[neighbors]]
  [neighbors.config]
    neighbor-address = "TOR"
    peer-as = TOR-AS
  [neighbors.timers.config]
    connect-retry = 1
    hold-time = 9
`

// gobgpd is told by its command line, which takes one VIP at a time; all routes can be deleted at once.
var gobgpd = speaker{
	name:   "gobgpd",
	perVIP: true,
	files: func(dir string, sv server, vips []netip.Prefix) error {
		if err := fill(filepath.Join(dir, "vips"), join(vips, "", func(p netip.Prefix) string { return p.String() + "\n" })); err != nil {
			return err
		}
		return fill(filepath.Join(dir, "gobgpd.conf"), gobgpdConfig, sv.pairs()...)
	},
	node: func(n *lab.Node, dir string) {
		n.Image = "gobgp"
		n.Binds = append(n.Binds, configuration(dir, "gobgpd.conf", "/etc/gobgp/gobgpd.conf"))
	},
	turn: func(up bool, vips []netip.Prefix) string {
		switch {
		case len(vips) == 1 && up:
			return "gobgp global rib add " + vips[0].String() + " >/dev/null"
		case len(vips) == 1:
			return "gobgp global rib del " + vips[0].String() + " >/dev/null"
		case up:
			return "while read vip; do gobgp global rib add $vip; done </etc/bench/vips >/dev/null"
		}
		return "gobgp global rib del all -a ipv4 >/dev/null"
	},
}

func join(vips []netip.Prefix, between string, line func(netip.Prefix) string) string {
	lines := make([]string, len(vips))
	for i, p := range vips {
		lines[i] = line(p)
	}
	return strings.Join(lines, between)
}
