package integration

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// discoveryName is the name under which a node runs this binary to print the
// router solicitations and advertisements on its links.
const discoveryName = "integration-router-discovery"

// ICMPv6 types (RFC 4861, section 4).
const (
	solicitation  = 133
	advertisement = 134
)

// discovery is a router solicitation or advertisement that came in on a link; Type
// is 0 once, when the link is open.
type discovery struct {
	At       time.Time
	Link     string
	From     string // MAC
	Source   netip.Addr
	HopLimit byte
	Type     byte
	Lifetime uint16 // of the router, in seconds
	Options  []byte // their types
}

// printDiscovery tells what comes in on links, until it fails.
func printDiscovery(links []string) error {
	failed := make(chan error)
	for _, link := range links {
		go func() { failed <- discover(link, json.NewEncoder(os.Stdout)) }()
	}
	return <-failed
}

func discover(link string, out *json.Encoder) error {
	ifi, err := net.InterfaceByName(link)
	if err != nil {
		return err
	}
	protocol := binary.NativeEndian.Uint16([]byte{unix.ETH_P_IPV6 >> 8, unix.ETH_P_IPV6 & 0xff}) // in network order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(protocol))
	if err != nil {
		return err
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: ifi.Index}); err != nil {
		return err
	}
	if err := out.Encode(discovery{At: time.Now(), Link: link}); err != nil {
		return err
	}
	for frame := make([]byte, 1<<16); ; {
		n, from, err := unix.Recvfrom(fd, frame, 0)
		if err != nil && err != unix.ENETDOWN && err != unix.EINTR {
			return fmt.Errorf("receive on %s: %w", link, err)
		}
		l, ok := from.(*unix.SockaddrLinklayer)
		if err != nil || !ok || l.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		if d, ok := parseDiscovery(frame[:n]); ok {
			d.At, d.Link = time.Now(), link
			if err := out.Encode(d); err != nil {
				return err
			}
		}
	}
}

// parseDiscovery reads an Ethernet frame; false for anything else.
func parseDiscovery(frame []byte) (d discovery, ok bool) {
	const ether, ip, icmpv6 = 14, 40, 58
	if len(frame) < ether+ip+8 || frame[ether+6] != icmpv6 {
		return d, false
	}
	message := frame[ether+ip:]
	d = discovery{From: net.HardwareAddr(frame[6:12]).String(), Source: netip.AddrFrom16([16]byte(frame[ether+8 : ether+24])),
		HopLimit: frame[ether+7], Type: message[0]}
	options := message[8:]
	switch {
	case d.Type == advertisement && len(message) >= 16:
		d.Lifetime, options = binary.BigEndian.Uint16(message[6:]), message[16:]
	case d.Type != solicitation:
		return d, false
	}
	for len(options) >= 8 && options[1] > 0 && len(options) >= int(options[1])*8 {
		d.Options, options = append(d.Options, options[0]), options[int(options[1])*8:]
	}
	return d, true
}

func decodeDiscovery(r io.Reader) iter.Seq2[discovery, error] {
	return func(yield func(discovery, error) bool) {
		for in := json.NewDecoder(r); ; {
			var d discovery
			err := in.Decode(&d)
			if err == io.EOF || !yield(d, err) || err != nil {
				return
			}
		}
	}
}

// watchDiscovery starts to print router discovery on links of a node.
func (r *rig) watchDiscovery(node string, links ...string) *instrument[discovery] {
	r.t.Helper()
	i := follow(r, decodeDiscovery, node, roleArgv(r.t, discoveryName, links...)...)
	for _, link := range links {
		i.wait(patience, "the capture on "+link+" of "+node, func(d discovery) bool { return d.Link == link })
	}
	return i
}
