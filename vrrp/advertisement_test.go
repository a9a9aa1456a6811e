package vrrp

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var addrs = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func list(s ...string) (l []netip.Addr) {
	for _, a := range s {
		l = append(l, addr(a))
	}
	return l
}

func password(s string) (p [MaxPassword]byte) {
	copy(p[:], s)
	return p
}

// frame is a captured frame of protocol 112, taken apart.
type frame struct {
	src, dst netip.Addr
	hopLimit uint8
	payload  []byte
}

// golden are the frames that keepalived 2.2.7, FRR 8.4.4 and ucarp sent.
func golden(t testing.TB) map[string]frame {
	t.Helper()
	text, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]string
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	frames := map[string]frame{}
	for name, text := range all {
		b, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, "/garp") || strings.HasSuffix(name, "/unsolicited-na") {
			continue
		}
		ip := b[14:]
		switch binary.BigEndian.Uint16(b[12:]) {
		case 0x0800:
			frames[name] = frame{netip.AddrFrom4([4]byte(ip[12:16])), netip.AddrFrom4([4]byte(ip[16:20])), ip[8], ip[20:]}
		case 0x86dd:
			frames[name] = frame{netip.AddrFrom16([16]byte(ip[8:24])), netip.AddrFrom16([16]byte(ip[24:40])), ip[7], ip[40:]}
		default:
			t.Fatalf("%s is of no protocol of ours", name)
		}
	}
	return frames
}

// said is what each capture was made with, as ../shared/wire/VRRP.md tells it: s1
// has priority 150, s2 100, both VRID 51.
var said = map[string]Advertisement{
	"ka-v2-auth":         {Version: 2, Interval: time.Second, Addresses: list("10.77.0.200"), Secured: true, Password: password("s3cret"), Checksum: Plain},
	"ka-v2-auth-long":    {Version: 2, Interval: time.Second, Addresses: list("10.77.0.200"), Secured: true, Password: password("SECUREUN"), Checksum: Plain},
	"ka-v2-auth-vmac":    {Version: 2, Interval: time.Second, Addresses: list("10.77.0.200"), Secured: true, Password: password("s3cret"), Checksum: Plain},
	"ka-v2-noauth":       {Version: 2, Interval: time.Second, Addresses: list("10.77.0.200"), Checksum: Plain},
	"ka-v2-unicast":      {Version: 2, Interval: time.Second, Addresses: list("10.77.0.200"), Secured: true, Password: password("s3cret"), Checksum: Plain},
	"ka-v3-ipv4":         {Version: 3, Interval: time.Second, Addresses: list("10.77.0.200")},
	"ka-v3-ipv4-10ms":    {Version: 3, Interval: 10 * time.Millisecond, Addresses: list("10.77.0.200")},
	"ka-v3-ipv4-2vip":    {Version: 3, Interval: 100 * time.Millisecond, Addresses: list("10.77.0.200", "10.77.0.201")},
	"ka-v3-ipv4-vmac":    {Version: 3, Interval: time.Second, Addresses: list("10.77.0.200")},
	"ka-v3-unicast":      {Version: 3, Interval: time.Second, Addresses: list("10.77.0.200")},
	"ka-v3-ipv6":         {Version: 3, Interval: time.Second, Addresses: list("fe80::5:1", "fd77::200")},
	"ka-v3-ipv6-vmac":    {Version: 3, Interval: time.Second, Addresses: list("fe80::5:1", "fd77::200")},
	"ka-v3-ipv6-nolla":   {Version: 3, Interval: time.Second, Addresses: list("fd77::200")},
	"ka-v3-ipv6-unicast": {Version: 3, Interval: time.Second, Addresses: list("fd77::200")},
	"frr-v3-1000ms":      {Version: 3, Interval: time.Second, Addresses: list("10.77.0.200")},
	"frr-v3-100ms":       {Version: 3, Interval: 100 * time.Millisecond, Addresses: list("10.77.0.200")},
}

func TestGoldenFramesAreReadAndWritten(t *testing.T) {
	n := 0
	for name, f := range golden(t) {
		capture, packet, _ := strings.Cut(name, "/")
		if capture == "ucarp" {
			continue
		}
		n++
		t.Run(name, func(t *testing.T) {
			want, ok := said[capture]
			if !ok {
				t.Fatal("nobody says what this capture was made with")
			}
			want.VRID = 51
			switch {
			case strings.HasPrefix(packet, "prio0"):
				want.Priority = PriorityLeaves
			case strings.HasSuffix(packet, "s1"):
				want.Priority = 150
			default:
				want.Priority = 100
			}
			var got Advertisement
			if drop := got.Parse(f.payload, f.src, f.dst); drop != Accepted {
				t.Fatal(drop)
			}
			if diff := cmp.Diff(want, got, addrs); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if b := want.Append(nil, f.src, f.dst); !bytes.Equal(b, f.payload) {
				t.Errorf("we write\n%x, they\n%x", b, f.payload)
			}
		})
	}
	if n != 62 { // four of each capture; FRR's second router sent no priority 0
		t.Errorf("%d frames, want 62", n)
	}
}

func TestCARPIsRecognised(t *testing.T) {
	for _, name := range []string{"ucarp/carp-s1", "ucarp/carp-s2"} {
		f := golden(t)[name]
		var a Advertisement
		if drop := a.Parse(f.payload, f.src, f.dst); drop != DropCARP || a.VRID != 51 {
			t.Errorf("%s: %s, VHID %d", name, drop, a.VRID)
		}
	}
	// Seven addresses in version 2 are no CARP: the packet is longer.
	a := Advertisement{Version: 2, VRID: 51, Priority: 100, Interval: time.Second}
	for i := range carpAuthLen {
		a.Addresses = append(a.Addresses, netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}))
	}
	var got Advertisement
	if drop := got.Parse(a.Append(nil, addr("10.0.0.1"), Group4), addr("10.0.0.1"), Group4); drop != Accepted {
		t.Error(drop)
	}
}

// valid is a packet of version 3 from 10.77.0.1 to the group.
var valid = []byte{
	0x31,       // version 3, type 1
	51,         // VRID
	150,        // priority
	1,          // addresses
	0x00, 0x64, // 100 centiseconds
	0x42, 0x75, // checksum
	10, 77, 0, 200,
}

// valid2 is one of version 2, with the password "s3cret".
var valid2 = []byte{
	0x21,       // version 2, type 1
	51,         // VRID
	150,        // priority
	1,          // addresses
	1,          // auth type: simple password
	1,          // seconds
	0x00, 0x9b, // checksum
	10, 77, 0, 200,
	's', '3', 'c', 'r', 'e', 't', 0, 0,
}

func TestMalformedPacketsAreDropped(t *testing.T) {
	src, dst := addr("10.77.0.1"), Group4
	src6 := addr("fe80::1")
	// edit changes a packet and makes its checksum right again.
	edit := func(b []byte, change func(b []byte) []byte) []byte {
		b = change(bytes.Clone(b))
		if len(b) >= headerLen {
			b[6], b[7] = 0, 0
			kind := PseudoHeader
			if b[0]>>4 == 2 {
				kind = Plain
			}
			binary.BigEndian.PutUint16(b[6:], checksum(b, kind, src, dst))
		}
		return b
	}
	set := func(i int, v byte) func([]byte) []byte {
		return func(b []byte) []byte { b[i] = v; return b }
	}
	cut := func(n int) func([]byte) []byte { return func(b []byte) []byte { return b[:n] } }
	for name, test := range map[string]struct {
		packet []byte
		src    netip.Addr
		want   Drop
	}{
		"version 3":                       {valid, src, Accepted},
		"version 2":                       {valid2, src, Accepted},
		"reserved bits are ignored":       {edit(valid, set(4, 0xf0)), src, Accepted},
		"more than the list":              {edit(valid, func(b []byte) []byte { return append(b, 1, 2, 3, 4) }), src, Accepted},
		"an odd number of bytes":          {edit(valid, func(b []byte) []byte { return append(b, 9) }), src, Accepted},
		"nothing":                         {nil, src, DropShort},
		"half a header":                   {valid[:7], src, DropShort},
		"half an address":                 {edit(valid, cut(10)), src, DropShort},
		"fewer addresses than said":       {edit(valid, set(3, 2)), src, DropShort},
		"no authentication data":          {edit(valid2, cut(12)), src, DropShort},
		"cut authentication data":         {edit(valid2, cut(19)), src, DropShort},
		"version 1":                       {edit(valid, set(0, 0x11)), src, DropVersion},
		"version 4":                       {edit(valid, set(0, 0x41)), src, DropVersion},
		"version 2 over IPv6":             {valid2, src6, DropVersion},
		"another type":                    {edit(valid, set(0, 0x32)), src, DropType},
		"a wrong checksum":                {set(7, 0x76)(bytes.Clone(valid)), src, DropChecksum},
		"from another address":            {valid, addr("10.77.0.3"), DropChecksum},
		"a wrong checksum in version 2":   {set(7, 0x9c)(bytes.Clone(valid2)), src, DropChecksum},
		"an authentication header's type": {edit(valid2, set(4, 2)), src, DropAuthType},
		"no address":                      {edit(valid, func(b []byte) []byte { b[3] = 0; return b[:8] }), src, DropNoAddress},
		"no interval":                     {edit(valid, set(5, 0)), src, DropInterval},
		"no interval in version 2":        {edit(valid2, set(5, 0)), src, DropInterval},
	} {
		t.Run(name, func(t *testing.T) {
			var a Advertisement
			if got := a.Parse(test.packet, test.src, dst); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

func TestBothChecksumsOverIPv4AreAcceptedAndNamed(t *testing.T) {
	src := addr("10.77.0.1")
	for _, kind := range []Checksum{PseudoHeader, Plain} {
		sent := Advertisement{Version: 3, VRID: 51, Priority: 150, Interval: time.Second, Addresses: list("10.77.0.200"), Checksum: kind}
		var got Advertisement
		if drop := got.Parse(sent.Append(nil, src, Group4), src, Group4); drop != Accepted || got.Checksum != kind {
			t.Errorf("%s: %s, said to be %s", kind, drop, got.Checksum)
		}
	}
	// Over IPv6 there is one only.
	src = addr("fe80::1")
	sent := Advertisement{Version: 3, VRID: 51, Priority: 150, Interval: time.Second, Addresses: list("fe80::5:1"), Checksum: Plain}
	b := sent.Append(nil, src, Group6)
	var got Advertisement
	if drop := got.Parse(b, src, Group6); drop != Accepted || got.Checksum != PseudoHeader {
		t.Errorf("%s, said to be %s", drop, got.Checksum)
	}
	b[6], b[7] = 0, 0
	binary.BigEndian.PutUint16(b[6:], checksum(b, Plain, src, Group6))
	if drop := got.Parse(b, src, Group6); drop != DropChecksum {
		t.Error(drop)
	}
}

func TestWhatDoesNotFitIsCut(t *testing.T) {
	src := addr("10.77.0.1")
	a := Advertisement{Version: 3, VRID: 1, Priority: 1, Interval: time.Hour}
	for i := range 300 {
		a.Addresses = append(a.Addresses, netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}))
	}
	var got Advertisement
	if drop := got.Parse(a.Append(nil, src, Group4), src, Group4); drop != Accepted || got.Interval != 40950*time.Millisecond || len(got.Addresses) != 255 {
		t.Errorf("%s, %s, %d addresses", drop, got.Interval, len(got.Addresses))
	}
}

func TestParsingAndWritingAllocateNothing(t *testing.T) {
	var a Advertisement
	b := make([]byte, 0, 64)
	src := addr("10.77.0.1")
	a.Parse(valid, src, Group4)
	if n := testing.AllocsPerRun(100, func() {
		a.Parse(valid, src, Group4)
		b = a.Append(b[:0], src, Group4)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzParse: what is read can be written, and is read again as the same.
func FuzzParse(f *testing.F) {
	for _, g := range golden(f) {
		f.Add(g.payload, g.src.Is6())
	}
	f.Add(valid, false)
	f.Add(valid2, false)
	f.Fuzz(func(t *testing.T, b []byte, over6 bool) {
		src, dst := addr("10.77.0.1"), Group4
		if over6 {
			src, dst = addr("fe80::1"), Group6
		}
		// Most of what a fuzzer makes has a wrong checksum: make it right.
		if len(b) >= headerLen {
			b = bytes.Clone(b)
			b[6], b[7] = 0, 0
			kind := PseudoHeader
			if b[0]>>4 == 2 {
				kind = Plain
			}
			binary.BigEndian.PutUint16(b[6:], checksum(b, kind, src, dst))
		}
		var first, second Advertisement
		if first.Parse(b, src, dst) != Accepted {
			return
		}
		if drop := second.Parse(first.Append(nil, src, dst), src, dst); drop != Accepted {
			t.Fatalf("%+v is written so that it is dropped: %s", first, drop)
		}
		if diff := cmp.Diff(first, second, addrs); diff != "" {
			t.Errorf("(-first +second)\n%s", diff)
		}
	})
}
