package wire

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/anyvip/anyvip/lab/labtest"
	"github.com/anyvip/anyvip/lab/watch/nstest"
	"github.com/anyvip/anyvip/pkg/vip"
	"github.com/anyvip/anyvip/vrrp"
)

// pair are two hosts on one link: s1 runs us, s2 the peer.
type pair struct {
	t      *testing.T
	s1, s2 *nstest.Host
}

func newPair(t *testing.T) pair {
	t.Helper()
	p := pair{t, nstest.NewHost(t, "s1"), nstest.NewHost(t, "s2")}
	nstest.Join(p.s1, "10.77.0.1/24 fe80::1/64 fd77::1/64", p.s2, "10.77.0.2/24 fe80::2/64 fd77::2/64")
	return p
}

// flavour is a way to speak VRRP.
type flavour struct {
	name     string
	version  uint8
	six      bool
	unicast  bool
	virtual  bool // MAC
	password string
}

var flavours = []flavour{
	{name: "version 2", version: 2},
	{name: "version 2 with a password", version: 2, password: "s3cret"},
	{name: "version 2 unicast", version: 2, unicast: true},
	{name: "version 3 IPv4", version: 3},
	{name: "version 3 IPv4 unicast", version: 3, unicast: true},
	{name: "version 3 IPv6", version: 3, six: true},
	{name: "version 3 IPv6 unicast", version: 3, six: true, unicast: true},
	{name: "version 2 with the virtual MAC", version: 2, virtual: true},
	{name: "version 3 IPv4 with the virtual MAC", version: 3, virtual: true},
	{name: "version 3 IPv6 with the virtual MAC", version: 3, six: true, virtual: true},
}

func (f flavour) vips() []netip.Addr {
	if f.six {
		return []netip.Addr{netip.MustParseAddr("fe80::5:1"), netip.MustParseAddr("fd77::200")}
	}
	return []netip.Addr{netip.MustParseAddr("10.77.0.200")}
}

// end is the address of a host in this flavour.
func (f flavour) end(n int) string {
	switch {
	case f.six && f.unicast:
		return fmt.Sprintf("fd77::%d", n)
	case f.six:
		return fmt.Sprintf("fe80::%d", n)
	}
	return fmt.Sprintf("10.77.0.%d", n)
}

// ours is our router in this flavour.
func (f flavour) ours(priority uint8) setup {
	s := setup{Link: "s2", Source: netip.MustParseAddr(f.end(1)), VRID: 51, Version: f.version, Priority: priority, IntervalMS: 1000,
		Addresses: f.vips(), Password: f.password, VirtualMAC: f.virtual}
	if f.unicast {
		s.Peers = []netip.Addr{netip.MustParseAddr(f.end(2))}
	}
	return s
}

// keepalived starts one on s2.
func (p pair) keepalived(f flavour, priority int) *exec.Cmd {
	p.t.Helper()
	var c strings.Builder
	fmt.Fprintf(&c, "vrrp_instance test {\n state BACKUP\n interface s1\n virtual_router_id 51\n priority %d\n advert_int 1\n version %d\n", priority, f.version)
	if f.virtual {
		fmt.Fprint(&c, " use_vmac\n")
	}
	if f.unicast {
		fmt.Fprintf(&c, " unicast_src_ip %s\n unicast_peer {\n %s\n }\n", f.end(2), f.end(1))
	}
	if f.password != "" {
		fmt.Fprintf(&c, " authentication {\n auth_type PASS\n auth_pass %s\n }\n", f.password)
	}
	fmt.Fprint(&c, " virtual_ipaddress {\n")
	for _, a := range f.vips() {
		fmt.Fprintf(&c, " %s\n", a)
	}
	fmt.Fprint(&c, " }\n}\n")
	dir := p.t.TempDir()
	conf := filepath.Join(dir, "keepalived.conf")
	if err := os.WriteFile(conf, []byte(c.String()), 0o644); err != nil {
		p.t.Fatal(err)
	}
	return p.s2.Start(p.s2.Command("keepalived", "-n", "-l", "-G", "-D", "-f", conf,
		"-p", filepath.Join(dir, "p"), "-r", filepath.Join(dir, "r"), "-c", filepath.Join(dir, "c"), "-b", filepath.Join(dir, "b")))
}

// killDead ends keepalived as a crash does: its child, which speaks VRRP, first, or it
// would say goodbye when its parent goes.
func (p pair) killDead(k *exec.Cmd) {
	p.t.Helper()
	children := strings.Fields(p.s2.Run("pgrep", "-P", strconv.Itoa(k.Process.Pid)))
	if err := k.Process.Signal(syscall.SIGSTOP); err != nil {
		p.t.Fatal(err)
	}
	p.s2.Run(append([]string{"kill", "-9"}, children...)...)
	if err := k.Process.Kill(); err != nil {
		p.t.Fatal(err)
	}
}

// has says whether a host has all addresses.
func has(h *nstest.Host, list []netip.Addr) bool {
	out := h.Run("ip", "-o", "addr", "show")
	for _, a := range list {
		if !strings.Contains(out, " "+a.String()+"/") {
			return false
		}
	}
	return true
}

func (p pair) eventually(what string, check func() bool) {
	p.t.Helper()
	nstest.Eventually(p.t, func() string {
		if check() {
			return ""
		}
		return what
	})
}

func state(want vip.RouterState) func(map[string]any) bool {
	return func(r map[string]any) bool { return r["State"] == float64(want) }
}

// TestKeepalivedIsAPeer: we take over from keepalived and hand over to it, in every
// flavour, and neither finds fault with the other.
func TestKeepalivedIsAPeer(t *testing.T) {
	labtest.Need(t, "root", "ip", "keepalived")
	for _, f := range flavours {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			k := p.keepalived(f, 100)
			p.eventually("keepalived alone is Active", func() bool { return has(p.s2, f.vips()) })

			n := startNode(t, p.s1, f.ours(150))
			r := n.reports("we preempt keepalived", state(vip.RouterActive))
			if r["Cause"] != float64(vip.RouterPreempts) || r["By"] != f.end(2) {
				t.Errorf("%v", r)
			}
			p.eventually("keepalived yields", func() bool { return has(p.s1, f.vips()) && !has(p.s2, f.vips()) })

			n.tell("out")
			n.reports("we leave", state(vip.RouterInitialize))
			p.eventually("keepalived takes over", func() bool { return !has(p.s1, f.vips()) && has(p.s2, f.vips()) })

			n.tell("priority 50")
			n.tell("in")
			n.reports("we are Backup", func(r map[string]any) bool { return state(vip.RouterBackup)(r) && r["Others"] != nil })
			p.killDead(k)
			r = n.reports("keepalived is dead", state(vip.RouterActive))
			if r["Cause"] != float64(vip.RouterNothingHeard) {
				t.Errorf("%v", r)
			}
			for _, o := range r["Others"].([]any) {
				if o := o.(map[string]any); o["Trouble"] != float64(0) {
					t.Errorf("keepalived is at odds with us: %v", o)
				}
			}
		})
	}
}

// TestOurFramesAreKeepalivedsFieldByField compares what both put on the wire in the
// same configuration: all but the identification, which counts, and what follows from
// who sends.
func TestOurFramesAreKeepalivedsFieldByField(t *testing.T) {
	labtest.Need(t, "root", "ip", "keepalived")
	for _, f := range flavours {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			sniffed := follow(t, p.s2, asRole(t, p.s2, sniffRole, "s1"))
			sniffed.next("ready", func(line string) bool { return line == "ready" })
			k := p.keepalived(f, 100)
			theirs := nextAdvert(sniffed, f.end(2))
			if err := k.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			startNode(t, p.s1, f.ours(100))
			ours := nextAdvert(sniffed, f.end(1))
			if f.virtual { // from the second on
				ours = nextAdvert(sniffed, f.end(1))
			}
			for _, frame := range [][]byte{theirs, ours} {
				blank(f, frame)
			}
			if string(ours) != string(theirs) {
				t.Errorf("\nours   %x\ntheirs %x", ours, theirs)
			}
		})
	}
}

// nextAdvert is the next advertisement from an address.
func nextAdvert(l lines, from string) (frame []byte) {
	l.t.Helper()
	l.next("an advertisement from "+from, func(line string) bool {
		var err error
		if frame, err = hex.DecodeString(line); err != nil {
			return false
		}
		a, ok := parse(strip(frame))
		return ok && a.Src.String() == from && a.Packet != nil
	})
	return frame
}

// blank blanks what differs between two senders: MACs that are their own, source, checksums, IPv4
// identification, IPv6 flow label; and the hop limit of IPv6 unicast, which keepalived
// leaves at 64 and RFC 9568 wants to be 255.
func blank(f flavour, b []byte) {
	zero := func(from, to int) { clear(b[14+from : 14+to]) }
	if !f.virtual {
		clear(b[6:12])
	}
	if f.unicast {
		clear(b[0:6])
	}
	if f.six {
		b[14+1] &= 0xf0
		zero(2, 4)
		zero(8, 24)
		if f.unicast {
			zero(24, 40)
			zero(7, 8)
		}
		zero(46, 48)
		return
	}
	zero(4, 6)
	zero(10, 16)
	if f.unicast {
		zero(16, 20)
	}
	zero(26, 28)
}

// TestTheFirewallOfThisHostDoesNotMakeTwoActives: advertisements are read before it.
func TestTheFirewallOfThisHostDoesNotMakeTwoActives(t *testing.T) {
	t.Parallel()
	labtest.Need(t, "root", "ip", "keepalived", "nft")
	p := newPair(t)
	f := flavours[3]
	p.s1.Run("nft", "add table inet f; add chain inet f in { type filter hook input priority 0; policy drop; }")
	p.keepalived(f, 150)
	p.eventually("keepalived is Active", func() bool { return has(p.s2, f.vips()) })
	n := startNode(t, p.s1, f.ours(100))
	n.reports("we hear it", func(r map[string]any) bool { return r["Others"] != nil })
	time.Sleep(5 * time.Second)
	if has(p.s1, f.vips()) {
		t.Error("we took over from one that is alive")
	}
}

func TestAChecksumOfTheOtherKindIsTold(t *testing.T) {
	t.Parallel()
	labtest.Need(t, "root", "ip", "keepalived")
	p := newPair(t)
	f := flavours[3]
	p.keepalived(f, 150)
	s := f.ours(100)
	s.Checksum = vrrp.Plain
	n := startNode(t, p.s1, s)
	n.reports("the other checksum", func(r map[string]any) bool {
		others, _ := r["Others"].([]any)
		return len(others) == 1 && others[0].(map[string]any)["Trouble"] == float64(vip.TroubleChecksum)
	})
}

// TestPacketsOutliveAStall: one that is stopped finds them in its queue, with the time
// at which they came, and does not take over.
func TestPacketsOutliveAStall(t *testing.T) {
	t.Parallel()
	labtest.Need(t, "root", "ip", "keepalived")
	p := newPair(t)
	f := flavours[3]
	p.keepalived(f, 150)
	n := startNode(t, p.s1, f.ours(100))
	n.reports("we hear it", func(r map[string]any) bool { return r["Others"] != nil })
	for range 2 {
		n.signal(syscall.SIGSTOP)
		time.Sleep(5 * time.Second)
		n.signal(syscall.SIGCONT)
		time.Sleep(200 * time.Millisecond)
		if has(p.s1, f.vips()) {
			t.Fatal("we took over after a stall")
		}
	}
}

// TestAJumboLinkHoldsAllAddresses: as many as an advertisement can count, in one packet.
func TestAJumboLinkHoldsAllAddresses(t *testing.T) {
	t.Parallel()
	labtest.Need(t, "root", "ip")
	p := newPair(t)
	p.s1.Run("ip", "link", "set", "s2", "mtu", "9000")
	p.s2.Run("ip", "link", "set", "s1", "mtu", "9000")
	s := flavours[5].ours(150)
	for len(s.Addresses) < 255 {
		s.Addresses = append(s.Addresses, netip.AddrFrom16([16]byte{0: 0xfd, 1: 0x77, 13: 1, 15: byte(len(s.Addresses))}))
	}
	startNode(t, p.s1, s).reports("it is Active", state(vip.RouterActive))
	s.Link, s.Source, s.Priority = "s1", netip.MustParseAddr(flavours[5].end(2)), 100
	r := startNode(t, p.s2, s).reports("it hears the other one", func(r map[string]any) bool { return r["Others"] != nil })
	if o := r["Others"].([]any)[0].(map[string]any); o["Trouble"] != float64(0) {
		t.Errorf("%v", o)
	}
}

// TestAnotherVLANIsAnotherSegment: the kernel shows what is tagged to the link below,
// too. VLAN 0 is a priority alone.
func TestAnotherVLANIsAnotherSegment(t *testing.T) {
	labtest.Need(t, "root", "ip")
	for vlan, want := range map[string]vip.RouterState{"10": vip.RouterActive, "0": vip.RouterBackup} {
		t.Run(vlan, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			p.s2.Start(asRole(t, p.s2, tagRole, "s1", vlan))
			n := startNode(t, p.s1, flavours[3].ours(100))
			if want == vip.RouterBackup {
				n.reports("it hears the other router", func(r map[string]any) bool { return r["Others"] != nil })
				return
			}
			if r := n.reports("it hears nobody", state(want)); r["Cause"] != float64(vip.RouterNothingHeard) || r["Others"] != nil {
				t.Errorf("%v", r)
			}
		})
	}
}

// TestUnicastComesFromTheLinksOwnMAC: only the kernel can resolve a peer. What is
// announced has the virtual MAC all the same.
func TestUnicastComesFromTheLinksOwnMAC(t *testing.T) {
	t.Parallel()
	labtest.Need(t, "root", "ip")
	virtual := []byte{0, 0, 0x5e, 0, 1, 51}
	p := newPair(t)
	sniffed := follow(t, p.s2, asRole(t, p.s2, sniffRole, "s1"))
	sniffed.next("ready", func(line string) bool { return line == "ready" })
	f := flavour{version: 3, unicast: true, virtual: true}
	startNode(t, p.s1, f.ours(100))
	sniffed.next("the announcement", func(line string) bool {
		frame, err := hex.DecodeString(line)
		if err != nil {
			return false
		}
		a, ok := parse(strip(frame))
		return ok && a.Claim == f.vips()[0] && bytes.Equal(frame[6:12], virtual) && bytes.Equal(a.MAC[:], virtual)
	})
	for range 2 {
		if frame := nextAdvert(sniffed, f.end(1)); bytes.Equal(frame[6:12], virtual) {
			t.Errorf("%x", frame)
		}
	}
}
