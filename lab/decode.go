package lab

import (
	"cmp"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

var (
	labName   = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)
	nodeName  = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._|-]*$`)
	interName = regexp.MustCompile(`^[a-zA-Z0-9_.-]{1,15}$`)
)

// maxHostname is the kernel's limit; containerlab's node names have none.
const maxHostname = 64

// topology decodes a whole file.
func (d *decoder) topology(data []byte) *Topology {
	doc, ok := d.document(data)
	if !ok {
		return nil
	}
	keys := d.known(doc, fileKeys)
	topo := &Topology{}
	if name, ok := keys["name"]; ok {
		topo.Name = d.text(name.value)
		if !labName.MatchString(topo.Name) {
			d.problem(name.value, "%q is no name; letters, digits and . _ - are possible", topo.Name)
		}
	} else {
		d.problem(at{node: doc.node, path: "name"}, "is missing")
	}
	body, ok := keys["topology"]
	if !ok {
		d.problem(at{node: doc.node, path: "topology"}, "is missing")
		return topo
	}
	parts := d.known(body.value, topologyKeys)
	topo.Nodes = d.nodes(parts)
	if len(topo.Nodes) == 0 {
		d.problem(body.value, "has no nodes")
	}
	topo.Links = d.links(parts, topo)
	return topo
}

// nodes decodes the nodes over the defaults, kinds and groups they refer to.
func (d *decoder) nodes(parts map[string]entry) []Node {
	var defaults raw
	if e, ok := parts["defaults"]; ok {
		defaults = d.raw(e.value)
	}
	kinds := d.raws(parts["kinds"])
	groups := d.raws(parts["groups"])
	var nodes []Node
	for _, e := range d.mapping(parts["nodes"].value) {
		if !nodeName.MatchString(e.key) || len(e.key) > maxHostname {
			d.problem(e.name, "%q is no node name; letters, digits and . _ | - are possible, at most %d", e.key, maxHostname)
			continue
		}
		own := d.raw(e.value)
		kind := cmp.Or(own.kind, groups[own.group].kind, defaults.kind)
		if own.group != "" {
			if _, ok := groups[own.group]; !ok {
				d.problem(e.name, "group %q is not in topology.groups", own.group)
			}
		}
		node := merge(defaults, kinds[kind], groups[own.group], own)
		if kind != "linux" {
			d.problem(e.name, "kind %q is not possible; anyvip-lab runs kind linux only", kind)
		}
		nodes = append(nodes, d.node(e, node))
	}
	slices.SortFunc(nodes, func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
	return nodes
}

// raw is what one level of the file says about a node.
type raw struct {
	kind, group, image, hostname string
	entrypoint, cmd              []string
	binds                        []rawBind
	exec                         [][]string
	env, sysctls                 map[string]string
	delay                        *int
}

// rawBind is a bind with its place, for what is checked once the node is known.
type rawBind struct {
	Bind
	where at
}

func (d *decoder) raws(e entry) map[string]raw {
	levels := make(map[string]raw)
	for _, level := range d.mapping(e.value) {
		levels[level.key] = d.raw(level.value)
	}
	return levels
}

func (d *decoder) raw(v at) raw {
	var r raw
	for key, e := range d.known(v, nodeKeys) {
		switch key {
		case "kind":
			r.kind = d.text(e.value)
		case "group":
			r.group = d.text(e.value)
		case "image":
			r.image = d.text(e.value)
		case "hostname":
			r.hostname = d.text(e.value)
		case "entrypoint":
			r.entrypoint = d.words(e.value)
		case "cmd":
			r.cmd = d.words(e.value)
		case "binds":
			r.binds = d.binds(e.value)
		case "exec":
			for _, line := range d.list(e.value) {
				r.exec = append(r.exec, d.words(line))
			}
		case "env":
			r.env = d.texts(e.value)
		case "sysctls":
			r.sysctls = d.sysctls(e.value)
		case "startup-delay":
			delay := d.number(e.value, 0, 3600)
			r.delay = &delay
		}
	}
	return r
}

// merge lays the levels over each other, the last one on top. As in containerlab
// lists are joined, and a bind to the same target is replaced.
func merge(levels ...raw) raw {
	all := raw{env: map[string]string{}, sysctls: map[string]string{}}
	for _, l := range levels {
		all.image = cmp.Or(l.image, all.image)
		all.kind = cmp.Or(l.kind, all.kind)
		all.hostname = cmp.Or(l.hostname, all.hostname)
		if l.entrypoint != nil {
			all.entrypoint = l.entrypoint
		}
		if l.cmd != nil {
			all.cmd = l.cmd
		}
		if l.delay != nil {
			all.delay = l.delay
		}
		for _, b := range l.binds {
			all.binds = slices.DeleteFunc(all.binds, func(old rawBind) bool { return old.Target == b.Target })
			all.binds = append(all.binds, b)
		}
		all.exec = append(all.exec, l.exec...)
		maps.Copy(all.env, l.env)
		maps.Copy(all.sysctls, l.sysctls)
	}
	return all
}

// node checks what only the merged node can show.
func (d *decoder) node(e entry, r raw) Node {
	n := Node{
		Name: e.key, Kind: r.kind, Image: r.image, Hostname: cmp.Or(r.hostname, e.key),
		Cmd: slices.Concat(r.entrypoint, r.cmd), Exec: r.exec, Env: r.env, Sysctls: r.sysctls,
	}
	if r.delay != nil {
		n.StartupDelay = *r.delay
	}
	for _, bind := range r.binds {
		bind.Source = strings.ReplaceAll(bind.Source, "__clabNodeName__", e.key)
		if _, err := os.Stat(bind.Source); err != nil {
			d.problem(bind.where, "%s", err)
		}
		n.Binds = append(n.Binds, bind.Bind)
	}
	if len(n.Cmd) == 0 {
		if n.Image == "" {
			d.problem(at{e.name.node, e.value.path + ".image"}, "is missing")
		} else if _, ok := imageOf(n.Image); !ok {
			d.problem(at{e.name.node, e.value.path + ".image"}, "anyvip-lab does not know what image %s runs; give the node a cmd, or take one of %s", n.Image, knownImages())
		}
	}
	return n
}

func (d *decoder) words(v at) []string {
	line := d.text(v)
	if line == "" {
		return nil
	}
	words, err := split(line)
	if err != nil {
		d.problem(v, "the command line %s", err)
	}
	return words
}

func (d *decoder) texts(v at) map[string]string {
	m := make(map[string]string)
	for _, e := range d.mapping(v) {
		if strings.HasPrefix(e.key, "__") {
			d.problem(e.name, "is a magic key of containerlab that anyvip-lab does not know")
			continue
		}
		m[e.key] = ""
		if !isNull(d.plain(e.value).node) {
			m[e.key] = d.text(e.value)
		}
	}
	return m
}

// sysctls takes those only that a node has for itself; others would be the host's.
func (d *decoder) sysctls(v at) map[string]string {
	m := d.texts(v)
	for _, e := range d.mapping(v) {
		if !strings.HasPrefix(e.key, "net.") || strings.Contains(e.key, "..") {
			d.problem(e.name, "only sysctls below net. belong to a node; this one would change the host")
		}
	}
	return m
}

func (d *decoder) binds(v at) []rawBind {
	var binds []rawBind
	for _, e := range d.list(v) {
		parts := strings.Split(d.text(e), ":")
		if len(parts) < 2 || len(parts) > 3 || parts[0] == "" || !filepath.IsAbs(parts[1]) {
			d.problem(e, "has to be SOURCE:TARGET or SOURCE:TARGET:ro, with an absolute target")
			continue
		}
		b := rawBind{Bind{Source: d.source(parts[0]), Target: filepath.Clean(parts[1])}, e}
		if left := strings.ReplaceAll(b.Source, "__clabNodeName__", ""); strings.Contains(left, "__clab") {
			d.problem(e, "of containerlab's variables anyvip-lab knows __clabNodeName__ only")
			continue
		}
		if len(parts) == 3 {
			for option := range strings.SplitSeq(parts[2], ",") {
				switch option {
				case "ro":
					b.ReadOnly = true
				case "rw", "z", "Z", "rprivate", "rslave", "rshared":
				default:
					d.problem(e, "unknown bind option %q; ro and rw are possible", option)
				}
			}
		}
		binds = append(binds, b)
	}
	return binds
}

func (d *decoder) source(path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(d.dir, path)
}

// links decodes the links and checks that their ends exist and are free.
func (d *decoder) links(parts map[string]entry, topo *Topology) []Link {
	used := make(map[Endpoint]bool)
	var links []Link
	for _, v := range d.list(parts["links"].value) {
		keys := d.known(v, linkKeys)
		var l Link
		if e, ok := keys["type"]; ok {
			if kind := d.text(e.value); kind != "veth" {
				d.problem(e.value, "link type %q is not possible; anyvip-lab makes veth links only", kind)
				continue
			}
		}
		if e, ok := keys["mtu"]; ok {
			l.MTU = d.number(e.value, 68, 65535)
		}
		e, ok := keys["endpoints"]
		if !ok {
			d.problem(v, "has no endpoints")
			continue
		}
		ends := d.list(e.value)
		if len(ends) != 2 {
			d.problem(e.value, "has %d ends; a link has two", len(ends))
			continue
		}
		l.A, l.B = d.endpoint(ends[0], topo, used), d.endpoint(ends[1], topo, used)
		links = append(links, l)
	}
	return links
}

func (d *decoder) endpoint(v at, topo *Topology, used map[Endpoint]bool) Endpoint {
	e := d.endpointText(v)
	if e.Node == "" && e.Interface == "" {
		return e // its form is reported already
	}
	if topo.node(e.Node) == nil {
		d.problem(v, "no node %q is in topology.nodes", e.Node)
	}
	switch {
	case !interName.MatchString(e.Interface):
		d.problem(v, "%q is no interface name; 1 to 15 letters, digits and . _ - are possible", e.Interface)
	case e.Interface == "eth0":
		d.problem(v, "eth0 is the management interface under containerlab; take another name")
	case e.Interface == "lo":
		d.problem(v, "lo is the loopback interface; take another name")
	}
	if e.MAC != "" {
		if mac, err := net.ParseMAC(e.MAC); err != nil || len(mac) != 6 || mac[0]&1 != 0 {
			d.problem(v, "%q is no unicast MAC address", e.MAC)
		}
	}
	key := Endpoint{Node: e.Node, Interface: e.Interface}
	if used[key] {
		d.problem(v, "%s is the end of two links", key)
	}
	used[key] = true
	return e
}

// endpointText reads either form of an endpoint: "node:interface" or a mapping.
func (d *decoder) endpointText(v at) Endpoint {
	switch d.plain(v).node.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		keys := d.known(v, endpointKeys)
		e := Endpoint{}
		for key, to := range map[string]*string{"node": &e.Node, "interface": &e.Interface, "mac": &e.MAC} {
			if k, ok := keys[key]; ok {
				*to = d.text(k.value)
			} else if key != "mac" {
				d.problem(v, "has no %s", key)
			}
		}
		return e
	}
	text := d.text(v)
	node, name, ok := strings.Cut(text, ":")
	if !ok && text != "" {
		d.problem(v, "%q has to be NODE:INTERFACE", text)
		return Endpoint{}
	}
	return Endpoint{Node: node, Interface: name}
}
