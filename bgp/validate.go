package bgp

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

const (
	minHoldTime = 3 * time.Second     // RFC 4271, section 4.2
	maxHoldTime = 65535 * time.Second // two octets
	maxLinger   = time.Minute
	minLength4  = 8  // of an allowed IPv4 prefix: wider is a mistake, not a plan
	minLength6  = 16 // of an allowed IPv6 prefix
)

// MaxPassword is the longest TCP MD5 key that the kernel takes, in octets.
const MaxPassword = 80

// Validate finds everything that is wrong with c by itself. Whether VIPs are
// allowed and files readable is seen by whoever has the whole document.
func (c Config) Validate() (ps []vip.Problem) {
	if c.ASN == 0 {
		ps = append(ps, vip.Problem{Path: "asn", Message: "is missing or 0", Allowed: "1 to 4294967295"})
	}
	ps = append(ps, c.validateRouterID()...)
	ps = append(ps, c.validateAllowed()...)
	if c.Linger < 0 || c.Linger > maxLinger {
		ps = append(ps, vip.Problem{Path: "linger", Value: c.Linger.String(), Message: "is out of range", Allowed: "0s to " + maxLinger.String()})
	}
	if len(c.Peers) == 0 {
		ps = append(ps, vip.Problem{Path: "peers", Message: "is missing: nobody to announce to", Allowed: "at least one peer"})
	}
	names, ends := map[string]int{}, map[string]int{}
	for i, p := range c.Peers {
		path := fmt.Sprintf("peers[%d]", i)
		ps = append(ps, vip.Under(path, p.validate())...)
		if p.Passive && c.ListenPort == 0 {
			ps = append(ps, vip.Problem{Path: path + ".passive", Message: "needs listen_port", Allowed: "listen_port 1 to 65535"})
		}
		if first, taken := names[p.Name]; taken && p.Name != "" {
			ps = append(ps, vip.Problem{Path: path + ".name", Value: p.Name, Message: fmt.Sprintf("is the name of peers[%d] too", first)})
		} else {
			names[p.Name] = i
		}
		key, end := p.end()
		if first, taken := ends[end]; taken && end != "" {
			ps = append(ps, vip.Problem{Path: path + "." + key, Value: end, Message: fmt.Sprintf("is the %s of peers[%d] too", key, first)})
		} else {
			ends[end] = i
		}
	}
	return ps
}

func (c Config) validateRouterID() []vip.Problem {
	const allowed = "an IPv4 address that no other speaker uses, such as this host's own"
	switch {
	case !c.RouterID.IsValid():
		return []vip.Problem{{Path: "router_id", Message: "is missing", Allowed: allowed}}
	case !c.RouterID.Is4() || c.RouterID.IsUnspecified():
		return []vip.Problem{{Path: "router_id", Value: c.RouterID.String(), Message: "cannot be a BGP identifier", Allowed: allowed}}
	}
	return nil
}

func (c Config) validateAllowed() (ps []vip.Problem) {
	if len(c.AllowedPrefixes) == 0 {
		return []vip.Problem{{Path: "allowed_prefixes", Message: "is missing: nothing could ever leave", Allowed: "the prefixes that VIPs are taken from"}}
	}
	seen := map[netip.Prefix]int{}
	for i, p := range c.AllowedPrefixes {
		problem := vip.Problem{Path: fmt.Sprintf("allowed_prefixes[%d]", i), Value: p.String()}
		least := minLength4
		if p.Addr().Is6() {
			least = minLength6
		}
		first, twice := seen[p]
		switch {
		case !p.IsValid():
			problem.Value, problem.Message = "", "is no prefix"
		case p.Addr().Is4In6():
			problem.Message, problem.Allowed = "is an IPv4 address written as IPv6", "an IPv4 or IPv6 prefix"
		case p != p.Masked():
			problem.Message, problem.Allowed = "has host bits", p.Masked().String()
		case p.Bits() < least:
			problem.Message = "is too wide to be a guard"
			problem.Allowed = fmt.Sprintf("/%d to /%d", least, p.Addr().BitLen())
		case twice:
			problem.Message = fmt.Sprintf("is there twice, as allowed_prefixes[%d]", first)
		default:
			seen[p] = i
			continue
		}
		ps = append(ps, problem)
	}
	return ps
}

func (p PeerConfig) validate() (ps []vip.Problem) {
	add := func(path, value, message, allowed string) {
		ps = append(ps, vip.Problem{Path: path, Value: value, Message: message, Allowed: allowed})
	}
	if p.Name == "" {
		add("name", "", "is missing", "")
	}
	if p.Interface != "" {
		ps = append(ps, p.validateUnnumbered()...)
	} else if message := unusable(p.Address); message != "" {
		add("address", text(p.Address), message, "the peer's unicast address, or interface for an unnumbered peer")
	}
	if p.ASN == (RemoteASN{}) {
		add("asn", "", "is missing", "1 to 4294967295, or external")
	}
	if p.ASN.External && p.Passive {
		add("asn", externalWord, "excludes passive: the number is found out by dialling the peer", "the peer's AS number")
	}
	if p.Port == 0 {
		add("port", "0", "is out of range", "1 to 65535")
	}
	if p.HoldTime < minHoldTime || p.HoldTime > maxHoldTime || p.HoldTime%time.Second != 0 {
		message := "is out of range"
		if p.HoldTime == 0 {
			message = "would switch keepalives off, so that a dead peer is never noticed"
		} else if p.HoldTime%time.Second != 0 {
			message = "is not in whole seconds, which is all that BGP can say"
		}
		add("hold_time", p.HoldTime.String(), message, "3s to 65535s, whole seconds")
	}
	if p.LocalAddress.IsValid() && p.Interface == "" {
		if message := unusable(p.LocalAddress); message != "" {
			add("local_address", text(p.LocalAddress), message, "a unicast address of this host")
		} else if p.Address.IsValid() && p.LocalAddress.Is4() != p.Address.Is4() {
			add("local_address", text(p.LocalAddress), "is not of the family of address "+text(p.Address), "")
		}
	}
	if p.TTLSecurity && p.Multihop != 0 {
		add("ttl_security", "true", "excludes multihop: it accepts nothing that passed a router", "one of ttl_security and multihop")
	}
	if n := p.NextHop6; n.IsValid() && p.Interface == "" && (!n.Is6() || n.Is4In6() || n.Zone() != "" || !n.IsGlobalUnicast()) {
		add("next_hop6", n.String(), "is no global IPv6 address", "an IPv6 address of this host that the peer can reach")
	}
	return ps
}

// end is what tells a peer from the others, and its key.
func (p PeerConfig) end() (key, end string) {
	if p.Interface != "" {
		return "interface", p.Interface
	}
	return "address", text(p.Address)
}

const maxLinkName = 15 // octets, IFNAMSIZ less one

// validateUnnumbered looks at what an interface excludes: addresses, as both
// ends are link-local and found out, and whatever is not directly connected.
func (p PeerConfig) validateUnnumbered() (ps []vip.Problem) {
	if len(p.Interface) > maxLinkName || strings.ContainsAny(p.Interface, "/ \t\n%") || p.Interface == "lo" {
		ps = append(ps, vip.Problem{Path: "interface", Value: p.Interface, Message: "can be no link to a peer", Allowed: "a link's name, such as eth0"})
	}
	excludes := func(key string, given bool, value string) {
		if given {
			ps = append(ps, vip.Problem{Path: key, Value: value, Message: "is excluded by interface: an unnumbered peer is directly connected and found by its router advertisements",
				Allowed: "one of interface and " + key})
		}
	}
	excludes("address", p.Address.IsValid(), text(p.Address))
	excludes("local_address", p.LocalAddress.IsValid(), text(p.LocalAddress))
	excludes("next_hop6", p.NextHop6.IsValid(), text(p.NextHop6))
	excludes("multihop", p.Multihop != 0, strconv.Itoa(int(p.Multihop)))
	excludes("passive", p.Passive, "true")
	return ps
}

// unusable says why a cannot be one end of a session.
func unusable(a netip.Addr) string {
	switch {
	case !a.IsValid():
		return "is missing"
	case a.Zone() != "" || a.Is6() && a.IsLinkLocalUnicast():
		return "is link-local: give interface instead, the link to the peer"
	case a.Is4In6():
		return "is an IPv4 address written as IPv6"
	case a.IsUnspecified(), a.IsMulticast(), a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "is no unicast address"
	}
	return ""
}

func text(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
