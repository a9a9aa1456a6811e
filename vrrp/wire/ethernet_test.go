package wire

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
)

// What we send from the virtual MAC is what keepalived with use_vmac and FRR send, byte
// by byte, but for keepalived's flow label and FRR's flag DF, which we do not have.
func TestFramesFromTheVirtualMACAreThoseOfKeepalivedAndFRR(t *testing.T) {
	n := 0
	for name, want := range golden(t) {
		capture, kind, _ := strings.Cut(name, "/")
		if !strings.HasPrefix(capture, "frr-") && !strings.HasSuffix(capture, "-vmac") || !strings.HasPrefix(kind, "advert") && !strings.HasPrefix(kind, "prio0") {
			continue
		}
		n++
		a, ok := parse(strip(want))
		if !ok {
			t.Fatalf("%s is not taken", name)
		}
		want = bytes.Clone(want)
		id := uint16(want[14+4])<<8 | uint16(want[14+5])
		if a.Src.Is6() {
			want[14+1] &= 0xf0
			copy(want[14+2:], []byte{0, 0})
		} else if want[14+6] == 0x40 {
			want[14+6] = 0
			copy(want[14+10:], []byte{0, 0})
			sum := headerChecksum(want[14 : 14+20])
			copy(want[14+10:], []byte{byte(sum >> 8), byte(sum)})
		}
		vrid := a.Packet[1]
		mac := [6]byte{0, 0, 0x5e, 0, 1, vrid}
		if a.Src.Is6() {
			mac[4] = 2
		}
		if got := appendAdvertisement(nil, mac, a.Src, a.Dst, id, a.Packet); !bytes.Equal(got, want) {
			t.Errorf("%s\ngot  %x\nwant %x", name, got, want)
		}
	}
	if n != 18 {
		t.Errorf("%d frames", n)
	}
}

// So is what we announce.
func TestAnnouncementsFromTheVirtualMACAreThoseOfKeepalivedAndFRR(t *testing.T) {
	frames := golden(t)
	for name, addr := range map[string]string{"ka-v2-auth-vmac/garp": "10.77.0.200", "ka-v3-ipv4-vmac/garp": "10.77.0.200", "frr-v3-1000ms/garp": "10.77.0.200",
		"ka-v3-ipv6-vmac/unsolicited-na": ""} {
		want := frames[name]
		if want == nil {
			t.Fatalf("there is no %s", name)
		}
		target, _ := netip.ParseAddr(addr)
		if addr == "" {
			target = netip.AddrFrom16([16]byte(want[14+40+8:]))
		}
		got, err := compose(target, announcement, want[6:12], want[6:12], false)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %v\ngot  %x\nwant %x", name, err, got, want)
		}
	}
}
