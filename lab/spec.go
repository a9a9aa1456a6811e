package lab

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/anyvip/anyvip/lab/internal/wire"
)

// commonDirs are empty and writable in every node.
var commonDirs = []string{"/var/log"}

// specOf turns a topology into what the supervisor needs, and reports all that
// this machine lacks for it.
func specOf(topo *Topology, o Options) (wire.Spec, error) {
	path := searchPath(o)
	_, noIP := lookPath("ip", path)
	spec := wire.Spec{Lab: topo.Name}
	errs := check(topo)
	for _, n := range topo.Nodes {
		node, err := nodeSpec(n, path)
		if err != nil {
			errs = append(errs, fmt.Errorf("node %s: %w", n.Name, err))
			continue
		}
		node.Lab, node.OwnUserNS, node.BuiltinIP = topo.Name, needUserNS(), noIP != nil
		for _, l := range topo.Links {
			for _, e := range []Endpoint{l.A, l.B} {
				if e.Node == n.Name {
					node.Interfaces = append(node.Interfaces, e.Interface)
				}
			}
		}
		spec.Nodes = append(spec.Nodes, node)
	}
	for _, l := range topo.Links {
		spec.Links = append(spec.Links, wire.Link{A: endpointSpec(l.A), B: endpointSpec(l.B), MTU: l.MTU})
	}
	if err := errors.Join(errs...); err != nil {
		return wire.Spec{}, fmt.Errorf("lab %s:\n%w", topo.Name, err)
	}
	return spec, nil
}

// check looks for what Load would have found, in a topology that Go code made or
// changed.
func check(topo *Topology) []error {
	var errs []error
	if !labName.MatchString(topo.Name) {
		errs = append(errs, fmt.Errorf("%q is no name for a lab", topo.Name))
	}
	for _, n := range topo.Nodes {
		if !nodeName.MatchString(n.Name) {
			errs = append(errs, fmt.Errorf("%q is no name for a node", n.Name))
		}
	}
	for _, l := range topo.Links {
		for _, e := range []Endpoint{l.A, l.B} {
			if topo.node(e.Node) == nil {
				errs = append(errs, fmt.Errorf("link %s - %s: no node %q", l.A, l.B, e.Node))
			}
		}
	}
	return errs
}

func nodeSpec(n Node, path string) (wire.Node, error) {
	node := wire.Node{
		Name: n.Name, Hostname: n.Hostname, Exec: n.Exec, StartupDelay: n.StartupDelay,
		FreshDirs: slices.Clone(commonDirs),
	}
	for _, b := range n.Binds {
		st, err := os.Stat(b.Source)
		if err != nil {
			return node, fmt.Errorf("bind: %w", err)
		}
		node.Binds = append(node.Binds, wire.Bind{Source: b.Source, Target: b.Target, Dir: st.IsDir(), ReadOnly: b.ReadOnly})
	}
	for key, value := range n.Sysctls {
		node.Sysctls = append(node.Sysctls, wire.Sysctl{Key: key, Value: value})
	}
	slices.SortFunc(node.Sysctls, func(a, b wire.Sysctl) int { return strings.Compare(a.Key, b.Key) })
	node.Env = []string{"PATH=" + path, "HOME=/run/home", "USER=root", "LANG=C.UTF-8", "TERM=" + os.Getenv("TERM"), "HOSTNAME=" + n.Hostname}
	for key, value := range n.Env {
		node.Env = append(node.Env, key+"="+value)
	}
	img, _ := imageOf(n.Image)
	node.FreshDirs = append(node.FreshDirs, img.freshDirs...)
	if img.files != nil {
		files, err := img.files()
		if err != nil {
			return node, err
		}
		node.Files = files
	}
	var err error
	if node.Programs, err = programsOf(n); err != nil {
		return node, err
	}
	return node, missing(node.Programs, img, path)
}

// missing says which programs are not on this machine and how to get them.
func missing(programs []wire.Program, img image, path string) error {
	var errs []error
	for _, p := range programs {
		_, err := lookPath(p.Argv[0], path)
		switch name := filepath.Base(p.Argv[0]); {
		case err == nil:
		case name == "anyvip" || name == "anyvip-lab":
			errs = append(errs, fmt.Errorf("%s is neither beside the running binary nor on PATH; build it with `make build`", name))
		case img.pkg != "":
			errs = append(errs, fmt.Errorf("%s is not on this machine; install it with `apt-get install %s`", name, img.pkg))
		default:
			errs = append(errs, fmt.Errorf("%s is not on this machine", p.Argv[0]))
		}
	}
	return errors.Join(errs...)
}

// searchPath is the PATH of the nodes: the caller's, with our binaries first and
// the administrator's directories last, which ordinary users often lack.
func searchPath(o Options) string {
	dirs := []string{o.Binaries}
	if o.Binaries == "" {
		if self, err := os.Executable(); err == nil {
			dirs[0] = filepath.Dir(self)
		}
	} else if abs, err := filepath.Abs(o.Binaries); err == nil {
		dirs[0] = abs
	}
	dirs = append(dirs, filepath.SplitList(os.Getenv("PATH"))...)
	dirs = append(dirs, "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
	var unique []string
	for _, dir := range dirs {
		if filepath.IsAbs(dir) && !slices.Contains(unique, dir) {
			unique = append(unique, dir)
		}
	}
	return strings.Join(unique, ":")
}

// lookPath is exec.LookPath with another PATH than the process's own.
func lookPath(name, path string) (string, error) {
	if strings.Contains(name, "/") {
		return exec.LookPath(name)
	}
	for _, dir := range filepath.SplitList(path) {
		if found, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return found, nil
		}
	}
	return "", &exec.Error{Name: name, Err: exec.ErrNotFound}
}

// endpointSpec gives the endpoint a locally administered MAC address that depends
// on nothing but its name.
func endpointSpec(e Endpoint) wire.Endpoint {
	mac := e.MAC
	if mac == "" {
		sum := sha256.Sum256([]byte(e.String()))
		mac = net.HardwareAddr{0x02, sum[0], sum[1], sum[2], sum[3], sum[4]}.String()
	}
	return wire.Endpoint{Node: e.Node, Interface: e.Interface, MAC: mac}
}

func cutEndpoint(s string) (node, name string, ok bool) {
	node, name, ok = strings.Cut(s, ":")
	return node, name, ok && node != "" && name != ""
}
