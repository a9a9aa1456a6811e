package bgp

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func goodConfig() Config {
	return Config{
		ASN: 65101, RouterID: netip.MustParseAddr("10.0.1.2"), ListenPort: 179, Linger: time.Second,
		AllowedPrefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8:10::/48")},
		Peers: []PeerConfig{
			{Name: "tor-a", Address: netip.MustParseAddr("10.0.1.1"), ASN: RemoteASN{Number: 65000}, Port: 179, HoldTime: 9 * time.Second},
			{Name: "tor-b", Address: netip.MustParseAddr("2001:db8::1"), ASN: RemoteASN{Number: 65101}, Port: 1790, HoldTime: 3 * time.Second,
				TTLSecurity: true, LocalAddress: netip.MustParseAddr("2001:db8::2")},
			{Name: "far", Address: netip.MustParseAddr("198.51.100.1"), ASN: RemoteASN{Number: 65000}, Port: 179, HoldTime: 65535 * time.Second,
				Multihop: 255, Passive: true, NextHop6: netip.MustParseAddr("2001:db8::2")},
			{Name: "fabric-a", Interface: "eth1", ASN: RemoteASN{External: true}, Port: 179, HoldTime: 9 * time.Second},
			{Name: "fabric-b", Interface: "bond0.100", ASN: RemoteASN{Number: 65101}, Port: 179, HoldTime: 9 * time.Second},
		},
	}
}

func TestAGoodConfigHasNoProblems(t *testing.T) {
	if ps := goodConfig().Validate(); len(ps) != 0 {
		t.Error(ps)
	}
}

func TestEachMistakeIsOneProblem(t *testing.T) {
	prefix, addr := netip.MustParsePrefix, netip.MustParseAddr
	for want, change := range map[string]func(c *Config){
		"asn: is missing or 0 (allowed: 1 to 4294967295)": func(c *Config) { c.ASN = 0 },
		"router_id: is missing (allowed: an IPv4 address that no other speaker uses, such as this host's own)": func(c *Config) {
			c.RouterID = netip.Addr{}
		},
		"router_id: 2001:db8::1: cannot be a BGP identifier (allowed: an IPv4 address that no other speaker uses, such as this host's own)": func(c *Config) {
			c.RouterID = addr("2001:db8::1")
		},
		"router_id: 0.0.0.0: cannot be a BGP identifier (allowed: an IPv4 address that no other speaker uses, such as this host's own)": func(c *Config) {
			c.RouterID = netip.IPv4Unspecified()
		},
		"allowed_prefixes: is missing: nothing could ever leave (allowed: the prefixes that VIPs are taken from)": func(c *Config) {
			c.AllowedPrefixes = nil
		},
		"allowed_prefixes[0]: 192.0.2.1/24: has host bits (allowed: 192.0.2.0/24)":       func(c *Config) { c.AllowedPrefixes[0] = prefix("192.0.2.1/24") },
		"allowed_prefixes[0]: 0.0.0.0/0: is too wide to be a guard (allowed: /8 to /32)": func(c *Config) { c.AllowedPrefixes[0] = prefix("0.0.0.0/0") },
		"allowed_prefixes[1]: ::/0: is too wide to be a guard (allowed: /16 to /128)":    func(c *Config) { c.AllowedPrefixes[1] = prefix("::/0") },
		"allowed_prefixes[1]: 192.0.2.0/24: is there twice, as allowed_prefixes[0]":      func(c *Config) { c.AllowedPrefixes[1] = c.AllowedPrefixes[0] },
		"linger: 2m0s: is out of range (allowed: 0s to 1m0s)":                            func(c *Config) { c.Linger = 2 * time.Minute },
		"peers: is missing: nobody to announce to (allowed: at least one peer)":          func(c *Config) { c.Peers = nil },
		"peers[0].name: is missing":                         func(c *Config) { c.Peers[0].Name = "" },
		"peers[1].name: tor-a: is the name of peers[0] too": func(c *Config) { c.Peers[1].Name = "tor-a" },
		"peers[0].address: is missing (allowed: the peer's unicast address, or interface for an unnumbered peer)": func(c *Config) { c.Peers[0].Address = netip.Addr{} },
		"peers[0].address: 0.0.0.0: is no unicast address (allowed: the peer's unicast address, or interface for an unnumbered peer)": func(c *Config) {
			c.Peers[0].Address = netip.IPv4Unspecified()
		},
		"peers[0].address: 224.0.0.5: is no unicast address (allowed: the peer's unicast address, or interface for an unnumbered peer)": func(c *Config) {
			c.Peers[0].Address = addr("224.0.0.5")
		},
		"peers[0].address: fe80::1%eth0: is link-local: give interface instead, the link to the peer (allowed: the peer's unicast address, or interface for an unnumbered peer)": func(c *Config) {
			c.Peers[0].Address = addr("fe80::1%eth0")
		},
		"peers[2].address: 10.0.1.1: is the address of peers[0] too":       func(c *Config) { c.Peers[2].Address = addr("10.0.1.1") },
		"peers[0].asn: is missing (allowed: 1 to 4294967295, or external)": func(c *Config) { c.Peers[0].ASN = RemoteASN{} },
		"peers[2].asn: external: excludes passive: the number is found out by dialling the peer (allowed: the peer's AS number)": func(c *Config) {
			c.Peers[2].ASN = RemoteASN{External: true}
		},
		"peers[4].interface: eth1: is the interface of peers[3] too":                               func(c *Config) { c.Peers[4].Interface = "eth1" },
		"peers[3].interface: a/b: can be no link to a peer (allowed: a link's name, such as eth0)": func(c *Config) { c.Peers[3].Interface = "a/b" },
		"peers[3].interface: a-name-beyond-15: can be no link to a peer (allowed: a link's name, such as eth0)": func(c *Config) {
			c.Peers[3].Interface = "a-name-beyond-15"
		},
		"peers[3].interface: lo: can be no link to a peer (allowed: a link's name, such as eth0)": func(c *Config) { c.Peers[3].Interface = "lo" },
		excluded("address", "10.0.1.9"):                                                  func(c *Config) { c.Peers[3].Address = addr("10.0.1.9") },
		excluded("local_address", "fe80::2"):                                             func(c *Config) { c.Peers[3].LocalAddress = addr("fe80::2") },
		excluded("next_hop6", "fe80::2"):                                                 func(c *Config) { c.Peers[3].NextHop6 = addr("fe80::2") },
		excluded("multihop", "2"):                                                        func(c *Config) { c.Peers[3].Multihop = 2 },
		excluded("passive", "true"):                                                      func(c *Config) { c.Peers[4].Passive = true },
		"peers[0].port: 0: is out of range (allowed: 1 to 65535)":                        func(c *Config) { c.Peers[0].Port = 0 },
		"peers[0].hold_time: 2s: is out of range (allowed: 3s to 65535s, whole seconds)": func(c *Config) { c.Peers[0].HoldTime = 2 * time.Second },
		"peers[0].hold_time: 18h12m16s: is out of range (allowed: 3s to 65535s, whole seconds)": func(c *Config) {
			c.Peers[0].HoldTime = 65536 * time.Second
		},
		"peers[0].hold_time: 3.5s: is not in whole seconds, which is all that BGP can say (allowed: 3s to 65535s, whole seconds)": func(c *Config) {
			c.Peers[0].HoldTime = 3500 * time.Millisecond
		},
		"peers[0].hold_time: 0s: would switch keepalives off, so that a dead peer is never noticed (allowed: 3s to 65535s, whole seconds)": func(c *Config) {
			c.Peers[0].HoldTime = 0
		},
		"peers[1].local_address: 10.0.1.2: is not of the family of address 2001:db8::1": func(c *Config) {
			c.Peers[1].LocalAddress = addr("10.0.1.2")
		},
		"peers[1].local_address: ::: is no unicast address (allowed: a unicast address of this host)": func(c *Config) {
			c.Peers[1].LocalAddress = netip.IPv6Unspecified()
		},
		"peers[1].ttl_security: true: excludes multihop: it accepts nothing that passed a router (allowed: one of ttl_security and multihop)": func(c *Config) {
			c.Peers[1].Multihop = 2
		},
		"peers[2].next_hop6: fe80::1: is no global IPv6 address (allowed: an IPv6 address of this host that the peer can reach)": func(c *Config) {
			c.Peers[2].NextHop6 = addr("fe80::1")
		},
		"peers[2].next_hop6: 10.0.0.1: is no global IPv6 address (allowed: an IPv6 address of this host that the peer can reach)": func(c *Config) {
			c.Peers[2].NextHop6 = addr("10.0.0.1")
		},
		"peers[2].passive: needs listen_port (allowed: listen_port 1 to 65535)": func(c *Config) { c.ListenPort = 0 },
	} {
		t.Run(want, func(t *testing.T) {
			c := goodConfig()
			change(&c)
			var got []string
			for _, p := range c.Validate() {
				got = append(got, p.String())
			}
			if diff := cmp.Diff([]string{want}, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

// excluded is the problem of a key beside interface.
func excluded(key, value string) string {
	peer := "peers[3]"
	if key == "passive" {
		peer = "peers[4]" // asn: external excludes it too
	}
	return fmt.Sprintf("%s.%s: %s: is excluded by interface: an unnumbered peer is directly connected and found by its router advertisements (allowed: one of interface and %[2]s)",
		peer, key, value)
}

func TestARemoteASNIsANumberOrExternal(t *testing.T) {
	for text, want := range map[string]RemoteASN{"1": {Number: 1}, "65000": {Number: 65000}, "4294967295": {Number: 4294967295}, "external": {External: true}} {
		var a RemoteASN
		if err := a.UnmarshalText([]byte(text)); err != nil || a != want {
			t.Errorf("%s: %+v, %v", text, a, err)
		}
		if back, err := want.MarshalText(); err != nil || string(back) != text || want.String() != text {
			t.Errorf("%+v: %s, %v", want, back, err)
		}
	}
	for _, text := range []string{"", "0", "-1", "+1", "01", "1.5", "65000 ", "4294967296", "0x10", "internal", "External", "AS1"} {
		a := RemoteASN{Number: 7}
		if err := a.UnmarshalText([]byte(text)); err == nil || a != (RemoteASN{Number: 7}) {
			t.Errorf("%q: %+v, %v", text, a, err)
		}
	}
}

func TestAllMistakesAreFoundAtOnce(t *testing.T) {
	ps := Config{ListenPort: 179, Peers: []PeerConfig{{}, {}}}.Validate()
	if len(ps) != 3+2*5 { // asn, router_id, allowed_prefixes; name, address, asn, port, hold_time
		t.Errorf("%d problems: %v", len(ps), ps)
	}
}
