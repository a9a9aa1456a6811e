package lab

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// pingName is the name under which nodes run this binary as their ping.
const pingName = "lab-test-ping"

func TestMain(m *testing.M) {
	os.Setenv("GORACE", "atexit_sleep_ms=0") // for the lab's processes: a second each otherwise
	Init()
	if os.Args[0] == pingName {
		if err := ping(os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, "ping:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// ping sends one echo request over IPv4 and waits a second for the answer.
func ping(target string) error {
	addr, err := netip.ParseAddr(target)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	timeout := unix.NsecToTimeval(int64(time.Second))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		return err
	}
	echo := []byte{8, 0, 0, 0, 0x61, 0x76, 0, 1} // type, code, checksum, identifier, sequence
	sum := uint32(8<<8) + 0x6176 + 1
	binary.BigEndian.PutUint16(echo[2:], ^uint16(sum))
	if err := unix.Sendto(fd, echo, 0, &unix.SockaddrInet4{Addr: addr.As4()}); err != nil {
		return err
	}
	packet := make([]byte, 1500)
	for {
		n, _, err := unix.Recvfrom(fd, packet, 0)
		if err != nil {
			return err
		}
		const header = 20
		if n >= header+8 && packet[header] == 0 && string(packet[header+4:header+8]) == string(echo[4:8]) {
			return nil
		}
	}
}
