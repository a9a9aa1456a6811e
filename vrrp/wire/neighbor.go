package wire

import (
	"net"
	"net/netip"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"
)

var (
	broadcast   = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	allNodesMAC = net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}
	allNodes    = netip.MustParseAddr("ff02::1")
)

// arpAnnouncement is an ARP request for our own address, as keepalived and FRR send it.
func arpAnnouncement(addr netip.Addr, mac net.HardwareAddr) ([]byte, error) {
	p, err := arp.NewPacket(arp.OperationRequest, mac, addr, broadcast, addr)
	if err != nil {
		return nil, err
	}
	return p.MarshalBinary()
}

// arpProbe asks who has an address, and claims nothing: RFC 5227, section 2.1.1.
func arpProbe(addr netip.Addr, mac net.HardwareAddr) ([]byte, error) {
	p, err := arp.NewPacket(arp.OperationRequest, mac, netip.IPv4Unspecified(), make(net.HardwareAddr, 6), addr)
	if err != nil {
		return nil, err
	}
	return p.MarshalBinary()
}

// unsolicitedNA is an IPv6 packet with a neighbor advertisement from the address itself.
func unsolicitedNA(addr netip.Addr, mac net.HardwareAddr, router bool) ([]byte, error) {
	return icmpPacket(&ndp.NeighborAdvertisement{Router: router, Override: true, TargetAddress: addr,
		Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: mac}}}, addr, allNodes)
}

// neighborSolicitation is an IPv6 packet that asks who has an address, as duplicate
// address detection does (RFC 4862, section 5.4.2), and the MAC of the group that it is for.
func neighborSolicitation(addr netip.Addr) (packet []byte, to net.HardwareAddr, err error) {
	group, err := ndp.SolicitedNodeMulticast(addr)
	if err != nil {
		return nil, nil, err
	}
	low := group.As16()
	packet, err = icmpPacket(&ndp.NeighborSolicitation{TargetAddress: addr}, netip.IPv6Unspecified(), group)
	return packet, append(net.HardwareAddr{0x33, 0x33}, low[12:]...), err
}

// icmpPacket is an IPv6 packet with a message of neighbour discovery.
func icmpPacket(m ndp.Message, src, dst netip.Addr) ([]byte, error) {
	message, err := ndp.MarshalMessageChecksum(m, src, dst)
	if err != nil {
		return nil, err
	}
	packet := make([]byte, 40, 40+len(message))
	packet[0] = 0x60                   // version 6
	packet[5] = byte(len(message))     // payload length, below 256
	packet[6], packet[7] = icmpv6, 255 // next header, hop limit
	src16, dst16 := src.As16(), dst.As16()
	copy(packet[8:], src16[:])
	copy(packet[24:], dst16[:])
	return append(packet, message...), nil
}
