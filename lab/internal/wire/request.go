package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Op names a Request.
type Op string

// The requests. OpDown goes to the lab's socket, all others to a node's.
const (
	OpDown        Op = "down"         // end the lab; the connection closes when it is over
	OpRun         Op = "run"          // run Argv; three file descriptors come along
	OpSignal      Op = "signal"       // after OpRun, on its connection: send Signal to the command
	OpSetLink     Op = "set-link"     // set Interface up or down
	OpDaemon      Op = "daemon"       // tell the daemon's state
	OpDaemonStart Op = "daemon-start" // start the daemon, unless it runs
	OpDaemonStop  Op = "daemon-stop"  // send Signal to all its programs, wait until they ended
	OpDaemonKill  Op = "daemon-kill"  // send Signal to its main program, do not wait
	OpDaemonWait  Op = "daemon-wait"  // answer when the daemon has ended
)

// Request is one packet from a client.
type Request struct {
	Op        Op
	Argv      []string `json:",omitempty"`
	Env       []string `json:",omitempty"` // added to the node's own
	Dir       string   `json:",omitempty"`
	Signal    int      `json:",omitempty"`
	Interface string   `json:",omitempty"`
	Up        bool     `json:",omitempty"`
}

// Reply is one packet to a client. OpRun is answered twice: Started, then Exit.
type Reply struct {
	Error   string  `json:",omitempty"`
	Started bool    `json:",omitempty"`
	Exit    *Exit   `json:",omitempty"`
	Daemon  *Daemon `json:",omitempty"`
}

// Exit is how a process ended.
type Exit struct {
	Code   int // -1 if a signal ended it
	Signal int `json:",omitempty"`
}

// Daemon is the state of a node's daemon.
type Daemon struct {
	Program string // name of its main program; empty if the node has no daemon
	Running bool
	Pid     int    `json:",omitempty"` // of the main program, in the node's pid namespace
	Ended   string `json:",omitempty"` // how the last run ended, like "bgpd: signal: killed"
}

// maxPacket bounds a packet; the kernel's default socket buffer is about this.
const maxPacket = 200 << 10

// Conn carries packets.
type Conn struct{ sock *net.UnixConn }

// Listen makes the socket name in the directory dir, however long its path is.
func Listen(dir *os.File, name string) (*net.UnixListener, error) {
	l, err := net.ListenUnix("unixpacket", address(dir, name))
	if err != nil {
		return nil, fmt.Errorf("socket %s: %w", name, err)
	}
	l.SetUnlinkOnClose(false)
	return l, nil
}

// Dial connects to the socket name in the directory dir.
func Dial(dir *os.File, name string) (*Conn, error) {
	c, err := net.DialUnix("unixpacket", nil, address(dir, name))
	if err != nil {
		return nil, err
	}
	return &Conn{sock: c}, nil
}

// Accept waits for a client of l.
func Accept(l *net.UnixListener) (*Conn, error) {
	c, err := l.AcceptUnix()
	if err != nil {
		return nil, err
	}
	return &Conn{sock: c}, nil
}

// address reaches the socket through the open directory, since a socket's
// address has room for 107 bytes of path only.
func address(dir *os.File, name string) *net.UnixAddr {
	return &net.UnixAddr{Net: "unixpacket", Name: "/proc/self/fd/" + strconv.Itoa(int(dir.Fd())) + "/" + name}
}

// Send writes one packet, with files if there are any.
func (c *Conn) Send(message any, files ...*os.File) error {
	data, err := json.Marshal(message)
	if err != nil {
		return err
	}
	if len(data) > maxPacket {
		return fmt.Errorf("command and environment take %d bytes, at most %d are possible", len(data), maxPacket)
	}
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		rights = unix.UnixRights(fds...)
	}
	_, _, err = c.sock.WriteMsgUnix(data, rights, nil)
	return err
}

// Receive reads one packet. io.EOF means that the other side closed or died.
func (c *Conn) Receive(message any) ([]*os.File, error) {
	data := make([]byte, maxPacket)
	rights := make([]byte, unix.CmsgSpace(3*4))
	n, rn, flags, _, err := c.sock.ReadMsgUnix(data, rights)
	if err != nil {
		return nil, ended(err)
	}
	if n == 0 {
		return nil, io.EOF
	}
	files, err := filesOf(rights[:rn])
	if err == nil && flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		err = errors.New("packet is too long")
	}
	if err == nil {
		err = json.Unmarshal(data[:n], message)
	}
	if err != nil {
		for _, f := range files {
			f.Close()
		}
		return nil, fmt.Errorf("packet: %w", err)
	}
	return files, nil
}

// ended turns the errors of a vanished partner into io.EOF.
func ended(err error) error {
	if errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE) || errors.Is(err, net.ErrClosed) {
		return io.EOF
	}
	return err
}

func filesOf(rights []byte) ([]*os.File, error) {
	if len(rights) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return nil, err
	}
	var files []*os.File
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "passed"))
		}
	}
	return files, nil
}

// Close ends the connection; a Receive under way returns.
func (c *Conn) Close() { _ = c.sock.Close() } // nothing is buffered that could be lost
