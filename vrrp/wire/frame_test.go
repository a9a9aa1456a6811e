package wire

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/anyvip/anyvip/vrrp"
)

// golden are frames that keepalived 2.2.7, FRR 8.4.4 and ucarp sent.
func golden(t testing.TB) map[string][]byte {
	t.Helper()
	text, err := os.ReadFile("../testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]string
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	frames := map[string][]byte{}
	for name, text := range all {
		if frames[name], err = hex.DecodeString(text); err != nil {
			t.Fatal(err)
		}
	}
	return frames
}

// strip is how a packet socket gives a frame.
func strip(frame []byte) ([]byte, *unix.SockaddrLinklayer) {
	from := &unix.SockaddrLinklayer{Halen: 6, Protocol: uint16(frame[13])<<8 | uint16(frame[12])}
	copy(from.Addr[:], frame[6:12])
	return frame[14:], from
}

func TestGoldenFramesAreTakenApart(t *testing.T) {
	n := map[string]int{}
	for name, frame := range golden(t) {
		capture, kind, _ := strings.Cut(name, "/")
		a, ok := parse(strip(frame))
		if !ok {
			t.Errorf("%s is not taken", name)
			continue
		}
		switch kind {
		case "garp":
			n[kind]++
			if a.Claim != netip.MustParseAddr("10.77.0.200") || !bytes.Equal(a.MAC[:], frame[6:12]) {
				t.Errorf("%s: %+v", name, a)
			}
		case "unsolicited-na":
			n[kind]++
			if want := []string{"fe80::5:1", "fd77::200"}; a.Claim.String() != want[0] && a.Claim.String() != want[1] || !bytes.Equal(a.MAC[:], frame[6:12]) {
				t.Errorf("%s: %+v", name, a)
			}
		default:
			n["advert"]++
			var ad vrrp.Advertisement
			drop := ad.Parse(a.Packet, a.Src, a.Dst)
			if want := capture == "ucarp"; (drop == vrrp.DropCARP) != want || !want && drop != vrrp.Accepted || ad.VRID != 51 {
				t.Errorf("%s: %s", name, drop)
			}
			if want := uint8(255); a.HopLimit != want && capture != "ka-v3-ipv6-unicast" {
				t.Errorf("%s: hop limit %d", name, a.HopLimit)
			}
		}
	}
	if n["garp"] != 13 || n["unsolicited-na"] != 4 || n["advert"] != 64 {
		t.Errorf("%v", n)
	}
}

// What we announce is what keepalived announces, byte by byte.
func TestAnnouncementsAreThoseOfKeepalived(t *testing.T) {
	frames := golden(t)
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	na := frames["ka-v3-ipv6/unsolicited-na"]
	target := netip.AddrFrom16([16]byte(na[14+40+8:]))
	got, err := unsolicitedNA(target, net.HardwareAddr(na[6:12]), false)
	if err != nil || !bytes.Equal(got, na[14:]) {
		t.Errorf("%v\ngot  %x\nwant %x", err, got, na[14:])
	}
	garp := frames["frr-v3-1000ms/garp"]
	if got, err = arpAnnouncement(netip.MustParseAddr("10.77.0.200"), net.HardwareAddr(garp[6:12])); err != nil || !bytes.Equal(got, garp[14:]) {
		t.Errorf("%v\ngot  %x\nwant %x", err, got, garp[14:])
	}
	if got, err = unsolicitedNA(target, mac, true); err != nil || got[44] != 0xa0 {
		t.Errorf("flags %x, %v: want R and O", got[44], err)
	}
}

// Probes are from nobody.
func TestProbes(t *testing.T) {
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	got, err := arpProbe(netip.MustParseAddr("10.77.0.200"), mac)
	want, _ := hex.DecodeString("0001" + "0800" + "06" + "04" + "0001" + // Ethernet, IPv4, request
		"020000000001" + "00000000" + "000000000000" + "0a4d00c8") // sender, nobody; target
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%v\ngot  %x\nwant %x", err, got, want)
	}
	got, to, err := neighborSolicitation(netip.MustParseAddr("fd77::12:3456"))
	want, _ = hex.DecodeString("60000000" + "0018" + "3a" + "ff" + // version, payload length, ICMPv6, hop limit
		"00000000000000000000000000000000" + "ff0200000000000000000001ff123456" + // from nobody to the solicited-node group
		"87" + "00" + "1460" + "00000000" + "fd770000000000000000000000123456") // neighbor solicitation, checksum, target
	if err != nil || !bytes.Equal(got, want) || to.String() != "33:33:ff:12:34:56" {
		t.Errorf("%v, to %s\ngot  %x\nwant %x", err, to, got, want)
	}
	if _, ok := parse(got, &unix.SockaddrLinklayer{Halen: 6, Protocol: bigEndian(unix.ETH_P_IPV6)}); ok {
		t.Error("a probe claims something")
	}
}

func TestBrokenFramesAreNotTaken(t *testing.T) {
	frames := golden(t)
	edit := func(name string, change func(b []byte) []byte) []byte { return change(bytes.Clone(frames[name])) }
	set := func(i int, v byte) func([]byte) []byte { return func(b []byte) []byte { b[i] = v; return b } }
	cut := func(n int) func([]byte) []byte { return func(b []byte) []byte { return b[:n] } }
	for name, frame := range map[string][]byte{
		"a fragment":                         edit("ka-v3-ipv4/advert-s1", set(14+6, 0x20)),
		"a later fragment":                   edit("ka-v3-ipv4/advert-s1", set(14+7, 1)),
		"a cut header":                       edit("ka-v3-ipv4/advert-s1", cut(14+19)),
		"a header that is no header":         edit("ka-v3-ipv4/advert-s1", set(14, 0x44)),
		"a header longer than the packet":    edit("ka-v3-ipv4/advert-s1", set(14, 0x4f)),
		"less than it says":                  edit("ka-v3-ipv4/advert-s1", cut(14+30)),
		"IPv6 in an IPv4 frame":              edit("ka-v3-ipv4/advert-s1", set(14, 0x65)),
		"another protocol":                   edit("ka-v3-ipv4/advert-s1", set(14+9, 17)),
		"a cut IPv6 header":                  edit("ka-v3-ipv6/advert-s1", cut(14+39)),
		"less IPv6 than it says":             edit("ka-v3-ipv6/advert-s1", cut(14+60)),
		"another next header":                edit("ka-v3-ipv6/advert-s1", set(14+6, 0)),
		"an advertisement through a router":  edit("ka-v3-ipv6/unsolicited-na", set(14+7, 254)),
		"a neighbor solicitation":            edit("ka-v3-ipv6/unsolicited-na", set(14+40, 135)),
		"a neighbor advertisement cut short": edit("ka-v3-ipv6/unsolicited-na", set(14+5, 23)),
		"an ARP probe":                       edit("ka-v2-auth/garp", func(b []byte) []byte { copy(b[14+14:], make([]byte, 4)); return b }),
		"a cut ARP packet":                   edit("ka-v2-auth/garp", cut(14+27)),
		"ARP of another kind of link":        edit("ka-v2-auth/garp", set(14+1, 6)),
		"a frame of another protocol":        edit("ka-v2-auth/garp", set(13, 7)),
		"an empty frame":                     edit("ka-v2-auth/garp", cut(14)),
		"an empty IPv4 frame":                edit("ka-v3-ipv4/advert-s1", cut(14)),
		"an empty IPv6 frame":                edit("ka-v3-ipv6/advert-s1", cut(14)),
	} {
		if a, ok := parse(strip(frame)); ok {
			t.Errorf("%s: %+v", name, a)
		}
	}
	if _, ok := parse(make([]byte, 28), &unix.SockaddrLinklayer{}); ok {
		t.Error("a frame without a MAC")
	}
}

func FuzzParse(f *testing.F) {
	for _, frame := range golden(f) {
		f.Add(frame)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		if len(frame) < 14 {
			return
		}
		b, from := strip(frame)
		if a, ok := parse(b, from); ok && a.Claim.IsValid() == (a.Packet != nil) {
			t.Errorf("both or neither: %+v", a)
		}
	})
}
