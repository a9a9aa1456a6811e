package wire

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/anyvip/anyvip/lab"
	"github.com/anyvip/anyvip/lab/watch/nstest"
	"github.com/anyvip/anyvip/vrrp"
)

// Tests with real peers run an engine in a process of its own, inside a network
// namespace: this binary again, as one of roles.
const (
	nodeRole  = "vrrp-node"
	sniffRole = "vrrp-sniff"
	tagRole   = "vrrp-tag"
)

func TestMain(m *testing.M) {
	os.Setenv("GORACE", "atexit_sleep_ms=0") // for the nodes: a second each otherwise
	lab.Init()
	roles := map[string]func([]string) error{nodeRole: runNode, sniffRole: runSniff, tagRole: runTag}
	if role := roles[os.Args[0]]; role != nil {
		if err := role(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// asRole is this binary in a namespace as one of roles.
func asRole(t *testing.T, h *nstest.Host, role string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return h.Command(append([]string{"bash", "-c", `exec -a "$0" "$@"`, role, self}, args...)...)
}

// setup is what a node is told on its command line.
type setup struct {
	Link       string
	Source     netip.Addr
	VRID       uint8
	Version    uint8
	Priority   uint8
	IntervalMS int
	Addresses  []netip.Addr
	Peers      []netip.Addr
	Password   string
	Checksum   vrrp.Checksum
	VirtualMAC bool
}

func (s setup) candidacy() (vrrp.Candidacy, error) {
	ifi, err := net.InterfaceByName(s.Link)
	if err != nil {
		return vrrp.Candidacy{}, err
	}
	c := vrrp.Candidacy{Name: "test", Interface: vrrp.Link{Name: s.Link, Index: ifi.Index}, Source: s.Source, Peers: s.Peers, Stance: vrrp.In, VirtualMAC: s.VirtualMAC,
		Router: vrrp.Router{Preempt: true, Advertisement: vrrp.Advertisement{Version: s.Version, VRID: s.VRID, Priority: s.Priority,
			Interval: time.Duration(s.IntervalMS) * time.Millisecond, Addresses: s.Addresses, Secured: s.Password != "", Checksum: s.Checksum}}}
	copy(c.Router.Password[:], s.Password)
	return c, nil
}

// runNode runs an engine. It writes a line for each report, and reads commands: in,
// last, out, priority N.
func runNode(args []string) error {
	var s setup
	if err := json.Unmarshal([]byte(args[0]), &s); err != nil {
		return err
	}
	c, err := s.candidacy()
	if err != nil {
		return err
	}
	conn, err := Open()
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	host := &addresses{announcer: NewAnnouncer(c.Interface, func() bool { return true }, log), log: log}
	go host.announcer.Run(ctx)
	engine := vrrp.New(vrrp.Options{Conn: conn, Host: host, Alive: func() bool { return true }, Log: log, Report: func(r vrrp.Report) {
		text, _ := json.Marshal(r)
		fmt.Println(string(text))
	}})
	engine.Apply(vrrp.Desired{Routers: []vrrp.Candidacy{c}})
	go func() {
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			switch word, rest, _ := strings.Cut(in.Text(), " "); word {
			case "in":
				c.Stance = vrrp.In
			case "last":
				c.Stance = vrrp.Last
			case "out":
				c.Stance = vrrp.Out
			case "priority":
				fmt.Sscan(rest, &c.Router.Priority)
			}
			engine.Apply(vrrp.Desired{Routers: []vrrp.Candidacy{c}})
		}
	}()
	return engine.Run(ctx)
}

// addresses is a simple vrrp.Host: what package kernel does in the agent.
type addresses struct {
	mu        sync.Mutex
	announcer *Announcer
	log       *slog.Logger
}

func (h *addresses) Answer(a vrrp.Answer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	verb := "del"
	if a.Held {
		verb = "replace"
	}
	var list []Announcement
	for _, x := range a.Addresses {
		addr := x.Addr
		args := []string{"addr", verb, netip.PrefixFrom(addr, addr.BitLen()).String(), "dev", x.Interface.Name}
		if addr.Is6() {
			args = append(args, "nodad")
		}
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil && a.Held {
			h.log.Error("cannot add", "addr", addr, "error", string(out))
		}
		if a.Announce > 0 {
			list = append(list, Announcement{Addr: addr, MAC: x.MAC, Count: a.Announce, Refresh: a.Refresh, Heir: a.Heir.MAC, Probe: a.Probe})
		}
	}
	h.announcer.Set(list)
}

// runSniff writes every frame on a link that is of ours or a claim, in hex.
func runSniff(args []string) error {
	ifi, err := net.InterfaceByName(args[0])
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(bigEndian(unix.ETH_P_ALL)))
	if err != nil {
		return err
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: bigEndian(unix.ETH_P_ALL), Ifindex: ifi.Index}); err != nil {
		return err
	}
	fmt.Println("ready")
	b := make([]byte, longest+14)
	for {
		n, sa, err := unix.Recvfrom(fd, b, 0)
		if err != nil {
			return err
		}
		from := sa.(*unix.SockaddrLinklayer)
		if _, ok := parse(b[14:n], from); ok {
			fmt.Println(hex.EncodeToString(b[:n]))
		}
	}
}

// runTag advertises with priority 150 on a VLAN of a link, without an end.
func runTag(args []string) error {
	ifi, err := net.InterfaceByName(args[0])
	if err != nil {
		return err
	}
	vlan, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	src := netip.MustParseAddr("10.77.0.2")
	ad := vrrp.Advertisement{Version: 3, VRID: 51, Priority: 150, Interval: time.Second, Addresses: []netip.Addr{netip.MustParseAddr("10.77.0.200")}}
	packet := ad.Append(nil, src, vrrp.Group4)
	frame := []byte{0x01, 0, 0x5e, 0, 0, 0x12, 2, 0, 0, 0, 0, 2, 0x81, 0, byte(vlan >> 8), byte(vlan), 8, 0,
		0x45, 0xc0, 0, byte(20 + len(packet)), 0, 1, 0, 0, 255, vrrp.Protocol, 0, 0, 10, 77, 0, 2, 224, 0, 0, 18}
	frame = append(frame, packet...)
	for range time.Tick(300 * time.Millisecond) {
		if err := unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: ifi.Index, Halen: 6}); err != nil {
			return err
		}
	}
	return nil
}

// lines are what a process says, as it says it.
type lines struct {
	t    *testing.T
	list chan string
}

func follow(t *testing.T, h *nstest.Host, cmd *exec.Cmd) lines {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	h.Start(cmd)
	return read(t, out)
}

func read(t *testing.T, out io.Reader) lines {
	t.Helper()
	l := lines{t, make(chan string, 10000)}
	go func() {
		defer close(l.list)
		for in := bufio.NewScanner(out); in.Scan(); {
			l.list <- in.Text()
		}
	}()
	return l
}

// next waits for a line that matches.
func (l lines) next(what string, match func(string) bool) string {
	l.t.Helper()
	for deadline := time.After(15 * time.Second); ; {
		select {
		case line, ok := <-l.list:
			if !ok {
				l.t.Fatalf("%s: the process ended", what)
			}
			if match(line) {
				return line
			}
		case <-deadline:
			l.t.Fatalf("%s: not seen in 15 s", what)
		}
	}
}

// node is an engine in a namespace.
type node struct {
	lines
	cmd   *exec.Cmd
	stdin interface{ Write([]byte) (int, error) }
}

func startNode(t *testing.T, h *nstest.Host, s setup) *node {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	cmd := asRole(t, h, nodeRole, string(text))
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	return &node{follow(t, h, cmd), cmd, stdin}
}

func (n *node) tell(command string) {
	n.t.Helper()
	if _, err := n.stdin.Write([]byte(command + "\n")); err != nil {
		n.t.Fatal(err)
	}
}

// signal signals the node: nsenter and bash have become it.
func (n *node) signal(sig syscall.Signal) {
	n.t.Helper()
	if err := n.cmd.Process.Signal(sig); err != nil {
		n.t.Fatal(err)
	}
}

// reports waits for a report of the one router that matches.
func (n *node) reports(what string, match func(r map[string]any) bool) map[string]any {
	n.t.Helper()
	var last map[string]any
	n.next(what, func(line string) bool {
		var report struct{ Routers []map[string]any }
		if err := json.Unmarshal([]byte(line), &report); err != nil || len(report.Routers) != 1 {
			return false
		}
		last = report.Routers[0]
		return match(last)
	})
	return last
}
