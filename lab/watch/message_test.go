package watch

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

var comparable = cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}, netip.AddrPort{})

func TestDecodeMessage(t *testing.T) {
	vip4, vip6 := netip.MustParsePrefix("192.0.2.10/32"), netip.MustParsePrefix("2001:db8:10::10/128")
	worst := uint32(1<<32 - 1)
	for _, test := range []struct {
		name string
		hex  string
		want Message
	}{
		{"OPEN", goldenOpen, Message{Type: Open, Length: 45, Opened: &Opened{ASN: 65101, HoldTime: 9, RouterID: netip.MustParseAddr("10.0.1.2")}}},
		{"UPDATE of both families", goldenUpdate, Message{
			Type: Update, Length: 139,
			Announced: []NLRI{
				{Prefix: vip6, NextHop: netip.MustParseAddr("fd00:1::2")},
				{Prefix: vip4, NextHop: netip.MustParseAddr("10.0.1.2")},
			},
			Withdrawn: []netip.Prefix{netip.MustParsePrefix("192.0.2.11/32")},
			Attributes: &Attributes{
				Origin: "igp", ASPath: []uint32{65101, 65101, 65101, 65101}, MED: &worst,
				Communities: []string{"65535:0", "65000:100"}, LargeCommunities: []string{"65000:1:2"},
			},
		}},
		{"withdraw of IPv6", goldenWithdraw6, Message{Type: Update, Length: 46, Withdrawn: []netip.Prefix{vip6}}},
		{"End-of-RIB", goldenEndOfRIB, Message{Type: Update, Length: 23, EndOfRIB: "ipv4-unicast"}},
		{"shutdown communication", goldenShutdown, Message{Type: Notification, Length: 28, Notified: &Notified{Code: 6, Subcode: 2, Text: "switch"}}},
		{"hard reset", goldenHardReset, Message{Type: Notification, Length: 28, Notified: &Notified{Code: 6, Subcode: 9, Text: "bye!"}}},
		{"KEEPALIVE", goldenKeepalive, Message{Type: Keepalive, Length: 19}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, _ := decodeMessage(unhex(t, test.hex), negotiated(nil, nil))
			if diff := cmp.Diff(test.want, got, comparable); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecodeMessageReportsWhatItCannotRead(t *testing.T) {
	raw := unhex(t, goldenUpdate)
	raw[26] = 0xff // the length of the path attributes points behind the message
	got, _ := decodeMessage(raw, negotiated(nil, nil))
	if got.Type != Update || got.Error == "" {
		t.Errorf("%+v", got)
	}
	if len(got.Withdrawn) != 1 {
		t.Errorf("what could be read is not there: %+v", got)
	}
}

func TestNegotiatedReadsAddPathOnlyWhereBothWantIt(t *testing.T) {
	with := func(mode bgp.BGPAddPathMode) *bgp.BGPOpen {
		capability := bgp.NewCapAddPath([]*bgp.CapAddPathTuple{bgp.NewCapAddPathTuple(bgp.RF_IPv4_UC, mode)})
		message, err := bgp.NewBGPOpenMessage(65000, 9, netip.MustParseAddr("10.0.0.1"), []bgp.OptionParameterInterface{
			bgp.NewOptionParameterCapability([]bgp.ParameterCapabilityInterface{capability, bgp.NewCapFourOctetASNumber(65000)}),
		})
		if err != nil {
			t.Fatal(err)
		}
		return message.Body.(*bgp.BGPOpen)
	}
	withPathID := unhex(t, `
		ffffffff ffffffff ffffffff ffffffff 0031 02
		0000
		0011                          # path attributes, 17 bytes
		40 01 01 00                   # ORIGIN IGP
		40 02 00                      # AS_PATH, empty
		40 03 04 0a000101             # NEXT_HOP
		40 05 00                      # (nothing)
		00000007 20 c000020a          # path identifier 7, 192.0.2.10/32
	`)
	// The empty LOCAL_PREF above is malformed on purpose: the rest is read all the same.
	m, _ := decodeMessage(withPathID, negotiated(with(bgp.BGP_ADD_PATH_SEND), with(bgp.BGP_ADD_PATH_RECEIVE)))
	want := []NLRI{{Prefix: netip.MustParsePrefix("192.0.2.10/32"), NextHop: netip.MustParseAddr("10.0.1.1"), PathID: 7}}
	if diff := cmp.Diff(want, m.Announced, comparable); diff != "" {
		t.Errorf("announced (-want +got):\n%s (%s)", diff, m.Error)
	}
	if options := negotiated(with(bgp.BGP_ADD_PATH_RECEIVE), with(bgp.BGP_ADD_PATH_BOTH)); len(options.AddPath) != 0 {
		t.Errorf("add-path though the sender does not send it: %v", options.AddPath)
	}
}
