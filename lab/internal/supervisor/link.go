package supervisor

import (
	"fmt"
	"net"

	"github.com/vishvananda/netlink"

	"github.com/anyvip/anyvip/lab/internal/wire"
)

// addLink makes a veth pair whose ends are born in the network namespaces of the
// processes a and b, under their final names.
func addLink(l wire.Link, a, b int) error {
	name := fmt.Sprintf("link %s:%s - %s:%s", l.A.Node, l.A.Interface, l.B.Node, l.B.Interface)
	macA, errA := net.ParseMAC(l.A.MAC)
	macB, errB := net.ParseMAC(l.B.MAC)
	if errA != nil || errB != nil {
		return fmt.Errorf("%s: bad MAC address %q or %q", name, l.A.MAC, l.B.MAC)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = l.A.Interface
	attrs.HardwareAddr = macA
	attrs.MTU = l.MTU
	attrs.Namespace = netlink.NsPid(a)
	veth := &netlink.Veth{
		LinkAttrs:        attrs,
		PeerName:         l.B.Interface,
		PeerHardwareAddr: macB,
		PeerNamespace:    netlink.NsPid(b),
	}
	if err := netlink.LinkAdd(veth); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
