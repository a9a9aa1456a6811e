package integration

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// macsName is this binary as one that tells of MACs on links.
const macsName = "integration-macs"

// macFrame is a frame that comes from a virtual router's MAC, or claims an address in
// ARP or a neighbor advertisement.
type macFrame struct {
	At       time.Time
	Port     string // the link that it came in on
	From     string // the MAC that it comes from
	Claim    netip.Addr
	ClaimMAC string
	Frame    string // the beginning of it, in hex
}

// virtual says whether a frame comes from a virtual router's MAC, RFC 9568, section 7.3.
func (f macFrame) virtual() bool {
	return strings.HasPrefix(f.From, "00:00:5e:00:01:") || strings.HasPrefix(f.From, "00:00:5e:00:02:")
}

// printMACs writes a line for each such frame that comes in on links.
func printMACs(links []string) error {
	var mu sync.Mutex
	out := json.NewEncoder(os.Stdout)
	ended := make(chan error)
	for _, link := range links {
		go func() {
			ended <- printMACsOf(link, func(f macFrame) error { mu.Lock(); defer mu.Unlock(); return out.Encode(f) })
		}()
	}
	return <-ended
}

func printMACsOf(link string, tell func(macFrame) error) error {
	ifi, err := net.InterfaceByName(link)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1); err != nil {
		return err
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: 0x0300, Ifindex: ifi.Index}); err != nil { // ETH_P_ALL
		return err
	}
	if err := tell(macFrame{Port: link}); err != nil { // it misses nothing from here on
		return err
	}
	for b := make([]byte, 2048); ; {
		n, _, err := unix.Recvfrom(fd, b, 0)
		if err != nil {
			return err
		}
		if f := takeMACs(b[:n]); f.virtual() || f.Claim.IsValid() {
			f.At, f.Port = time.Now(), link
			if err := tell(f); err != nil {
				return err
			}
		}
	}
}

func takeMACs(b []byte) (f macFrame) {
	if len(b) < 14 {
		return f
	}
	f.From, f.Frame = net.HardwareAddr(b[6:12]).String(), fmt.Sprintf("%x", b[:min(len(b), 90)])
	switch {
	case b[12] == 0x08 && b[13] == 0x06 && len(b) >= 42:
		f.Claim, f.ClaimMAC = netip.AddrFrom4([4]byte(b[28:])), net.HardwareAddr(b[22:28]).String()
	case b[12] == 0x86 && b[13] == 0xdd && len(b) >= 86 && b[20] == 58 && b[54] == 136: // neighbor advertisement with an option
		f.Claim, f.ClaimMAC = netip.AddrFrom16([16]byte(b[62:])), net.HardwareAddr(b[80:86]).String()
	}
	return f
}

// watchMACs follows the MACs that come in on links of a node.
func (r *rig) watchMACs(node string, links ...string) *instrument[macFrame] {
	r.t.Helper()
	self, err := os.Executable()
	if err != nil {
		r.t.Fatal(err)
	}
	f := follow(r, decodeMACs, node, append([]string{"bash", "-c", `exec -a "$0" "$@"`, macsName, self}, links...)...)
	for _, link := range links {
		f.wait(patience, "the watch of "+link, func(e macFrame) bool { return e.At.IsZero() && e.Port == link })
	}
	return f
}

func decodeMACs(r io.Reader) iter.Seq2[macFrame, error] {
	return func(yield func(macFrame, error) bool) {
		for d := json.NewDecoder(r); ; {
			var f macFrame
			err := d.Decode(&f)
			if err == io.EOF || !yield(f, err) || err != nil {
				return
			}
		}
	}
}

// neighbour is a line of `ip monitor neigh`: what a host believes of another's MAC.
type neighbour struct {
	Address netip.Addr
	MAC     string // empty: none
	State   string
}

// watchNeighbours follows what a node believes.
func (r *rig) watchNeighbours(node string) *instrument[neighbour] {
	r.t.Helper()
	f := follow(r, decodeNeighbours, node, "ip", "-oneline", "monitor", "neigh")
	const probe = "127.77.77.77" // a change of our own shows that the socket is open
	eventually(r.t, patience, func() error {
		r.sh(node, "ip neigh replace "+probe+" lladdr 02:00:00:00:00:77 dev eth1 nud stale; ip neigh del "+probe+" dev eth1")
		if len(f.all(func(n neighbour) bool { return n.Address == netip.MustParseAddr(probe) })) == 0 {
			return fmt.Errorf("ip monitor on %s shows nothing", node)
		}
		return nil
	})
	return f
}

// decodeNeighbours reads lines like
//
//	10.0.5.100 dev eth1 lladdr 00:00:5e:00:01:33 REACHABLE
func decodeNeighbours(r io.Reader) iter.Seq2[neighbour, error] {
	return func(yield func(neighbour, error) bool) {
		for lines := bufio.NewScanner(r); lines.Scan(); {
			fields := strings.Fields(strings.TrimPrefix(lines.Text(), "Deleted "))
			if len(fields) < 2 {
				continue
			}
			addr, err := netip.ParseAddr(fields[0])
			if err != nil {
				continue // another kind of line
			}
			n := neighbour{Address: addr, State: fields[len(fields)-1]}
			for i, f := range fields[:len(fields)-1] {
				if f == "lladdr" {
					n.MAC = fields[i+1]
				}
			}
			if !yield(n, nil) {
				return
			}
		}
	}
}
