package gobgp

import (
	"context"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/anyvip/anyvip/bgp"
)

func TestADiagnosisGoesAsFarAsTheSessionWould(t *testing.T) {
	needNamespaces(t)
	run(t, "ip", "link", "set", "lo", "up")
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	to := netip.MustParseAddrPort(l.Addr().String())
	for _, tt := range []struct {
		name     string
		asn      uint32
		multihop uint8
		want     int
	}{
		{"eBGP", 65000, 0, 1},
		{"eBGP over hops", 65000, 3, 3},
		{"iBGP", 65101, 0, 64},
	} {
		h := handshake{asn: 65101, peer: bgp.Peer{Address: to.Addr(), Port: to.Port(), ASN: tt.asn, Multihop: tt.multihop}}
		c, err := h.dial(context.Background())
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		raw, err := c.(syscall.Conn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var ttl int
		_ = raw.Control(func(fd uintptr) { ttl, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TTL) })
		if err != nil || ttl != tt.want {
			t.Errorf("%s: TTL %d, %v", tt.name, ttl, err)
		}
		_ = c.Close()
	}
}
