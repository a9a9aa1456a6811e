package lease

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var linkLocal = netip.MustParseAddr("fe80::5:100")

// virtualOn are leases with a MAC of their own on eth1, held.
func virtualOn(t testing.TB, interval time.Duration, ips ...netip.Addr) []Lease {
	t.Helper()
	l := leasesOn(t, "eth1", interval, ips...)
	for i := range l {
		l[i] = virtual(l[i])
	}
	return l
}

// macvlanOf is the name of the macvlan that a lease is on.
func macvlanOf(l Lease) string { return l.macvlan().name() }

// quietARP lets eth1 speak ARP for its own addresses alone.
func quietARP(t testing.TB) {
	t.Helper()
	run(t, "sysctl", "-qw", "net.ipv4.conf.eth1.arp_ignore=1", "net.ipv4.conf.eth1.arp_announce=2")
}

// ipLink is one link as iproute2, and not our own code, sees it.
type ipLink struct {
	Ifindex  int      `json:"ifindex"`
	Ifname   string   `json:"ifname"`
	Link     string   `json:"link"`
	Flags    []string `json:"flags"`
	MTU      int      `json:"mtu"`
	Address  string   `json:"address"`
	Alias    string   `json:"ifalias"`
	GenMode  string   `json:"inet6_addr_gen_mode"`
	Linkinfo struct {
		Kind string `json:"info_kind"`
		Data struct {
			Mode string `json:"mode"`
		} `json:"info_data"`
	} `json:"linkinfo"`
}

func (l ipLink) up() bool { return slices.Contains(l.Flags, "UP") }

// macvlans are those of this namespace, by name.
func macvlans(t testing.TB) map[string]ipLink {
	t.Helper()
	var list []ipLink
	if err := json.Unmarshal([]byte(ip(t, "-j -d link show")), &list); err != nil {
		t.Fatal(err)
	}
	out := map[string]ipLink{}
	for _, l := range list {
		if l.Linkinfo.Kind == "macvlan" {
			out[l.Ifname] = l
		}
	}
	return out
}

func sysctlOf(t testing.TB, path string) string {
	t.Helper()
	raw, err := os.ReadFile("/proc/sys/net/" + path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(raw))
}

// ear hears which frames come from a virtual router's MAC, at the other end of eth1.
type ear struct {
	mu    sync.Mutex
	heard []string
}

func startEar(t *testing.T) *ear {
	t.Helper()
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	wait := unix.NsecToTimeval(int64(20 * time.Millisecond))
	all := uint16(unix.ETH_P_ALL)
	for _, err := range []error{
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait),
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all<<8 | all>>8, Ifindex: indexOf(t, "peer1")}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	e := &ear{}
	done := make(chan struct{})
	var hearing sync.WaitGroup
	hearing.Go(func() {
		b := make([]byte, 2048)
		for {
			select {
			case <-done:
				_ = unix.Close(fd)
				return
			default:
			}
			if n, _, err := unix.Recvfrom(fd, b, 0); err == nil && n >= 14 && [4]byte(b[6:10]) == [4]byte(mac4[:4]) {
				e.mu.Lock()
				e.heard = append(e.heard, fmt.Sprintf("%x", b[:n]))
				e.mu.Unlock()
			}
		}
	})
	t.Cleanup(func() { close(done); hearing.Wait() })
	return e
}

// took returns what was heard since the last call.
func (e *ear) took() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := e.heard
	e.heard = nil
	return list
}
