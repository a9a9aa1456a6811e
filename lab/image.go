package lab

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/anyvip/anyvip/lab/internal/wire"
)

// image says what a node of some image runs here.
type image struct {
	name      string // as in messages
	match     string // part of the image's name without registry and tag
	freshDirs []string
	files     func() ([]wire.File, error)
	pkg       string // what to install if a program is missing
	programs  func(n Node) ([]wire.Program, error)
}

// images is searched from the top.
var images = []image{
	{
		name:      "quay.io/frrouting/frr",
		match:     "frr",
		freshDirs: []string{"/etc/frr", "/run/frr", "/var/tmp/frr", "/var/log/frr"},
		files:     frrFiles,
		pkg:       "frr",
		programs:  frrPrograms,
	},
	{
		name:      "bird",
		match:     "bird",
		freshDirs: []string{"/etc/bird", "/run/bird"},
		pkg:       "bird2",
		programs: one(wire.Program{
			Name: "bird", Argv: []string{"bird", "-f", "-c", "/etc/bird/bird.conf", "-s", "/run/bird/bird.ctl"}, Ready: "/run/bird/bird.ctl",
		}),
	},
	{
		name:      "keepalived",
		match:     "keepalived",
		freshDirs: []string{"/etc/keepalived"},
		pkg:       "keepalived",
		// -G: without it every log line can cost the protocol thread a millisecond.
		programs: one(wire.Program{
			Name: "keepalived", Argv: []string{"keepalived", "-n", "-l", "-G", "-D", "-f", "/etc/keepalived/keepalived.conf"},
		}),
	},
	{
		name:      "exabgp",
		match:     "exabgp",
		freshDirs: []string{"/etc/exabgp"},
		pkg:       "exabgp",
		programs:  one(wire.Program{Name: "exabgp", Argv: []string{"exabgp", "/etc/exabgp/exabgp.conf"}}),
	},
	{
		name:      "gobgp",
		match:     "gobgp",
		freshDirs: []string{"/etc/gobgp"},
		pkg:       "gobgpd",
		programs:  one(wire.Program{Name: "gobgpd", Argv: []string{"gobgpd", "-f", "/etc/gobgp/gobgpd.conf"}}),
	},
	{
		name:      "ghcr.io/anyvip/anyvip",
		match:     "anyvip/anyvip",
		freshDirs: anyvipDirs,
		programs:  one(wire.Program{Name: "anyvip", Argv: []string{"anyvip", "run", "-c", "/etc/anyvip/anyvip.yaml"}}),
	},
	// Both binaries and ip; without a cmd it waits.
	{name: "ghcr.io/anyvip/lab", match: "anyvip/lab", freshDirs: anyvipDirs, programs: none},
	{name: "debian", match: "debian", programs: none},
	{name: "ubuntu", match: "ubuntu", programs: none},
	{name: "alpine", match: "alpine", programs: none},
	{name: "busybox", match: "busybox", programs: none},
	{name: "network-multitool", match: "network-multitool", programs: none},
	{name: "netshoot", match: "netshoot", programs: none},
}

var anyvipDirs = []string{"/etc/anyvip", "/etc/anyvip-lab", "/run/anyvip", "/var/lib/anyvip"}

func one(p wire.Program) func(Node) ([]wire.Program, error) {
	return func(Node) ([]wire.Program, error) { return []wire.Program{p}, nil }
}

func none(Node) ([]wire.Program, error) { return nil, nil }

// imageOf finds the entry for a reference like quay.io/frrouting/frr:10.2.1.
func imageOf(reference string) (image, bool) {
	name, _, _ := strings.Cut(reference, "@")
	if colon := strings.LastIndex(name, ":"); colon > strings.LastIndex(name, "/") {
		name = name[:colon]
	}
	for _, img := range images {
		part := name
		if !strings.Contains(img.match, "/") {
			part = name[strings.LastIndex(name, "/")+1:]
		}
		if strings.Contains(part, img.match) {
			return img, true
		}
	}
	return image{}, false
}

func knownImages() string {
	names := make([]string, len(images))
	for i, img := range images {
		names[i] = img.name
	}
	return strings.Join(names, ", ")
}

// programsOf returns what node n runs: its cmd, or what its image stands for.
func programsOf(n Node) ([]wire.Program, error) {
	if len(n.Cmd) > 0 {
		return []wire.Program{{Name: filepath.Base(n.Cmd[0]), Argv: n.Cmd}}, nil
	}
	img, ok := imageOf(n.Image)
	if !ok {
		return nil, fmt.Errorf("unknown image %q; known are %s", n.Image, knownImages())
	}
	return img.programs(n)
}

// frrDirs are where distributions put FRR's daemons.
var frrDirs = []string{"/usr/lib/frr", "/usr/libexec/frr", "/usr/lib64/frr"}

// frrOrder lists FRR's daemons in the order of their start. The first ones run
// always, as under FRR's own init script.
var frrOrder = []struct {
	name   string
	always bool
}{
	{"zebra", true}, {"mgmtd", true}, {"staticd", true},
	{"bfdd", false}, {"ospfd", false}, {"ospf6d", false}, {"isisd", false}, {"vrrpd", false}, {"bgpd", false},
}

// frrPrograms starts the daemons that the bound /etc/frr/daemons asks for, bgpd
// if there is no such file, and then lets vtysh read the bound frr.conf to them.
func frrPrograms(n Node) ([]wire.Program, error) {
	wanted, err := frrWanted(n)
	if err != nil {
		return nil, err
	}
	var programs []wire.Program
	for _, d := range frrOrder {
		path := frrPath(d.name)
		if d.name == "mgmtd" && path == "" {
			continue // new in FRR 9
		}
		if !d.always && !wanted[d.name] {
			continue
		}
		// One user id is all that a user namespace has, so not even root's FRR
		// changes to user frr. -P 0: no vty over TCP.
		argv := []string{cmp.Or(path, filepath.Join(frrDirs[0], d.name)), "-u", "root", "-g", "root", "-A", "127.0.0.1", "-P", "0", "--log", "stdout"}
		programs = append(programs, wire.Program{Name: d.name, Argv: argv, Ready: "/run/frr/" + d.name + ".vty"})
	}
	if slices.ContainsFunc(n.Binds, func(b Bind) bool { return b.Target == "/etc/frr/frr.conf" || b.Target == "/etc/frr" }) {
		programs = append(programs, wire.Program{Name: "vtysh", Argv: []string{"vtysh", "-b"}, Once: true})
	}
	return programs, nil
}

func frrPath(name string) string {
	for _, dir := range frrDirs {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return ""
}

// frrWanted reads the lines NAME=yes of the bound daemons file.
func frrWanted(n Node) (map[string]bool, error) {
	path := ""
	for _, b := range n.Binds {
		switch b.Target {
		case "/etc/frr/daemons":
			path = b.Source
		case "/etc/frr":
			path = filepath.Join(b.Source, "daemons")
		}
	}
	data, err := os.ReadFile(path)
	if path == "" || os.IsNotExist(err) {
		return map[string]bool{"bgpd": true}, nil
	}
	if err != nil {
		return nil, err
	}
	wanted := make(map[string]bool)
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		if name, ok := strings.CutSuffix(strings.TrimSpace(lines.Text()), "=yes"); ok {
			wanted[name] = true
		}
	}
	return wanted, nil
}

// frrFiles are the host's /etc/group with root as a member of FRR's groups, without
// which its daemons do not start as root, and what keeps vtysh from complaining.
// The groups' id is 0, the only one that a user namespace has.
func frrFiles() ([]wire.File, error) {
	data, err := os.ReadFile("/etc/group")
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	for line := range strings.Lines(string(data)) {
		if !strings.HasPrefix(line, "frr:") && !strings.HasPrefix(line, "frrvty:") {
			b.WriteString(line)
		}
	}
	b.WriteString("frr:x:0:root\nfrrvty:x:0:root\n")
	return []wire.File{
		{Path: "/etc/group", Content: b.String()},
		{Path: "/etc/frr/vtysh.conf", Content: "service integrated-vtysh-config\n"},
	}, nil
}
