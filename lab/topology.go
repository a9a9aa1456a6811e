package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Topology is a containerlab topology file, as far as this package acts on it.
type Topology struct {
	File  string // where it was read from, for messages
	Name  string
	Nodes []Node // sorted by name
	Links []Link
}

// Node is one node with the file's defaults, kinds and groups merged into it.
type Node struct {
	Name         string
	Kind         string
	Image        string
	Hostname     string   // default: the name
	Cmd          []string // entrypoint and cmd; empty: what the image runs
	Binds        []Bind
	Exec         [][]string
	Env          map[string]string
	Sysctls      map[string]string
	StartupDelay int // seconds
}

// Bind shows a file or directory of the host inside a node.
type Bind struct {
	Source   string // absolute
	Target   string
	ReadOnly bool
}

// Link joins two interfaces.
type Link struct {
	A, B Endpoint
	MTU  int // 0: the kernel's default
}

// Endpoint is an interface of a node. An empty MAC stands for one that is made
// from the names, so that it is the same in every run.
type Endpoint struct {
	Node      string
	Interface string
	MAC       string
}

// String writes an Endpoint as a topology file does.
func (e Endpoint) String() string { return e.Node + ":" + e.Interface }

// Problem is one fault of a topology file.
type Problem struct {
	File         string
	Line, Column int    // 0 if the fault has no place
	Path         string // like topology.nodes.s1.image
	Text         string
}

// String writes a Problem on one line: file:line:column: path: text.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	b.WriteString(": ")
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Text)
	return b.String()
}

// Problems are all faults of one file, in its order.
type Problems []Problem

// Error lists the problems, one per line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Load reads and checks a topology file. The error is of type Problems if the
// file could be read.
func Load(path string) (*Topology, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read topology: %w", err)
	}
	return Parse(path, data)
}

// Parse checks a topology that Load would read from path. Relative bind sources
// are relative to path's directory.
func Parse(path string, data []byte) (*Topology, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	d := &decoder{file: path, dir: filepath.Dir(abs)}
	topo := d.topology(data)
	if len(d.problems) > 0 {
		return nil, d.sorted()
	}
	topo.File = path
	return topo, nil
}

// node returns the node of that name, nil if there is none.
func (t *Topology) node(name string) *Node {
	for i := range t.Nodes {
		if t.Nodes[i].Name == name {
			return &t.Nodes[i]
		}
	}
	return nil
}
