// Package wire is what the processes of one lab say to each other.
//
// A lab is three generations of one binary: the caller (a test, or `anyvip-lab
// up`), its supervisor (process 1 of the lab), and below it one process per
// node. Specs and Events travel over stream sockets between a process and its
// parent. Requests come from anyone who may open the lab's sockets, as packets
// that can carry file descriptors. The package holds values and codecs only; it
// knows nothing of namespaces, and starts no goroutine.
package wire

// Spec is the whole lab as the supervisor needs it: images are resolved to
// programs, paths are absolute, nothing is left to look up.
type Spec struct {
	Lab        string
	LogDir     string
	Nodes      []Node
	Links      []Link
	RuntimeDir string // where the sockets are; it goes with the lab
}

// Node is one node of a Spec. The supervisor hands it to the node's process.
type Node struct {
	Lab          string
	Name         string
	Hostname     string
	OwnUserNS    bool     // the lab runs in a user namespace of its own
	BuiltinIP    bool     // `ip` in exec lines is the built-in one
	Env          []string // KEY=value, complete
	Sysctls      []Sysctl
	FreshDirs    []string // empty, writable, private to the node
	Files        []File   // generated files, private to the node
	Binds        []Bind
	Interfaces   []string
	Exec         [][]string
	StartupDelay int // seconds
	Programs     []Program
}

// Sysctl is one kernel parameter below net.
type Sysctl struct{ Key, Value string }

// File is a generated file that hides the host's file of the same path.
type File struct{ Path, Content string }

// Bind shows a path of the host inside a node.
type Bind struct {
	Source   string
	Target   string
	Dir      bool // Source is a directory
	ReadOnly bool
}

// Program is one process of a node's daemon. A daemon is a short list of them:
// FRR is zebra, staticd, bgpd and one run of vtysh.
type Program struct {
	Name string
	Argv []string
	// Ready is a path that exists once the program serves; empty if there is none.
	Ready string
	// Once marks a program that has to end with success before the next one starts.
	Once bool
}

// Link is one veth pair.
type Link struct {
	A, B Endpoint
	MTU  int // 0: the kernel's default
}

// Endpoint is one end of a Link.
type Endpoint struct {
	Node      string
	Interface string
	MAC       string
}
