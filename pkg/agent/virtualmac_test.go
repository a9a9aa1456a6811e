package agent

import (
	"net/netip"
	"testing"
	"time"

	"github.com/anyvip/anyvip/pkg/kernel/lease"
	"github.com/anyvip/anyvip/pkg/policy"
	"github.com/anyvip/anyvip/pkg/vip"
	"github.com/anyvip/anyvip/vrrp"
)

// TestTheVirtualMACComesAllTheWay: what the file says of it is what addresses and
// announcements have, of a candidate and of what is answered for.
func TestTheVirtualMACComesAllTheWay(t *testing.T) {
	one, two := netip.MustParseAddr("10.0.1.100"), netip.MustParseAddr("10.0.1.101")
	mac := [6]byte{0, 0, 0x5e, 0, 1, 51}
	config := policy.VRRP{Interface: "eth0", VRID: 51, Version: 3, Interval: time.Second, VirtualMAC: true}
	c := candidacies([]policy.RouterWant{{Name: "web", Link: vip.Link{Name: "eth0", Index: 2}, Source: netip.MustParseAddr("10.0.1.1"), Config: &config,
		Listed: []netip.Addr{one}, Rides: []policy.Ride{{Addr: two, Link: vip.Link{Name: "eth0", Index: 2}}}}}, nil)
	if len(c) != 1 || c[0].MAC() != mac {
		t.Fatalf("%+v", c)
	}
	s := newSegment(nil, nil)
	s.want(c)
	leases := s.wanted()
	if len(leases) != 2 || leases[0].MAC != mac || leases[1].MAC != mac || leases[0].Held || leases[0].Index != 2 {
		t.Errorf("candidates: %+v", leases)
	}
	s.Answer(vrrp.Answer{Router: "web", Addresses: c[0].Addresses(), Held: true, Announce: 1})
	s.found(lease.Report{Addresses: map[netip.Addr]vip.Address{one: {State: vip.AddressPresent}}})
	leases = s.wanted()
	if len(leases) != 2 || leases[0].MAC != mac || leases[1].MAC != mac || !leases[0].Held {
		t.Errorf("held: %+v", leases)
	}
	announcements := s.announcements()
	if list := announcements[vrrp.Link{Name: "eth0", Index: 2}]; len(list) != 1 || list[0].MAC != mac || list[0].Addr != one {
		t.Errorf("announced: %+v", announcements)
	}
}
