package bgp

import (
	"fmt"
	"net/netip"
	"strconv"
	"time"
)

// Config is the speaker's configuration. Its zero values are what an absent key
// means, or, where a default tag is, what the config package replaced by it.
type Config struct {
	ASN             uint32         `yaml:"asn" min:"1" doc:"own AS number"`
	RouterID        netip.Addr     `yaml:"router_id" doc:"BGP identifier, an IPv4 address unique among the peers' neighbours"`
	AllowedPrefixes []netip.Prefix `yaml:"allowed_prefixes" doc:"nothing outside these ever leaves"`
	ListenPort      uint16         `yaml:"listen_port" default:"179" doc:"where passive peers connect to; not opened unless a peer is passive"`
	ImportDefault   bool           `yaml:"import_default" doc:"install the peers' 0.0.0.0/0 and ::/0 as this host's default routes, over all peers at once, for hosts without another one; nothing else is ever imported"`
	Linger          time.Duration  `yaml:"linger" default:"1s" doc:"an address stays this long after its route was withdrawn; at a stop the sessions too"`
	Peers           []PeerConfig   `yaml:"peers" doc:"the ToR routers"`
}

// PeerConfig is one configured peer.
type PeerConfig struct {
	Name         string        `yaml:"name" doc:"unique name, used in status, logs and metrics"`
	Address      netip.Addr    `yaml:"address" doc:"the peer's address; not for an unnumbered peer, see interface"`
	Interface    string        `yaml:"interface" doc:"instead of address: the link to an unnumbered peer, which is found by its router advertisements (IPv6 link-local addresses, RFC 8950)"`
	ASN          RemoteASN     `yaml:"asn" doc:"the peer's AS number; the same as ours makes it iBGP; external: any but ours"`
	Port         uint16        `yaml:"port" min:"1" default:"179" doc:"where the peer listens"`
	LocalAddress netip.Addr    `yaml:"local_address" doc:"source of the session; default: what the kernel picks"`
	HoldTime     time.Duration `yaml:"hold_time" default:"9s" doc:"3s to 65535s in whole seconds; keepalives go out every third of it"`
	PasswordFile string        `yaml:"password_file" doc:"TCP MD5 key (RFC 2385), the file's first line"`
	TTLSecurity  bool          `yaml:"ttl_security" doc:"GTSM (RFC 5082): send with TTL 255 and accept nothing less"`
	Multihop     uint8         `yaml:"multihop" doc:"most hops to the peer, 1 to 255; without it the peer is directly connected"`
	Passive      bool          `yaml:"passive" doc:"wait for the peer to connect"`
	NextHop6     netip.Addr    `yaml:"next_hop6" doc:"next hop of IPv6 VIPs on an IPv4 session; default: the global IPv6 address of the session's interface"`
}

// RemoteASN is the AS number that a peer must have.
type RemoteASN struct {
	Number   uint32 // 0 if External, or not given
	External bool   // any number but ours
}

const externalWord = "external"

// String is the number, or external.
func (a RemoteASN) String() string {
	if a.External {
		return externalWord
	}
	return strconv.FormatUint(uint64(a.Number), 10)
}

// MarshalText writes the number, or external.
func (a RemoteASN) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads a number from 1 to 4294967295, or external.
func (a *RemoteASN) UnmarshalText(text []byte) error {
	if string(text) == externalWord {
		*a = RemoteASN{External: true}
		return nil
	}
	n, err := strconv.ParseUint(string(text), 10, 32)
	if err != nil || n == 0 || text[0] == '0' || text[0] == '+' {
		return fmt.Errorf("%q is neither an AS number, 1 to 4294967295, nor external", text)
	}
	*a = RemoteASN{Number: uint32(n)}
	return nil
}
