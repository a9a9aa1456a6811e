package hostile

import (
	"encoding/binary"
	"net/netip"
)

// The types of a message, RFC 4271, section 4.1, and RFC 2918.
const (
	typeOpen         = 1
	typeUpdate       = 2
	typeNotification = 3
	typeKeepalive    = 4
	typeRouteRefresh = 5
)

const headerLength = 19 // marker, length, type

// message puts a header before a body.
func message(kind byte, body []byte) []byte {
	m := make([]byte, headerLength, headerLength+len(body))
	for i := range 16 {
		m[i] = 0xff
	}
	binary.BigEndian.PutUint16(m[16:], uint16(headerLength+len(body)))
	m[18] = kind
	return append(m, body...)
}

func keepalive() []byte { return message(typeKeepalive, nil) }

// open is an OPEN with the capabilities of a modern router.
func open(asn uint32, holdTime uint16, id netip.Addr) []byte {
	capabilities := []byte{
		1, 4, 0, 1, 0, 1, // multiprotocol: IPv4 unicast
		1, 4, 0, 2, 0, 1, // IPv6 unicast
		2, 0, // route refresh
		70, 0, // enhanced route refresh
		6, 0, // extended messages
		65, 4, 0, 0, 0, 0, // four-octet AS
		64, 2, 0x00, 0x78, // graceful restart, 120 s
		69, 4, 0, 1, 1, 1, // add-path for IPv4 unicast: receive
	}
	binary.BigEndian.PutUint32(capabilities[20:], asn)
	as2 := uint16(23456) // AS_TRANS, RFC 6793
	if asn < 1<<16 {
		as2 = uint16(asn)
	}
	body := []byte{4}
	body = binary.BigEndian.AppendUint16(body, as2)
	body = binary.BigEndian.AppendUint16(body, holdTime)
	body = append(body, id.AsSlice()...)
	body = append(body, byte(2+len(capabilities)), 2, byte(len(capabilities)))
	return message(typeOpen, append(body, capabilities...))
}

// update is an UPDATE of its three parts.
func update(withdrawn []byte, attributes [][]byte, announced []byte) []byte {
	var all []byte
	for _, a := range attributes {
		all = append(all, a...)
	}
	body := binary.BigEndian.AppendUint16(nil, uint16(len(withdrawn)))
	body = append(body, withdrawn...)
	body = binary.BigEndian.AppendUint16(body, uint16(len(all)))
	body = append(body, all...)
	return message(typeUpdate, append(body, announced...))
}

// The flags of an attribute.
const (
	optional   = 0x80
	transitive = 0x40
	extended   = 0x10 // the length has two octets
)

// attribute puts flags, type and length before a value.
func attribute(flags, kind byte, value ...byte) []byte {
	if len(value) > 255 {
		flags |= extended
	}
	a := []byte{flags, kind}
	if flags&extended != 0 {
		a = binary.BigEndian.AppendUint16(a, uint16(len(value)))
	} else {
		a = append(a, byte(len(value)))
	}
	return append(a, value...)
}

// mandatory are the attributes that an UPDATE with IPv4 routes must have.
func mandatory(asn uint32, nextHop netip.Addr) [][]byte {
	path := binary.BigEndian.AppendUint32([]byte{2, 1}, asn) // one AS_SEQUENCE of one
	return [][]byte{
		attribute(transitive, 1, 0), // ORIGIN IGP
		attribute(transitive, 2, path...),
		attribute(transitive, 3, nextHop.AsSlice()...),
	}
}

// others are attributes that are valid, or would be with their family negotiated.
func others() [][]byte {
	mpReach := func(afi uint16, safi byte, nextHop []byte, nlri ...byte) []byte {
		value := binary.BigEndian.AppendUint16(nil, afi)
		value = append(value, safi, byte(len(nextHop)))
		value = append(value, nextHop...)
		value = append(value, 0) // reserved
		return attribute(optional, 14, append(value, nlri...)...)
	}
	ipv4 := []byte{10, 2, 1, 1}
	ipv6 := netip.MustParseAddr("fd00:2:1::1").AsSlice()
	rd := []byte{0, 0, 0xfd, 0xe8, 0, 0, 0, 1} // a route distinguisher
	return [][]byte{
		attribute(optional, 4, 0, 0, 0, 100),                                                                                                 // MULTI_EXIT_DISC
		attribute(transitive, 5, 0, 0, 0, 200),                                                                                               // LOCAL_PREF
		attribute(transitive, 6),                                                                                                             // ATOMIC_AGGREGATE
		attribute(optional|transitive, 7, 0, 0, 0xfd, 0xe9, 10, 2, 0, 1),                                                                     // AGGREGATOR
		attribute(optional|transitive, 8, 0xff, 0xff, 0, 0, 0xfd, 0xe8, 0, 100),                                                              // COMMUNITIES, GRACEFUL_SHUTDOWN first
		attribute(optional, 9, 10, 2, 0, 9),                                                                                                  // ORIGINATOR_ID
		attribute(optional, 10, 10, 2, 0, 8, 10, 2, 0, 7),                                                                                    // CLUSTER_LIST
		attribute(optional|transitive, 16, 0, 2, 0xfd, 0xe8, 0, 0, 0, 1, 3, 12, 0, 0, 0, 0, 0, 8),                                            // EXTENDED_COMMUNITIES
		attribute(optional|transitive, 17, 2, 1, 0, 0, 0xfd, 0xe9),                                                                           // AS4_PATH
		attribute(optional|transitive, 18, 0, 0, 0xfd, 0xe9, 10, 2, 0, 1),                                                                    // AS4_AGGREGATOR
		attribute(optional|transitive, 22, 0, 6, 0, 0, 1, 10, 2, 1, 1),                                                                       // PMSI_TUNNEL, ingress replication
		attribute(optional|transitive, 23, 0, 8, 0, 10, 4, 8, 3, 11, 0, 0, 0, 0, 0, 1),                                                       // TUNNEL_ENCAPSULATION, VXLAN with a colour
		attribute(optional, 26, 1, 0, 11, 0, 0, 0, 0, 0, 0, 0, 9),                                                                            // AIGP
		attribute(optional, 29, 4, 8, 0, 4, 'r', 'o', 'o', 't'),                                                                              // BGP-LS: a name
		attribute(optional|transitive, 32, 0, 0, 0xfd, 0xe8, 0, 0, 0, 1, 0, 0, 0, 2),                                                         // LARGE_COMMUNITY
		attribute(optional|transitive, 40, 1, 0, 7, 0, 0, 0, 0, 0, 0, 5),                                                                     // PREFIX_SID: a label index
		attribute(optional|transitive, 99, 1, 2, 3, 4),                                                                                       // nobody's
		attribute(optional, 15, 0, 2, 1, 64, 0x20, 0x01, 0x0d, 0xb8, 0, 0x10, 0, 0),                                                          // MP_UNREACH_NLRI of IPv6 unicast
		mpReach(2, 1, ipv6, 128, 0x20, 0x01, 0x0d, 0xb8, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10),                                           // IPv6 unicast: our VIP
		mpReach(1, 4, ipv4, 48, 0x00, 0x06, 0x41, 203, 0, 113),                                                                               // IPv4 with a label
		mpReach(1, 128, append(make([]byte, 8), ipv4...), append([]byte{112, 0, 6, 0x41}, append(rd, 203, 0, 113)...)...),                    // VPNv4
		mpReach(25, 70, ipv4, append([]byte{2, 33}, append(rd, append(make([]byte, 14), 48, 2, 0, 0, 0, 0, 1, 0, 0, 0, 1)...)...)...),        // EVPN, MAC
		mpReach(1, 133, nil, 11, 1, 24, 203, 0, 113, 3, 0x81, 6, 5, 0x81, 80),                                                                // flow specification
		mpReach(16388, 71, ipv4, 0, 1, 0, 29, 2, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 16, 2, 0, 0, 4, 0, 0, 0xfd, 0xe9, 2, 3, 0, 4, 10, 2, 1, 1), // BGP-LS: a node
		mpReach(1, 132, ipv4, 96, 0, 0, 0xfd, 0xe8, 0, 2, 0xfd, 0xe8, 0, 0, 0, 1),                                                            // route target membership
		mpReach(1, 73, ipv4, 96, 0, 0, 0, 1, 0, 0, 0, 2, 10, 2, 1, 1),                                                                        // segment routing policy
	}
}

// routes are IPv4 NLRI, among them one of the speaker's own VIPs and the default.
var routes = [][]byte{
	{32, 192, 0, 2, 10}, {24, 203, 0, 113}, {8, 10}, {0}, {25, 198, 51, 100, 128}, {16, 10, 1},
}
