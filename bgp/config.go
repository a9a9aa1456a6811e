package bgp

import (
	"net/netip"
	"time"
)

// Config is the speaker's configuration. Its zero values are what an absent key
// means, or, where a default tag is, what the config package replaced by it.
type Config struct {
	ASN             uint32         `yaml:"asn" min:"1" doc:"own AS number"`
	RouterID        netip.Addr     `yaml:"router_id" doc:"BGP identifier, an IPv4 address unique among the peers' neighbours"`
	AllowedPrefixes []netip.Prefix `yaml:"allowed_prefixes" doc:"nothing outside these ever leaves"`
	ListenPort      uint16         `yaml:"listen_port" default:"179" doc:"where passive peers connect to; not opened unless a peer is passive"`
	Linger          time.Duration  `yaml:"linger" default:"1s" doc:"an address stays this long after its route was withdrawn; at a stop the sessions too"`
	Peers           []PeerConfig   `yaml:"peers" doc:"the ToR routers"`
}

// PeerConfig is one configured peer.
type PeerConfig struct {
	Name         string        `yaml:"name" doc:"unique name, used in status, logs and metrics"`
	Address      netip.Addr    `yaml:"address" doc:"the peer's address"`
	ASN          uint32        `yaml:"asn" min:"1" doc:"the peer's AS number; the same as ours makes it iBGP"`
	Port         uint16        `yaml:"port" min:"1" default:"179" doc:"where the peer listens"`
	LocalAddress netip.Addr    `yaml:"local_address" doc:"source of the session; default: what the kernel picks"`
	HoldTime     time.Duration `yaml:"hold_time" default:"9s" doc:"3s to 65535s in whole seconds; keepalives go out every third of it"`
	PasswordFile string        `yaml:"password_file" doc:"TCP MD5 key (RFC 2385), the file's first line"`
	TTLSecurity  bool          `yaml:"ttl_security" doc:"GTSM (RFC 5082): send with TTL 255 and accept nothing less"`
	Multihop     uint8         `yaml:"multihop" doc:"most hops to the peer, 1 to 255; without it the peer is directly connected"`
	Passive      bool          `yaml:"passive" doc:"wait for the peer to connect"`
	NextHop6     netip.Addr    `yaml:"next_hop6" doc:"next hop of IPv6 VIPs on an IPv4 session; default: the global IPv6 address of the session's interface"`
}
