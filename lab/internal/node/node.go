// Package node is the first process of a node: it makes the node out of the
// namespaces it was started in, runs its exec lines and its daemon, and serves
// those who want to run something inside.
//
// The process is pid 1 of the node's pid namespace and never leaves its
// namespaces, so no thread ever switches one. When it ends, for whatever reason,
// the kernel ends everything in the node. Its goroutines: the reaper, one that
// watches the supervisor's connection, one per client.
package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/anyvip/anyvip/lab/internal/child"
	"github.com/anyvip/anyvip/lab/internal/ipcmd"
	"github.com/anyvip/anyvip/lab/internal/rootfs"
	"github.com/anyvip/anyvip/lab/internal/wire"
)

// The file descriptors that the supervisor passes, after stdin, stdout and stderr
// (both the node's log).
const (
	FDStream = 3
	FDListen = 4
)

// Node is one running node.
type Node struct {
	spec   wire.Node
	family *child.Family
	daemon *daemon
	stream *wire.Stream
}

// Main is the whole life of the process. It returns an exit code.
func Main() int {
	stream, err := wire.NewStream(os.NewFile(FDStream, "stream"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	n := &Node{family: child.New(), stream: stream}
	if err := stream.Receive(&n.spec); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go n.family.Run(ctx)
	if err := n.run(ctx); err != nil {
		n.tell(wire.StateFailed, err.Error())
		return 1
	}
	return 0
}

// run ends with an error if the node cannot come up, and otherwise not before
// the supervisor does.
func (n *Node) run(ctx context.Context) error {
	if err := n.prepare(); err != nil {
		return err
	}
	if err := n.event(wire.StateWaiting, ""); err != nil {
		return err
	}
	var linked bool
	if err := n.stream.Receive(&linked); err != nil {
		return fmt.Errorf("wait for links: %w", err)
	}
	for _, name := range n.spec.Interfaces {
		if err := setUp(name); err != nil {
			return err
		}
	}
	n.daemon = newDaemon(n.spec, n.family, func(text string) { n.tell(wire.StateDied, text) })
	go n.serve()
	if err := n.start(ctx); err != nil {
		return err
	}
	if err := n.event(wire.StateUp, n.daemon.describe()); err != nil {
		return err
	}
	for n.stream.Receive(&linked) == nil {
	} // nothing more is sent: this ends when the supervisor does
	return nil
}

func (n *Node) event(state wire.State, text string) error {
	return n.stream.Send(wire.Event{Node: n.spec.Name, State: state, Text: text})
}

// tell is event where nothing can be done about a supervisor that is gone: then
// so are we, at once.
func (n *Node) tell(state wire.State, text string) { _ = n.event(state, text) }

// prepare sets up all that does not need the links.
func (n *Node) prepare() error {
	if err := syscall.Sethostname([]byte(n.spec.Hostname)); err != nil {
		return fmt.Errorf("set the host name: %w", err)
	}
	plan := rootfs.Plan{FreshDirs: n.spec.FreshDirs, Files: n.spec.Files, Binds: n.spec.Binds, OwnUserNS: n.spec.OwnUserNS}
	if err := rootfs.Enter(plan); err != nil {
		return err
	}
	os.Clearenv()
	for _, kv := range n.spec.Env {
		key, value, _ := strings.Cut(kv, "=")
		if err := os.Setenv(key, value); err != nil {
			return fmt.Errorf("set %s in the environment: %w", key, err)
		}
	}
	if err := os.MkdirAll(os.Getenv("HOME"), 0o755); err != nil {
		return err
	}
	if err := setUp("lo"); err != nil {
		return err
	}
	for _, s := range n.spec.Sysctls {
		path := filepath.Join("/proc/sys", strings.ReplaceAll(s.Key, ".", "/"))
		if err := os.WriteFile(path, []byte(s.Value), 0); err != nil {
			return fmt.Errorf("sysctl %s = %s: %w", s.Key, s.Value, err)
		}
	}
	return nil
}

// start runs the exec lines and then the daemon.
func (n *Node) start(ctx context.Context) error {
	select {
	case <-time.After(time.Duration(n.spec.StartupDelay) * time.Second):
	case <-ctx.Done():
		return ctx.Err()
	}
	for _, argv := range n.spec.Exec {
		if err := n.exec(argv); err != nil {
			return fmt.Errorf("exec %s: %w", strings.Join(argv, " "), err)
		}
	}
	return n.daemon.start()
}

// exec runs one exec line to its end; its output goes to the node's log.
func (n *Node) exec(argv []string) error {
	if argv[0] == "ip" && n.spec.BuiltinIP {
		return ipcmd.Run(argv)
	}
	mark := logSize()
	c, err := n.launch(argv, nil, "", []uintptr{0, 1, 2})
	if err != nil {
		return err
	}
	<-c.Done()
	if status := c.Status(); status != 0 {
		return fmt.Errorf("%s%s", child.Describe(status), tail(mark))
	}
	return nil
}

// launch starts a command in a process group of its own.
func (n *Node) launch(argv, env []string, dir string, files []uintptr) (*child.Child, error) {
	if len(argv) == 0 {
		return nil, errors.New("no command given")
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return nil, err
	}
	if st, err := os.Stat(dir); err != nil || !st.IsDir() {
		dir = "/"
	}
	return n.family.Start(path, argv, &syscall.ProcAttr{
		Dir:   dir,
		Env:   append(os.Environ(), env...),
		Files: files,
		Sys:   &syscall.SysProcAttr{Setpgid: true},
	})
}

func setUp(name string) error {
	link, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkSetUp(link)
	}
	if err != nil {
		return fmt.Errorf("set %s up: %w", name, err)
	}
	return nil
}
