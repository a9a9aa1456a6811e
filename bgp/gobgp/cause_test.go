package gobgp

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/anyvip/anyvip/bgp"
	"github.com/anyvip/anyvip/pkg/vip"
)

func TestDialErrorsHaveCauses(t *testing.T) {
	plain := bgp.Peer{Address: netip.MustParseAddr("10.0.0.1"), Port: 179}
	secret, guarded, bound := plain, plain, plain
	secret.Password = "x"
	guarded.TTLSecurity = true
	bound.LocalAddress = netip.MustParseAddr("10.9.9.9")
	for _, tt := range []struct {
		text   string
		peer   bgp.Peer
		cause  vip.SessionCause
		detail string
	}{
		{"dial tcp 0.0.0.0:0->10.0.0.1:179: connect: connection refused", plain, vip.CauseRefused, "10.0.0.1 refuses TCP port 179"},
		{"dial tcp 0.0.0.0:0->10.0.0.1:179: i/o timeout", plain, vip.CauseSilent, "a password that the peer wants"},
		{"dial tcp 0.0.0.0:0->10.0.0.1:179: i/o timeout", secret, vip.CauseSilent, "another password there"},
		{"dial tcp 0.0.0.0:0->10.0.0.1:179: i/o timeout", guarded, vip.CauseSilent, "more than one hop"},
		{"dial tcp 0.0.0.0:0->10.0.0.1:179: connect: connection timed out", plain, vip.CauseSilent, "no answer"},
		{"dial tcp 0.0.0.0:0->10.0.0.1:179: connect: no route to host", plain, vip.CauseUnreachable, "no way to 10.0.0.1: no route to host"},
		{"dial tcp 10.9.9.9:0->10.0.0.1:179: bind: cannot assign requested address", bound, vip.CauseLocal, "does not have local_address 10.9.9.9"},
		{"dial tcp [fe80::2%eth0]:0->[fe80::1%eth0]:179: bind: cannot assign requested address", plain, vip.CauseLocal, "duplicate address detection"},
		{"dial tcp: setSockOpt: operation not permitted", plain, vip.CauseLocal, "not permitted"},
		{"something new", plain, vip.CauseLocal, "something new"},
	} {
		f := dialFailure(tt.text, tt.peer)
		if f.cause != tt.cause || !strings.Contains(f.detail, tt.detail) {
			t.Errorf("%q: %s %q, want %s with %q", tt.text, f.cause, f.detail, tt.cause, tt.detail)
		}
	}
}

func TestNotificationsHaveCauses(t *testing.T) {
	p := bgp.Peer{ASN: 65000, HoldTime: 9 * time.Second}
	for _, tt := range []struct {
		sent          bool
		code, subcode uint8
		text          string
		cause         vip.SessionCause
		detail        string
	}{
		{true, 2, 2, "", vip.CauseWrongAS, "another AS than 65000"},
		{false, 2, 2, "", vip.CauseWrongAS, "expects another AS from us"},
		{false, 2, 3, "", vip.CauseWrongID, "the same router_id"},
		{false, 2, 6, "", vip.CauseNotification, "unacceptable hold time"},
		{true, 4, 0, "", vip.CauseHoldExpired, "heard nothing from the peer"},
		{false, 4, 0, "", vip.CauseHoldExpired, "it heard nothing from us"},
		{false, 6, 2, "night shift", vip.CausePeerClosed, `the peer sent NOTIFICATION 6/2 (Cease, administrative shutdown): "night shift"`},
		{false, 6, 99, "", vip.CausePeerClosed, "6/99"},
		{true, 3, 1, "", vip.CauseNotification, "we sent NOTIFICATION 3/1"},
		{false, 200, 200, "", vip.CauseNotification, "200/200"},
	} {
		f := notificationFailure(tt.sent, tt.code, tt.subcode, tt.text, p)
		if f.cause != tt.cause || !strings.Contains(f.detail, tt.detail) {
			t.Errorf("%+v: %s %q", tt, f.cause, f.detail)
		}
	}
}

func TestShutdownTextsOfAnyLengthAreRead(t *testing.T) {
	for data, want := range map[string]string{"": "", "\x05": "", "\x05hello": "hello", "\x05hello!": "hello", "\xffhello": "", "\x02\xff\xfe": "?"} {
		if got := asText([]byte(data)); got != want {
			t.Errorf("%q: %q, want %q", data, got, want)
		}
	}
}

func TestAServerServesUntilSomethingSharedChanges(t *testing.T) {
	peer := func(address, password string, passive bool) bgp.Peer {
		return bgp.Peer{Name: address, Address: netip.MustParseAddr(address), Password: password, Passive: passive}
	}
	sessions := func(peers ...bgp.Peer) bgp.Sessions {
		return bgp.Sessions{ASN: 1, RouterID: netip.MustParseAddr("10.0.0.1"), ListenPort: 179, Peers: peers}
	}
	active, passive := peer("10.0.0.2", "x", false), peer("10.0.0.3", "y", true)
	for _, tt := range []struct {
		name     string
		was, now bgp.Sessions
		want     bool
	}{
		{"the same", sessions(active, passive), sessions(passive, active), true},
		{"a peer more", sessions(passive), sessions(passive, active), true},
		{"the first passive peer", sessions(active), sessions(active, passive), false},
		{"the first passive peer of a family", sessions(passive), sessions(passive, peer("2001:db8::1", "", true)), false},
		{"a password goes while listening", sessions(active, passive), sessions(peer("10.0.0.2", "", false), passive), false},
		{"a password goes without a listener", sessions(active), sessions(peer("10.0.0.2", "", false)), true},
		{"a peer with a password goes while listening", sessions(active, passive), sessions(passive), true},
		{"a password changes", sessions(passive), sessions(peer("10.0.0.3", "z", true)), true},
		{"another AS", sessions(active), bgp.Sessions{ASN: 2, RouterID: netip.MustParseAddr("10.0.0.1"), ListenPort: 179, Peers: []bgp.Peer{active}}, false},
	} {
		if got := newShared(tt.was).serves(newShared(tt.now)); got != tt.want {
			t.Errorf("%s: %t", tt.name, got)
		}
	}
}

func TestAPolicyNamesNoEmptySet(t *testing.T) {
	// A neighbor set without members would match every neighbor.
	p := policy{asn: 1, markers: []marker{3}, allowed: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}
	for _, peers := range [][]peerPolicy{nil, {{address: netip.MustParseAddr("10.0.0.1")}},
		{{address: netip.MustParseAddr("2001:db8::1")}}, {{address: netip.MustParseAddr("10.0.0.1"), ipv4: true, nextHop6: netip.MustParseAddr("2001:db8::2")}}} {
		p.peers = peers
		for _, set := range p.request().DefinedSets {
			if len(set.List)+len(set.Prefixes) == 0 {
				t.Errorf("%v: set %q is empty", peers, set.Name)
			}
		}
	}
}
