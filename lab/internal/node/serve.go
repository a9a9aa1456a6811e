package node

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"github.com/vishvananda/netlink"

	"github.com/anyvip/anyvip/lab/internal/wire"
)

// serve answers clients until the process ends.
func (n *Node) serve() {
	file := os.NewFile(FDListen, "socket")
	l, err := net.FileListener(file)
	file.Close()
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab: serve:", err)
		return
	}
	for {
		conn, err := wire.Accept(l.(*net.UnixListener))
		if err != nil {
			fmt.Fprintln(os.Stderr, "lab: serve:", err)
			return
		}
		go n.client(conn)
	}
}

// client serves one connection, which carries one request.
func (n *Node) client(conn *wire.Conn) {
	defer conn.Close()
	var r wire.Request
	files, err := conn.Receive(&r)
	if err != nil {
		return
	}
	switch r.Op {
	case wire.OpRun:
		n.command(conn, r, files)
	case wire.OpSetLink:
		answer(conn, failure(setLink(r.Interface, r.Up)))
	case wire.OpDaemon, wire.OpDaemonStart, wire.OpDaemonStop, wire.OpDaemonKill, wire.OpDaemonWait:
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			var more wire.Request
			for {
				if _, err := conn.Receive(&more); err != nil {
					return
				}
			}
		}()
		answer(conn, n.daemon.handle(r, gone))
		conn.Close()
		<-gone
	case wire.OpDown, wire.OpSignal:
		answer(conn, wire.Reply{Error: fmt.Sprintf("a node does not know the request %q here", r.Op)})
	}
}

// answer sends a reply. A client that is gone misses nothing.
func answer(conn *wire.Conn, reply wire.Reply) { _ = conn.Send(reply) }

func failure(err error) wire.Reply {
	if err != nil {
		return wire.Reply{Error: err.Error()}
	}
	return wire.Reply{}
}

// command runs what the client wants, with the client's own files as stdin,
// stdout and stderr. A client that goes away takes the command with it.
func (n *Node) command(conn *wire.Conn, r wire.Request, files []*os.File) {
	fds := make([]uintptr, len(files))
	for i, f := range files {
		fds[i] = f.Fd()
	}
	c, err := n.launch(r.Argv, r.Env, r.Dir, fds)
	for _, f := range files {
		f.Close()
	}
	if err != nil {
		answer(conn, failure(err))
		return
	}
	answer(conn, wire.Reply{Started: true})
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for {
			var more wire.Request
			if _, err := conn.Receive(&more); err != nil {
				return
			}
			if more.Op == wire.OpSignal {
				c.Signal(syscall.Signal(more.Signal), false)
			}
		}
	}()
	select {
	case <-c.Done():
	case <-gone:
		c.Signal(syscall.SIGKILL, true)
		<-c.Done()
	}
	answer(conn, wire.Reply{Exit: exitOf(c.Status())})
	conn.Close()
	<-gone
}

func exitOf(status syscall.WaitStatus) *wire.Exit {
	if status.Signaled() {
		return &wire.Exit{Code: -1, Signal: int(status.Signal())}
	}
	return &wire.Exit{Code: status.ExitStatus()}
}

// setLink cuts or heals at the node's interface. The IPv6 addresses stay, as on
// the other end, where only the carrier goes.
func setLink(name string, up bool) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("interface %q: %w", name, err)
	}
	if up {
		return netlink.LinkSetUp(link)
	}
	keep := filepath.Join("/proc/sys/net/ipv6/conf", name, "keep_addr_on_down")
	if err := os.WriteFile(keep, []byte("1"), 0); err != nil && !os.IsNotExist(err) {
		return err
	}
	return netlink.LinkSetDown(link)
}
