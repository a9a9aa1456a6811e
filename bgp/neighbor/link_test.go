package neighbor

import (
	"bytes"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

var (
	theirMAC = net.HardwareAddr{2, 0, 0, 0, 0, 0x0a}
	allMAC   = net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}
)

// theirs is an advertisement of fe80::a, as a frame.
func theirs() frame {
	return frame{dstMAC: allMAC, srcMAC: theirMAC, src: fe80a.WithZone(""), dst: allNodes, hopLimit: 255, icmp: valid}
}

func TestWhatIsOnTheWire(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	f := newFar(t)
	f.up()
	f.open()
	own := linkLocal(t)
	r := startEngine(t)
	r.want(true)
	for name, test := range map[string]struct {
		icmpType byte
		to       netip.Addr
		mac      net.HardwareAddr
		body     []byte // behind the checksum, before the option
	}{
		"router advertisement": {134, allNodes, allMAC, make([]byte, 12)},
		"router solicitation":  {133, allRouters, net.HardwareAddr{0x33, 0x33, 0, 0, 0, 2}, make([]byte, 4)},
	} {
		got := f.arrival(test.icmpType, 10*time.Second)
		if got.hopLimit != 255 || got.src != own || got.dst != test.to {
			t.Errorf("%s: hop limit %d, from %s to %s", name, got.hopLimit, got.src, got.dst)
		}
		if !bytes.Equal(got.srcMAC, ourMAC(t)) || !bytes.Equal(got.dstMAC, test.mac) {
			t.Errorf("%s: from %s to %s", name, got.srcMAC, got.dstMAC)
		}
		if sum := got.sum(got.icmp); sum != 0xffff {
			t.Errorf("%s: wrong checksum, sum %x", name, sum)
		}
		want := append(append(append([]byte{}, test.body...), 1, 1), ourMAC(t)...)
		if got.icmp[1] != 0 || !bytes.Equal(got.icmp[4:], want) {
			t.Errorf("%s: %x", name, got.icmp)
		}
	}
}

// linkLocal waits until eth1 has a link-local address that can be used, and
// returns it.
func linkLocal(t *testing.T) (own netip.Addr) {
	t.Helper()
	eventually(t, 10*time.Second, "a link-local address", func() bool {
		fields := strings.Fields(run(t, "ip", "-6", "-o", "addr", "show", "dev", "eth1", "scope", "link", "-tentative"))
		if len(fields) < 4 {
			return false
		}
		own = netip.MustParsePrefix(fields[3]).Addr()
		return true
	})
	return own
}

func TestASolicitationIsAnswered(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	f := newFar(t)
	f.up()
	f.open()
	r := startEngine(t)
	r.want(true)
	for range 3 {
		f.arrival(134, 10*time.Second)
	}
	for range 2 {
		asked := time.Now()
		f.send(frame{dstMAC: net.HardwareAddr{0x33, 0x33, 0, 0, 0, 2}, srcMAC: theirMAC, src: fe80a.WithZone(""), dst: allRouters, hopLimit: 255,
			icmp: []byte{133, 0, 0, 0, 0, 0, 0, 0}})
		f.arrival(134, 10*time.Second)
		if after := time.Since(asked); after > 4*time.Second {
			t.Errorf("answered after %s", after)
		}
	}
}

func TestALinkFromItsBeginningToItsEnd(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	f := newFar(t)
	r := startEngine(t)
	r.want(true)
	eventually(t, 5*time.Second, "that there is no usable address yet", func() bool { return strings.Contains(r.neighbor().Detail, "link-local address") })
	t.Log(r.neighbor().Detail)
	f.up()
	f.open()
	f.arrival(134, 10*time.Second) // after duplicate address detection, without being told
	f.send(theirs())
	eventually(t, 5*time.Second, "the neighbour", func() bool { return r.neighbor().Address == fe80a })

	r.want(false)
	eventually(t, 5*time.Second, "that it is forgotten", func() bool { return !r.neighbor().Address.IsValid() })

	run(t, "ip", "link", "del", "eth1")
	f.makeLink() // another index, the same name: package net still knows the old one
	f.up()
	f.open()
	r.want(true)
	f.arrival(134, 10*time.Second)
	f.send(theirs())
	eventually(t, 5*time.Second, "the neighbour on the new link", func() bool { return r.neighbor().Address == fe80a })

	run(t, "ip", "link", "del", "eth1") // before we are told
	eventually(t, 20*time.Second, "that the link is missed", func() bool { return strings.Contains(r.neighbor().Detail, "look for link eth1") })
	t.Log(r.neighbor().Detail)
}

func TestIPv6DisabledAndEnabled(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	f := newFar(t)
	f.up()
	sysctl(t, "eth1/disable_ipv6", "1")
	r := startEngine(t)
	r.want(true)
	eventually(t, 5*time.Second, "that IPv6 is missing", func() bool {
		return strings.Contains(r.neighbor().Detail, "eth1 has no IPv6 link-local address: enable IPv6 there")
	})
	sysctl(t, "eth1/disable_ipv6", "0")
	eventually(t, 10*time.Second, "that nothing is heard", func() bool { return strings.Contains(r.neighbor().Detail, "no router advertisement heard on eth1") })
	sysctl(t, "eth1/disable_ipv6", "1")
	eventually(t, 20*time.Second, "that IPv6 is missing again", func() bool { return strings.Contains(r.neighbor().Detail, "has no IPv6 link-local") })
}

func TestWithoutThePrivilege(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	if os.Getenv(envWeak) != "" {
		r := startEngine(t)
		r.want(true)
		eventually(t, 5*time.Second, "what is missing", func() bool { return strings.Contains(r.neighbor().Detail, "give the agent the capability CAP_NET_RAW") })
		return
	}
	f := newFar(t)
	f.up()
	linkLocal(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(envWeak, "1")
	t.Log(run(t, "setpriv", "--inh-caps=-net_raw", "--bounding-set=-net_raw", self, "-test.run=^"+t.Name()+"$", "-test.v"))
}

// A firewall that lets nothing out does not keep us from hearing.
func TestBehindAFirewall(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	if _, err := exec.LookPath("nft"); err != nil {
		skip(t, err.Error())
	}
	f := newFar(t)
	f.up()
	f.open()
	linkLocal(t)
	run(t, "nft", "add table ip6 t; add chain ip6 t out { type filter hook output priority 0; }; add rule ip6 t out icmpv6 type nd-router-advert drop")
	r := startEngine(t)
	r.want(true)
	eventually(t, 5*time.Second, "the firewall", func() bool { return strings.Contains(r.neighbor().Detail, "a firewall of this host forbids it") })
	f.send(theirs())
	eventually(t, 5*time.Second, "the neighbour", func() bool { return r.neighbor().Address == fe80a })
}

// envWeak is set in a process that has no CAP_NET_RAW.
const envWeak = "ANYVIP_NEIGHBOR_TEST_WEAK"

// Random packets on the wire do not hurt, and none of them makes a neighbour.
func TestGarbageOnTheWire(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	f := newFar(t)
	f.up()
	f.open()
	r := startEngine(t)
	r.want(true)
	f.arrival(134, 10*time.Second)
	random := rand.New(rand.NewPCG(3, 4))
	for range 3000 {
		g := theirs()
		g.src = fe80b.WithZone("")
		g.icmp = garbage(random)
		f.send(g)
	}
	eventually(t, 10*time.Second, "the neighbour", func() bool {
		f.send(theirs()) // a socket that is still full of garbage drops it
		return r.neighbor().Address.IsValid()
	})
	if n := r.neighbor(); n.Address != fe80a || n.Detail != "" {
		t.Errorf("%+v", n)
	}
}

// garbage is a packet of a type that we listen for, with something wrong in it.
func garbage(random *rand.Rand) []byte {
	b := append([]byte{}, valid...)
	switch random.IntN(4) {
	case 0: // options that end in the middle
		b = append(b, 3, byte(2+random.IntN(250)))
		for range random.IntN(14) {
			b = append(b, byte(random.Uint32()))
		}
	case 1: // cut off
		b = b[:1+random.IntN(15)]
	case 2: // a length of zero
		b = append(b, byte(random.Uint32()), 0, 1, 2, 3, 4, 5, 6)
	case 3: // noise behind the type, with a code that is none
		for i := 1; i < len(b); i++ {
			b[i] = byte(1 + random.IntN(255))
		}
	}
	return b
}
