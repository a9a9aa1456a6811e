package neighbor

import (
	"net"
	"net/netip"

	"github.com/mdlayher/ndp"
)

// kind is what a message is, as far as we are concerned.
type kind uint8

const (
	other kind = iota // or not valid: ignored
	solicitation
	advertisement
)

var kindNames = [...]string{"other", "solicitation", "advertisement"}

func (k kind) String() string { return kindNames[k] }

// message is a valid message.
type message struct {
	kind kind
	from netip.Addr // with the link's name as zone
}

// packet is an ICMPv6 packet as a link received it.
type packet struct {
	from     netip.Addr // with the link's name as zone
	hopLimit int
	data     []byte // from the ICMPv6 type on
}

// ICMPv6 types, and lengths without options: RFC 4861, sections 4.1 and 4.2.
const (
	solicitationType, solicitationLen   = 133, 8
	advertisementType, advertisementLen = 134, 16
)

// parse says what a packet is, if it is valid by RFC 4861, section 6.1. The
// kernel has checked the checksum. Options are only stepped over: what they
// carry is none of our business, and nothing in them makes a router unknown.
func parse(p packet) kind {
	if p.hopLimit != ndp.HopLimit || len(p.data) < solicitationLen || p.data[1] != 0 {
		return other
	}
	switch p.data[0] {
	case solicitationType:
		if wellFormed(p.data[solicitationLen:]) {
			return solicitation
		}
	case advertisementType:
		if p.from.IsLinkLocalUnicast() && len(p.data) >= advertisementLen && wellFormed(p.data[advertisementLen:]) {
			return advertisement
		}
	}
	return other
}

// wellFormed says whether options fill b exactly, each with a length above 0.
func wellFormed(b []byte) bool {
	for len(b) > 0 {
		if len(b) < 2 || b[1] == 0 || len(b) < int(b[1])*8 {
			return false
		}
		b = b[int(b[1])*8:]
	}
	return true
}

// compose is what we send. Our advertisement makes nobody use us as a default
// router, nor form an address: everything in it is 0, unspecified. A link without
// Ethernet addresses goes without the option.
func compose(k kind, mac net.HardwareAddr) ndp.Message {
	var options []ndp.Option
	if len(mac) == 6 {
		options = []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: mac}}
	}
	if k == solicitation {
		return &ndp.RouterSolicitation{Options: options}
	}
	return &ndp.RouterAdvertisement{Options: options}
}
