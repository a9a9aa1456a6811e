package bgp

import (
	"net/netip"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

// Desired is everything the engine should bring about.
type Desired struct {
	ASN             uint32
	RouterID        netip.Addr
	AllowedPrefixes []netip.Prefix
	ListenPort      uint16 // 0: no listener
	Announcements   []vip.Announcement
	Peers           []Peer
}

// Peer is one session as it should be.
type Peer struct {
	Name         string
	Address      netip.Addr
	ASN          uint32
	Port         uint16
	LocalAddress netip.Addr
	HoldTime     time.Duration
	Password     string // the secret itself, read from its file
	TTLSecurity  bool
	Multihop     uint8
	Passive      bool
	Up           bool       // false: close it with Cease and Text, and keep it closed
	Text         string     // shutdown communication, RFC 9003
	NextHop6     netip.Addr // resolved next hop for IPv6 VIPs on an IPv4 session; zero: send none
}

// Report is what the engine tells its owner: whole values, replaced not
// merged, and never changed after they were handed over.
type Report struct {
	Sessions map[string]vip.Session                       // by peer
	Sent     map[string]map[netip.Prefix]vip.Announcement // by peer: its Adj-RIB-Out, Established peers only
}
