package watch

import (
	"fmt"
	"net/netip"

	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// decodeMessage reads one whole BGP message. A message that is malformed comes back as far as it could be read, with
// Error set: a watcher reports what it sees.
func decodeMessage(raw []byte, options *bgp.MarshallingOption) (m Message, open *bgp.BGPOpen) {
	m = Message{Type: typeOf(raw), Length: len(raw)}
	parsed, err := parse(raw, options)
	if err != nil {
		m.Error = err.Error()
	}
	if parsed == nil {
		return m, nil
	}
	switch body := parsed.Body.(type) {
	case *bgp.BGPOpen:
		m.Opened = &Opened{ASN: openASN(body), HoldTime: int(body.HoldTime), RouterID: body.ID}
		return m, body
	case *bgp.BGPUpdate:
		m.readUpdate(body)
	case *bgp.BGPNotification:
		m.Notified = readNotification(body)
	}
	return m, nil
}

// parse calls GoBGP's parser, which had panics on malformed input before (CVE-2026-41643). An instrument that watches
// what others send must outlive it, hence the recover.
func parse(raw []byte, options *bgp.MarshallingOption) (m *bgp.BGPMessage, err error) {
	defer func() {
		if p := recover(); p != nil {
			m, err = nil, fmt.Errorf("parser panicked: %v", p)
		}
	}()
	m, err = bgp.ParseBGPMessage(raw, options)
	if m != nil && m.Body == nil {
		m = nil
	}
	return m, err
}

func typeOf(raw []byte) Type {
	return map[byte]Type{1: Open, 2: Update, 3: Notification, 4: Keepalive, 5: RouteRefresh}[raw[headerLen-1]]
}

func (m *Message) readUpdate(u *bgp.BGPUpdate) {
	if m.Error == "" {
		if is, family := u.IsEndOfRib(); is {
			m.EndOfRIB = family.String()
			return
		}
	}
	for _, w := range u.WithdrawnRoutes {
		m.withdraw(w)
	}
	var attributes Attributes
	var nextHop netip.Addr
	for _, a := range u.PathAttributes {
		switch a := a.(type) {
		case *bgp.PathAttributeNextHop:
			nextHop = a.Value
		case *bgp.PathAttributeMpReachNLRI:
			for _, n := range a.Value {
				m.announce(n, mpNextHop(a))
			}
		case *bgp.PathAttributeMpUnreachNLRI:
			for _, n := range a.Value {
				m.withdraw(n)
			}
		default:
			attributes.read(a)
		}
	}
	for _, n := range u.NLRI {
		m.announce(n, nextHop)
	}
	if len(m.Announced) > 0 {
		m.Attributes = &attributes
	}
}

func mpNextHop(a *bgp.PathAttributeMpReachNLRI) netip.Addr {
	if a.Nexthop.IsUnspecified() && a.LinkLocalNexthop.IsValid() {
		return a.LinkLocalNexthop
	}
	return a.Nexthop
}

func (m *Message) announce(n bgp.PathNLRI, nextHop netip.Addr) {
	if prefix, ok := prefixOf(n); ok {
		m.Announced = append(m.Announced, NLRI{Prefix: prefix, NextHop: nextHop, PathID: n.ID})
	}
}

func (m *Message) withdraw(n bgp.PathNLRI) {
	if prefix, ok := prefixOf(n); ok {
		m.Withdrawn = append(m.Withdrawn, prefix)
	}
}

// prefixOf is false for families other than unicast.
func prefixOf(n bgp.PathNLRI) (netip.Prefix, bool) {
	p, ok := n.NLRI.(*bgp.IPAddrPrefix)
	if !ok {
		return netip.Prefix{}, false
	}
	return p.Prefix, true
}

func (to *Attributes) read(a bgp.PathAttributeInterface) {
	switch a := a.(type) {
	case *bgp.PathAttributeOrigin:
		to.Origin = map[uint8]string{0: "igp", 1: "egp", 2: "incomplete"}[a.Value]
	case *bgp.PathAttributeAsPath:
		for _, segment := range a.Value {
			to.ASPath = append(to.ASPath, segment.GetAS()...)
		}
	case *bgp.PathAttributeMultiExitDisc:
		to.MED = &a.Value
	case *bgp.PathAttributeLocalPref:
		to.LocalPref = &a.Value
	case *bgp.PathAttributeCommunities:
		for _, c := range a.Value {
			to.Communities = append(to.Communities, fmt.Sprintf("%d:%d", c>>16, c&0xffff))
		}
	case *bgp.PathAttributeLargeCommunities:
		for _, c := range a.Values {
			to.LargeCommunities = append(to.LargeCommunities, fmt.Sprintf("%d:%d:%d", c.ASN, c.LocalData1, c.LocalData2))
		}
	}
}

func readNotification(n *bgp.BGPNotification) *Notified {
	out := &Notified{Code: n.ErrorCode, Subcode: n.ErrorSubcode}
	code, subcode, data := n.ErrorCode, n.ErrorSubcode, n.Data
	if code == bgp.BGP_ERROR_CEASE && subcode == bgp.BGP_ERROR_SUB_HARD_RESET && len(data) >= 2 {
		code, subcode, data = data[0], data[1], data[2:]
	}
	shutdown := subcode == bgp.BGP_ERROR_SUB_ADMINISTRATIVE_SHUTDOWN || subcode == bgp.BGP_ERROR_SUB_ADMINISTRATIVE_RESET
	if code == bgp.BGP_ERROR_CEASE && shutdown && len(data) > 0 && int(data[0]) <= len(data)-1 {
		out.Text = string(data[1 : 1+int(data[0])])
	}
	return out
}

func capabilities(open *bgp.BGPOpen) []bgp.ParameterCapabilityInterface {
	var out []bgp.ParameterCapabilityInterface
	for _, p := range open.OptParams {
		if c, is := p.(*bgp.OptionParameterCapability); is {
			out = append(out, c.Capability...)
		}
	}
	return out
}

func openASN(open *bgp.BGPOpen) uint32 {
	for _, c := range capabilities(open) {
		if four, is := c.(*bgp.CapFourOctetASNumber); is {
			return four.CapValue
		}
	}
	return uint32(open.MyAS)
}

// negotiated is how to read what sender sends to receiver, given their OPENs. Without both, the common case is
// assumed: four-octet AS numbers, no add-path.
func negotiated(sender, receiver *bgp.BGPOpen) *bgp.MarshallingOption {
	options := &bgp.MarshallingOption{AddPath: map[bgp.Family]bgp.BGPAddPathMode{}}
	if sender == nil || receiver == nil {
		return options
	}
	options.Use2ByteAS = !hasFourOctetAS(sender) || !hasFourOctetAS(receiver)
	wanted := addPath(receiver)
	for family, mode := range addPath(sender) {
		if mode&bgp.BGP_ADD_PATH_SEND != 0 && wanted[family]&bgp.BGP_ADD_PATH_RECEIVE != 0 {
			options.AddPath[family] = bgp.BGP_ADD_PATH_RECEIVE // we read as the receiver does
		}
	}
	return options
}

func hasFourOctetAS(open *bgp.BGPOpen) bool {
	for _, c := range capabilities(open) {
		if c.Code() == bgp.BGP_CAP_FOUR_OCTET_AS_NUMBER {
			return true
		}
	}
	return false
}

func addPath(open *bgp.BGPOpen) map[bgp.Family]bgp.BGPAddPathMode {
	modes := map[bgp.Family]bgp.BGPAddPathMode{}
	for _, c := range capabilities(open) {
		if add, is := c.(*bgp.CapAddPath); is {
			for _, t := range add.Tuples {
				modes[t.Family] = t.Mode
			}
		}
	}
	return modes
}
