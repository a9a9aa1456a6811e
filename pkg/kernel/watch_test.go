package kernel

import (
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// nobodys knows no address of others.
func nobodys(netip.Addr, int) bool { return false }

const eth1 = 5

// message is what the kernel says of an address on eth1.
func message(ip netip.Addr) []byte {
	family := unix.AF_INET
	if ip.Is6() {
		family = unix.AF_INET6
	}
	header := nl.NewIfAddrmsg(family)
	header.Index = eth1
	data := header.Serialize()
	if ip.Is4() {
		data = append(data, nl.NewRtAttr(unix.IFA_LOCAL, ip.AsSlice()).Serialize()...)
	}
	return append(data, nl.NewRtAttr(unix.IFA_ADDRESS, ip.AsSlice()).Serialize()...)
}

func TestAnAddressOfOthersIsNoHint(t *testing.T) {
	leased4, leased6 := netip.MustParseAddr("10.0.5.100"), netip.MustParseAddr("2001:db8:5::100")
	other := netip.MustParseAddr("10.0.5.1")
	w := &watch{others: func(ip netip.Addr, link int) bool { return link == eth1 && (ip == leased4 || ip == leased6) }}
	for name, test := range map[string]struct {
		kind uint16
		data []byte
		want bool
	}{
		"added":                 {unix.RTM_NEWADDR, message(leased4), true},
		"removed":               {unix.RTM_DELADDR, message(leased4), true},
		"of IPv6":               {unix.RTM_NEWADDR, message(leased6), true},
		"another":               {unix.RTM_NEWADDR, message(other), false},
		"a link":                {unix.RTM_NEWLINK, message(leased4), false},
		"cut off":               {unix.RTM_NEWADDR, message(leased4)[:3], false},
		"cut off in the middle": {unix.RTM_NEWADDR, message(leased4)[:12], false},
		"without an address":    {unix.RTM_NEWADDR, nl.NewIfAddrmsg(unix.AF_INET).Serialize(), false},
	} {
		if got := w.isOthers(test.kind, test.data); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// What is leased and wanted besides, as with a fallback, is ours on lo: it may go there.
func TestWhoseAnAddressIs(t *testing.T) {
	const lo = 1
	e := New(Options{})
	e.want(wish{addresses: map[netip.Addr]bool{v6: true}, leased: map[netip.Addr]string{v4: "eth1", v6: "eth1"}})
	if e.isOthers(v4, eth1) {
		t.Error("before this host was looked at")
	}
	e.scene = scene{{name: "lo", index: lo}, {name: "eth1", index: eth1}}
	e.tellOthers()
	for _, ip := range []netip.Addr{v4, v6} {
		if !e.isOthers(ip, eth1) || e.isOthers(ip, lo) {
			t.Errorf("%s: on eth1 %t, on lo %t", ip, e.isOthers(ip, eth1), e.isOthers(ip, lo))
		}
	}
	if e.isOthers(netip.MustParseAddr("10.0.5.1"), eth1) {
		t.Error("one that is not leased")
	}
}
