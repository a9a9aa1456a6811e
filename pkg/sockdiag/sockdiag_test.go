package sockdiag

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

// found are the sockets of a query, by where they are bound.
func found(t *testing.T, q Query) map[netip.AddrPort]Socket {
	t.Helper()
	out := map[netip.AddrPort]Socket{}
	if err := Each(q, func(s Socket) { out[s.Local()] = s }); err != nil {
		t.Fatal(err)
	}
	return out
}

func listen(t *testing.T, network, address string) (net.Listener, netip.AddrPort) {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	at := l.Addr().(*net.TCPAddr).AddrPort()
	return l, at
}

func TestListenersAreFound(t *testing.T) {
	_, four := listen(t, "tcp4", "127.0.54.1:0")
	_, six := listen(t, "tcp6", "[::]:0") // Go sets IPV6_V6ONLY
	_, both := listen(t, "tcp", "[::]:0")
	in4 := found(t, Query{Family: vip.IPv4, States: Listening})
	in6 := found(t, Query{Family: vip.IPv6, States: Listening})
	if _, ok := in4[four]; !ok {
		t.Errorf("%s is not among %v", four, in4)
	}
	if s, ok := in6[six]; !ok || !s.V6Only() {
		t.Errorf("%s: found %t", six, ok)
	}
	if s, ok := in6[both]; !ok || s.V6Only() {
		t.Errorf("%s: found %t", both, ok)
	}
	if in6[six].Cookie() == in6[both].Cookie() {
		t.Error("two have one cookie")
	}
	if in4[four].Inode() == 0 || in6[six].Inode() == in6[both].Inode() {
		t.Errorf("inodes %d, %d, %d", in4[four].Inode(), in6[six].Inode(), in6[both].Inode())
	}
	if got := found(t, Query{Family: vip.IPv4, States: Established}); len(got) > 0 && got[four].message != nil {
		t.Error("one that listens is found among the connections")
	}
}

func TestTheKernelSortsOutAddresses(t *testing.T) {
	var wanted []netip.Addr
	for _, address := range []string{"127.0.54.2:0", "127.0.54.3:0", "127.0.54.4:0"} {
		l, at := listen(t, "tcp4", address)
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		wanted = append(wanted, at.Addr())
	}
	left := wanted[0]
	wanted = wanted[1:]
	begin := time.Now()
	for at, s := range found(t, Query{Family: vip.IPv4, States: Established, Idle: true, Locals: wanted}) {
		switch at.Addr() {
		case left:
			t.Errorf("%s was not asked for", at)
		case wanted[0], wanted[1]:
			if s.Idle() > time.Since(begin)+5*time.Second {
				t.Errorf("%s is idle for %s", at, s.Idle())
			}
			wanted = append(wanted, at.Addr())
		}
	}
	if len(wanted) != 4 {
		t.Errorf("found %v", wanted[2:])
	}
}

// Whatever a message says of its own size, and of its attributes', nothing is read
// beyond it.
func FuzzSockets(f *testing.F) {
	whole := make([]byte, headerSize+messageSize+8)
	binary.NativeEndian.PutUint32(whole, uint32(len(whole)))
	binary.NativeEndian.PutUint16(whole[headerSize+messageSize:], 5)
	binary.NativeEndian.PutUint16(whole[headerSize+messageSize+2:], attributeOnly)
	whole[headerSize+messageSize+4] = 1
	f.Add(whole)
	f.Add(append(whole, whole...))
	f.Add(whole[:headerSize])
	f.Fuzz(func(t *testing.T, read []byte) {
		n := 0
		for s := range Sockets(read) {
			n++
			_, _, _, _ = s.Local(), s.Cookie(), s.V6Only(), s.Idle()
		}
		if n > len(read)/(headerSize+messageSize) {
			t.Errorf("%d in %d bytes", n, len(read))
		}
	})
}

func TestMessagesAreReadOneByOne(t *testing.T) {
	one := make([]byte, headerSize+messageSize+8)
	binary.NativeEndian.PutUint32(one, uint32(len(one)))
	one[headerSize+cookieAt] = 7
	n := 0
	for s := range Sockets(append(one, one...)) {
		if n++; s.Cookie() == 0 {
			t.Error("no cookie")
		}
	}
	if n != 2 {
		t.Errorf("%d of 2", n)
	}
}
