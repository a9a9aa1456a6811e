package neighbor

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/ndp"
)

// valid is an advertisement as FRR 8.4.4 sends it on an unnumbered link.
var valid = []byte{
	134,  // type: router advertisement
	0,    // code
	0, 0, // checksum: the kernel's
	64,    // current hop limit
	0,     // flags
	0, 30, // router lifetime, in seconds
	0, 0, 0, 0, // reachable time
	0, 0, 0, 0, // retransmission timer
	1, 1, 2, 0, 0, 0, 0, 1, // source link-layer address
}

func TestWhatAPacketIs(t *testing.T) {
	edit := func(change func(p *packet)) packet {
		p := packet{from: fe80a, hopLimit: 255, data: append([]byte{}, valid...)}
		change(&p)
		return p
	}
	solicit := func(p *packet) { p.data = []byte{133, 0, 0, 0, 0, 0, 0, 0} }
	for name, test := range map[string]struct {
		packet packet
		want   kind
	}{
		"an advertisement":                             {edit(func(*packet) {}), advertisement},
		"an advertisement without options":             {edit(func(p *packet) { p.data = p.data[:16] }), advertisement},
		"an advertisement with unknown options":        {edit(func(p *packet) { p.data = append(p.data, 253, 1, 1, 2, 3, 4, 5, 6) }), advertisement},
		"an advertisement with a senseless MTU":        {edit(func(p *packet) { p.data = append(p.data, 5, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14) }), advertisement},
		"a solicitation":                               {edit(solicit), solicitation},
		"a solicitation from no address":               {edit(func(p *packet) { solicit(p); p.from = netip.IPv6Unspecified() }), solicitation},
		"a solicitation through a router":              {edit(func(p *packet) { solicit(p); p.hopLimit = 64 }), other},
		"a short solicitation":                         {edit(func(p *packet) { solicit(p); p.data = p.data[:7] }), other},
		"a solicitation with a broken option":          {edit(func(p *packet) { solicit(p); p.data = append(p.data, 1) }), other},
		"an advertisement through a router":            {edit(func(p *packet) { p.hopLimit = 254 }), other},
		"an advertisement without a hop limit":         {edit(func(p *packet) { p.hopLimit = 0 }), other},
		"an advertisement from a global address":       {edit(func(p *packet) { p.from = netip.MustParseAddr("2001:db8::1") }), other},
		"an advertisement from no address":             {edit(func(p *packet) { p.from = netip.Addr{} }), other},
		"an advertisement with code 1":                 {edit(func(p *packet) { p.data[1] = 1 }), other},
		"an advertisement cut short":                   {edit(func(p *packet) { p.data = p.data[:15] }), other},
		"an advertisement with a cut option":           {edit(func(p *packet) { p.data = p.data[:23] }), other},
		"an advertisement with an option of no length": {edit(func(p *packet) { p.data[17] = 0 }), other},
		"an advertisement with a too long option":      {edit(func(p *packet) { p.data[17] = 2 }), other},
		"a neighbour advertisement":                    {edit(func(p *packet) { p.data[0] = 136 }), other},
		"nothing":                                      {packet{}, other},
	} {
		t.Run(name, func(t *testing.T) {
			if got := parse(test.packet); got != test.want {
				t.Errorf("%v", got)
			}
		})
	}
}

func TestWhatWeSend(t *testing.T) {
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	for name, test := range map[string]struct {
		kind kind
		mac  net.HardwareAddr
		want []byte
	}{
		"an advertisement": {advertisement, mac, []byte{
			134,  // type
			0,    // code
			0, 0, // checksum: the kernel's
			0,    // current hop limit: unspecified
			0,    // flags: no DHCPv6, medium preference
			0, 0, // router lifetime: not a default router
			0, 0, 0, 0, // reachable time: unspecified
			0, 0, 0, 0, // retransmission timer: unspecified
			1, 1, 2, 0, 0, 0, 0, 1, // source link-layer address; and no prefix
		}},
		"a solicitation": {solicitation, mac, []byte{133, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 0, 0, 0, 0, 1}},
		"an advertisement where there are no MACs": {advertisement, nil, []byte{134, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}},
		"a solicitation with an InfiniBand GUID":   {solicitation, make(net.HardwareAddr, 20), []byte{133, 0, 0, 0, 0, 0, 0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ndp.MarshalMessage(compose(test.kind, test.mac))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if k := parse(packet{from: fe80a, hopLimit: 255, data: got}); k != test.kind {
				t.Errorf("parsed as %v", k)
			}
		})
	}
}

// Whatever comes in is judged without harm, and what is taken for an
// advertisement is one.
func FuzzParse(f *testing.F) {
	f.Add(valid, 255, true)
	f.Add([]byte{133, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 0, 0, 0, 0, 1}, 255, true)
	f.Add([]byte{134, 0, 0, 0}, 255, true)
	f.Add([]byte{}, 64, false)
	f.Fuzz(func(t *testing.T, data []byte, hopLimit int, linkLocal bool) {
		p := packet{from: netip.MustParseAddr("2001:db8::1"), hopLimit: hopLimit, data: data}
		if linkLocal {
			p.from = fe80a
		}
		k := parse(p)
		var r router
		if k == advertisement {
			r.advertised(p.from, time.Time{}, true)
			if !linkLocal || hopLimit != 255 || data[0] != 134 || len(data)%8 != 0 {
				t.Errorf("%x is no advertisement", data)
			}
		}
		// A stricter parser than ours takes nothing that we do not.
		if m, err := ndp.ParseMessage(data); err == nil && hopLimit == 255 && linkLocal && data[1] == 0 && k == other && len(data)%8 == 0 {
			switch m.(type) {
			case *ndp.RouterAdvertisement, *ndp.RouterSolicitation:
				t.Errorf("%x is %T", data, m)
			}
		}
	})
}
