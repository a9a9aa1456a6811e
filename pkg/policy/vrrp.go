package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

// VRRP is how a service's addresses are protected on a segment with only layer 2. It
// makes one virtual router for each address family that the service has.
type VRRP struct {
	Interface    string        `yaml:"interface" doc:"the link that the addresses are on"`
	VRID         uint8         `yaml:"vrid" doc:"Virtual Router Identifier, 1 to 255: the same on all routers of these addresses, and of no others on the segment. Without one the addresses ride on the virtual router of the service that they are together with"`
	Version      uint8         `yaml:"version" default:"3" doc:"3 (RFC 9568), or 2 (RFC 3768), which knows IPv4 and whole seconds only: for others that speak nothing else"`
	Priority     uint8         `yaml:"priority" default:"100" doc:"1 to 254, the highest is Active; 255 for a host that owns the addresses: they are its own, and stay there"`
	Interval     time.Duration `yaml:"advertisement_interval" default:"1s" doc:"how often the Active router advertises: 10ms to 40.95s in steps of 10ms, in version 2 1s to 255s in whole seconds. A silent host is replaced after 3 to 4 of them"`
	Preempt      bool          `yaml:"preempt" default:"true" doc:"take over from an Active router with a lower priority"`
	PreemptDelay time.Duration `yaml:"preempt_delay" doc:"leave such a router alone for this long first"`
	Degraded     DegradedVRRP  `yaml:"degraded" doc:"what is different while the service is degraded"`
	Source       netip.Addr    `yaml:"source" doc:"what advertisements of its family come from, an address of interface; default: the first IPv4 address, the IPv6 link-local one, for IPv6 unicast the first global one"`
	UnicastPeers []netip.Addr  `yaml:"unicast_peers" doc:"the other routers' addresses, where the segment does not carry multicast; advertisements go to these, and are taken from these alone"`
	PasswordFile string        `yaml:"password_file" doc:"file whose first line is version 2's simple password, 1 to 8 bytes. Everybody on the segment can read it there: it guards against mistakes, nothing else"`
	Checksum     VRRPChecksum  `yaml:"checksum" default:"pseudo_header" doc:"of version 3 over IPv4: pseudo_header as keepalived and FRR have it, or plain as RFC 9568 has it; both are accepted"`
	Unadvertised []netip.Addr  `yaml:"unadvertised" doc:"addresses of the service that are not in the advertisements, where they would be too many: they share the others' fate"`
	Refresh      time.Duration `yaml:"announce_refresh" doc:"announce the addresses again every so often, also when nothing happened: for switches that forget; 0s: never"`
	Defend       bool          `yaml:"defend" doc:"announce the addresses again, at most once in 10s, when somebody else claims one"`
	VirtualMAC   bool          `yaml:"virtual_mac" doc:"the addresses have the virtual router MAC address (RFC 9568, section 7.3), so that neighbours notice no takeover; advertisements come from it, too. Only where the segment lets it through: not in most clouds and hypervisors, nor over WLAN"`
}

// DegradedVRRP is what is different while a service in mode vrrp is degraded.
type DegradedVRRP struct {
	LowerBy uint8 `yaml:"lower_by" default:"50" doc:"the priority is lower by this, but never below 1. Servers that are all degraded keep their order"`
}

// VRRPChecksum is the kind of checksum of version 3 over IPv4.
type VRRPChecksum uint8

// The kinds of checksum.
const (
	ChecksumPseudoHeader VRRPChecksum = iota
	ChecksumPlain
)

var checksumNames = [...]string{"pseudo_header", "plain"}

func (c VRRPChecksum) String() string { return checksumNames[c] }

// MarshalText writes the name.
func (c VRRPChecksum) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads pseudo_header or plain.
func (c *VRRPChecksum) UnmarshalText(text []byte) error {
	i := slices.Index(checksumNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("%q is none of pseudo_header, plain", text)
	}
	*c = VRRPChecksum(i)
	return nil
}

// MaxVRRPPassword is how long a password of version 2 is at most, in bytes: keepalived
// cuts longer ones without a word.
const MaxVRRPPassword = 8

const (
	ownerPriority = 255
	leastPriority = 1
	mostListed    = 255 // addresses that an advertisement can count; a link may hold fewer
)

// holds is how many addresses of a family fit into one packet: behind the IP header and 8
// bytes of VRRP, and in version 2 before 8 of authentication, used or not.
func (v *VRRP) holds(f vip.Family, mtu int) int {
	header, each := 20+8, 4
	if f == vip.IPv6 {
		header, each = 40+8, 16
	}
	if v.Version == 2 {
		header += 8
	}
	return (mtu - header) / each
}

// validateVRRP finds what is wrong with a service in mode vrrp.
func (s *Service) validateVRRP() (ps []vip.Problem) {
	v := &s.VRRP
	blame := func(path, value, message, allowed string) {
		ps = append(ps, vip.Problem{Path: path, Value: value, Message: message, Allowed: allowed})
	}
	if v.Interface == "" {
		blame("interface", "", "is missing; the addresses are on a link", "the name of a link of this host")
	}
	if s.Rides() && s.Together != "" && s.Fallback == nil {
		return ps // the rest is its leader's
	}
	if v.VRID == 0 {
		blame("vrid", "", "is missing", "1 to 255, the same on all servers of this service; or together: with a service that has one, to ride on its virtual router")
	}
	if v.Priority < leastPriority {
		blame("priority", fmt.Sprint(v.Priority), "is what a router says that leaves", "1 to 254; 255 on the host that owns the addresses")
	}
	switch v.Version {
	case 2:
		if v.Interval < time.Second || v.Interval > 255*time.Second || v.Interval%time.Second != 0 {
			blame("advertisement_interval", v.Interval.String(), "cannot be said in version 2", "1s to 255s, in whole seconds")
		}
		if i := slices.IndexFunc(s.Addresses, func(h HostPrefix) bool { return h.Addr().Is6() }); i >= 0 {
			blame("version", "2", "knows no IPv6, and the service has "+s.Addresses[i].Addr().String(), "3")
		}
	case 3:
		if step := 10 * time.Millisecond; v.Interval < step || v.Interval > 4095*step || v.Interval%step != 0 {
			blame("advertisement_interval", v.Interval.String(), "cannot be said in version 3", "10ms to 40.95s, in steps of 10ms")
		}
		if v.PasswordFile != "" {
			blame("password_file", v.PasswordFile, "is of version 2; version 3 has no passwords", "")
		}
	default:
		blame("version", fmt.Sprint(v.Version), "is no version of VRRP", "2 or 3")
	}
	if v.PreemptDelay < 0 || v.PreemptDelay > time.Hour {
		blame("preempt_delay", v.PreemptDelay.String(), "is out of range", "0s to 1h")
	}
	if v.Refresh != 0 && (v.Refresh < time.Second || v.Refresh > 24*time.Hour) {
		blame("announce_refresh", v.Refresh.String(), "is out of range", "0s, or 1s to 24h")
	}
	if v.Priority == ownerPriority && v.Degraded.LowerBy > 0 && s.canDegrade() {
		blame("priority", "255", "is the owner's, and an owner cannot be degraded", "require with local checks alone and degraded: {lower_by: 0}, or a priority of 1 to 254")
	}
	if v.Priority == ownerPriority && v.VirtualMAC {
		blame("virtual_mac", "true", "is not for the owner: its addresses are its link's own, and have that one's MAC", "false, or a priority of 1 to 254")
	}
	ps = append(ps, s.validatePeers()...)
	for i, a := range v.Unadvertised {
		if !slices.ContainsFunc(s.Addresses, func(h HostPrefix) bool { return h.Addr() == a }) {
			blame(fmt.Sprintf("unadvertised[%d]", i), a.String(), "is no address of this service", "one of addresses")
		}
	}
	for _, f := range []vip.Family{vip.IPv4, vip.IPv6} {
		listed, rides := s.listed(f)
		if len(listed) > mostListed {
			blame("unadvertised", "", fmt.Sprintf("is too short: %d %s addresses do not fit into an advertisement", len(listed), f), fmt.Sprintf("all but %d of them", mostListed))
		}
		if len(listed) == 0 && len(rides) > 0 {
			blame("unadvertised", "", fmt.Sprintf("has every %s address; one at least leads the others", f), "")
		}
	}
	return ps
}

// validatePeers finds unicast peers that cannot be, and families that have none.
func (s *Service) validatePeers() (ps []vip.Problem) {
	peers := s.VRRP.UnicastPeers
	for i, a := range peers {
		p := vip.Problem{Path: fmt.Sprintf("unicast_peers[%d]", i), Value: a.String()}
		switch {
		case !a.IsValid():
			continue // said already
		case a.Zone() != "" || a.IsUnspecified() || a.IsLoopback() || a.IsMulticast():
			p.Message = "is no other router's address"
		case slices.ContainsFunc(s.Addresses, func(h HostPrefix) bool { return h.Addr() == a }):
			p.Message = "is an address of this service, not of a router"
		case slices.Index(peers, a) < i:
			p.Message = "is there twice"
		default:
			continue
		}
		ps = append(ps, p)
	}
	for _, f := range []vip.Family{vip.IPv4, vip.IPv6} {
		listed, _ := s.listed(f)
		if len(peers) > 0 && len(listed) > 0 && len(s.VRRP.peers(f)) == 0 {
			ps = append(ps, vip.Problem{Path: "unicast_peers", Message: fmt.Sprintf("has no %s address, and the service has %s", f, listed[0]), Allowed: "the other routers' addresses in each family of the service"})
		}
	}
	return ps
}

// peers are the unicast peers of a family.
func (v *VRRP) peers(f vip.Family) (list []netip.Addr) {
	for _, a := range v.UnicastPeers {
		if vip.FamilyOf(a) == f {
			list = append(list, a)
		}
	}
	return list
}

// canDegrade says whether the service can be degraded: an owner cannot.
func (s *Service) canDegrade() bool { return s.Require.Rule != RuleNone }

// listed are the addresses of a family that are advertised, an IPv6 link-local one
// first (RFC 9568, section 5.2.9), and those that ride on them.
func (s *Service) listed(f vip.Family) (listed, rides []netip.Addr) {
	for _, h := range s.Addresses {
		a := h.Addr()
		switch {
		case vip.FamilyOf(a) != f:
		case slices.Contains(s.VRRP.Unadvertised, a):
			rides = append(rides, a)
		default:
			listed = append(listed, a)
		}
	}
	slices.SortStableFunc(listed, func(a, b netip.Addr) int {
		switch x, y := a.IsLinkLocalUnicast(), b.IsLinkLocalUnicast(); {
		case x && !y:
			return -1
		case y && !x:
			return 1
		}
		return 0
	})
	return listed, rides
}
