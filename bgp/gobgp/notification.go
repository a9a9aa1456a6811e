package gobgp

import (
	"fmt"
	"strings"

	packet "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/anyvip/anyvip/bgp"
	"github.com/anyvip/anyvip/pkg/vip"
)

// notificationFailure says what a NOTIFICATION that we sent or received means
// (RFC 4271, section 4.5; Cease: RFC 4486, RFC 9003).
func notificationFailure(sent bool, code, subcode uint8, text string, p bgp.Peer) failure {
	who := "the peer sent"
	if sent {
		who = "we sent"
	}
	detail := fmt.Sprintf("%s NOTIFICATION %d/%d (%s)", who, code, subcode, notificationName(code, subcode))
	if text != "" {
		detail += fmt.Sprintf(": %q", text)
	}
	f := failure{vip.CauseNotification, detail}
	switch code {
	case packet.BGP_ERROR_HOLD_TIMER_EXPIRED:
		f.cause = vip.CauseHoldExpired
		f.detail = fmt.Sprintf("hold timer expired: heard nothing from the peer for the hold time (configured: %s)", p.HoldTime)
		if !sent {
			f.detail = "the peer's hold timer expired: it heard nothing from us"
		}
	case packet.BGP_ERROR_OPEN_MESSAGE_ERROR:
		switch subcode {
		case packet.BGP_ERROR_SUB_BAD_PEER_AS:
			f.cause = vip.CauseWrongAS
			f.detail = fmt.Sprintf("the peer says another AS than %d: correct asn here, or the AS there", p.ASN)
			if !sent {
				f.detail = "the peer expects another AS from us (NOTIFICATION 2/2): correct asn here, or the neighbour's AS there"
			}
		case packet.BGP_ERROR_SUB_BAD_BGP_IDENTIFIER:
			f.cause = vip.CauseWrongID
			f.detail += ": two speakers have the same router_id, or it is 0.0.0.0"
		}
	case packet.BGP_ERROR_CEASE:
		if !sent {
			f.cause = vip.CausePeerClosed
		}
	}
	return f
}

// notificationName is what the registry of BGP error codes calls them.
func notificationName(code, subcode uint8) string {
	names := map[uint8][]string{
		packet.BGP_ERROR_MESSAGE_HEADER_ERROR: {"message header error", "connection not synchronized", "bad message length", "bad message type"},
		packet.BGP_ERROR_OPEN_MESSAGE_ERROR: {"OPEN message error", "unsupported version number", "bad peer AS", "bad BGP identifier",
			"unsupported optional parameter", "authentication failure", "unacceptable hold time", "unsupported capability", "", "", "", "role mismatch"},
		packet.BGP_ERROR_UPDATE_MESSAGE_ERROR: {"UPDATE message error", "malformed attribute list", "unrecognized well-known attribute",
			"missing well-known attribute", "attribute flags error", "attribute length error", "invalid ORIGIN attribute", "AS routing loop",
			"invalid NEXT_HOP attribute", "optional attribute error", "invalid network field", "malformed AS_PATH"},
		packet.BGP_ERROR_HOLD_TIMER_EXPIRED: {"hold timer expired"},
		packet.BGP_ERROR_FSM_ERROR: {"finite state machine error", "unexpected message in OpenSent", "unexpected message in OpenConfirm",
			"unexpected message in Established"},
		packet.BGP_ERROR_CEASE: {"Cease", "maximum number of prefixes reached", "administrative shutdown", "peer de-configured",
			"administrative reset", "connection rejected", "other configuration change", "connection collision resolution", "out of resources",
			"hard reset", "BFD down"},
		packet.BGP_ERROR_ROUTE_REFRESH_MESSAGE_ERROR: {"ROUTE-REFRESH message error", "invalid message length"},
	}[code]
	switch {
	case names == nil:
		return "unknown"
	case subcode == 0 || int(subcode) >= len(names) || names[subcode] == "":
		return names[0]
	}
	return names[0] + ", " + names[subcode]
}

// asText is a NOTIFICATION's shutdown communication (RFC 9003), if it has one.
func asText(data []byte) string {
	if len(data) < 2 || int(data[0]) > len(data)-1 {
		return ""
	}
	return strings.ToValidUTF8(string(data[1:1+int(data[0])]), "?")
}
