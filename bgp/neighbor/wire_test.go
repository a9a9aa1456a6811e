package neighbor

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// farEnd is the process in the other namespace. It holds that open until its
// standard input ends. On "open" it begins to print what arrives on eth0, a frame
// a line, in hex; on "send HEX" it sends a frame.
func farEnd() error {
	fd := -1
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		verb, argument, _ := strings.Cut(lines.Text(), " ")
		switch verb {
		case "open":
			var err error
			if fd, err = packetSocket("eth0"); err != nil {
				return err
			}
			fmt.Println("opened")
			go printFrames(fd)
		case "send":
			frame, err := hex.DecodeString(argument)
			if err != nil {
				return err
			}
			if _, err := syscall.Write(fd, frame); err != nil {
				return fmt.Errorf("send %s: %w", argument, err)
			}
		}
	}
	return lines.Err()
}

func packetSocket(link string) (int, error) {
	const ipv6 = 0xdd86 // ETH_P_IPV6 in network order, on a little-endian machine
	ifi, err := net.InterfaceByName(link)
	if err != nil {
		return 0, err
	}
	fd, err := syscall.Socket(syscall.AF_PACKET, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, ipv6)
	if err != nil {
		return 0, err
	}
	return fd, syscall.Bind(fd, &syscall.SockaddrLinklayer{Protocol: ipv6, Ifindex: ifi.Index})
}

func printFrames(fd int) {
	buffer := make([]byte, 1<<16)
	for {
		n, from, err := syscall.Recvfrom(fd, buffer, 0)
		if err != nil {
			return
		}
		if l, ok := from.(*syscall.SockaddrLinklayer); ok && l.Pkttype == syscall.PACKET_OUTGOING {
			continue
		}
		fmt.Println(hex.EncodeToString(buffer[:n]))
	}
}

// frame is an Ethernet frame with an ICMPv6 packet.
type frame struct {
	dstMAC, srcMAC net.HardwareAddr
	src, dst       netip.Addr
	hopLimit       byte
	icmp           []byte
}

const ipHeader, etherHeader = 40, 14

// parseFrame is false for anything but ICMPv6 right behind the IPv6 header.
func parseFrame(b []byte) (frame, bool) {
	if len(b) < etherHeader+ipHeader || binary.BigEndian.Uint16(b[12:]) != 0x86dd || b[etherHeader+6] != 58 {
		return frame{}, false
	}
	ip := b[etherHeader:]
	return frame{dstMAC: b[:6], srcMAC: b[6:12], hopLimit: ip[7],
		src: netip.AddrFrom16([16]byte(ip[8:24])), dst: netip.AddrFrom16([16]byte(ip[24:40])),
		icmp: ip[ipHeader : ipHeader+int(binary.BigEndian.Uint16(ip[4:]))]}, true
}

// marshal fills in the ICMPv6 checksum.
func (f frame) marshal() []byte {
	b := append(append([]byte{}, f.dstMAC...), f.srcMAC...)
	b = append(b, 0x86, 0xdd, 0x60, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(len(f.icmp)))
	b = append(b, 58, f.hopLimit)
	b = append(append(b, f.src.AsSlice()...), f.dst.AsSlice()...)
	icmp := append([]byte{}, f.icmp...)
	if len(icmp) >= 4 {
		binary.BigEndian.PutUint16(icmp[2:], 0)
		binary.BigEndian.PutUint16(icmp[2:], ^f.sum(icmp))
	}
	return append(b, icmp...)
}

// sum is the one's complement sum of the pseudo-header and icmp (RFC 8200,
// section 8.1): all ones if icmp has the right checksum in it.
func (f frame) sum(icmp []byte) uint16 {
	b := append(append([]byte{}, f.src.AsSlice()...), f.dst.AsSlice()...)
	b = append(binary.BigEndian.AppendUint32(b, uint32(len(icmp))), 0, 0, 0, 58)
	b = append(b, icmp...)
	if len(b)%2 == 1 {
		b = append(b, 0)
	}
	var sum uint32
	for ; len(b) > 0; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}

// open begins to listen at the other end.
func (f *far) open() {
	f.t.Helper()
	f.ask("open")
	for f.line(10*time.Second) != "opened" {
		continue // what came on an earlier link
	}
}

func (f *far) send(frame frame) {
	f.t.Helper()
	f.ask("send " + hex.EncodeToString(frame.marshal()))
}

func (f *far) ask(line string) {
	f.t.Helper()
	if _, err := fmt.Fprintln(f.in, line); err != nil {
		f.t.Fatal(err)
	}
}

func (f *far) line(limit time.Duration) string {
	f.t.Helper()
	select {
	case line, ok := <-f.out:
		if !ok {
			f.t.Fatal("the far end is gone")
		}
		return line
	case <-time.After(limit):
		f.t.Fatalf("nothing from the far end within %s", limit)
		return ""
	}
}

// arrival waits for the next ICMPv6 packet of that type from us.
func (f *far) arrival(icmpType byte, limit time.Duration) frame {
	f.t.Helper()
	for end := time.Now().Add(limit); ; {
		b, err := hex.DecodeString(f.line(time.Until(end)))
		if err != nil {
			f.t.Fatal(err)
		}
		if got, ok := parseFrame(b); ok && len(got.icmp) > 0 && got.icmp[0] == icmpType {
			return got
		}
	}
}

func ourMAC(t *testing.T) net.HardwareAddr {
	t.Helper()
	ifi, err := net.InterfaceByName("eth1")
	if err != nil {
		t.Fatal(err)
	}
	return ifi.HardwareAddr
}
