package gobgp

import (
	"fmt"
	"strings"
	"syscall"

	"github.com/osrg/gobgp/v4/api"

	"github.com/anyvip/anyvip/bgp"
	"github.com/anyvip/anyvip/pkg/vip"
)

// dialFailure reads the error of a dial, which reaches us as text.
func dialFailure(text string, p bgp.Peer) failure {
	is := func(errs ...syscall.Errno) bool {
		for _, e := range errs {
			if strings.HasSuffix(text, e.Error()) {
				return true
			}
		}
		return false
	}
	switch {
	case is(syscall.ECONNREFUSED):
		return failure{vip.CauseRefused, fmt.Sprintf("%s refuses TCP port %d: its BGP daemon is not running, or a filter rejects us", p.Address, p.Port)}
	case is(syscall.ECONNRESET):
		return failure{vip.CausePeerClosed, fmt.Sprintf("%s resets the connection to port %d: it does not know this address as a neighbour", p.Address, p.Port)}
	case is(syscall.EHOSTUNREACH, syscall.ENETUNREACH):
		detail := fmt.Sprintf("no way to %s: %s", p.Address, lastPart(text))
		if p.Multihop == 0 {
			detail += " (one more than a hop away needs multihop)"
		}
		return failure{vip.CauseUnreachable, detail}
	case is(syscall.ETIMEDOUT) || strings.HasSuffix(text, "i/o timeout"):
		return failure{vip.CauseSilent, silentDetail(p)}
	case is(syscall.EADDRNOTAVAIL) && !p.LocalAddress.IsValid():
		return failure{vip.CauseLocal, fmt.Sprintf("no address of this host can reach %s yet: duplicate address detection is under way, or failed", p.Address)}
	case is(syscall.EADDRNOTAVAIL):
		return failure{vip.CauseLocal, fmt.Sprintf("this host does not have local_address %s", p.LocalAddress)}
	case is(syscall.EPERM, syscall.EACCES):
		return failure{vip.CauseLocal, fmt.Sprintf("dialling %s is not permitted (%s): a local filter, or a missing privilege", p.Address, lastPart(text))}
	}
	return failure{vip.CauseLocal, "cannot dial: " + text}
}

func silentDetail(p bgp.Peer) string {
	s := fmt.Sprintf("no answer from %s port %d to TCP SYN: a dead host, a filter", p.Address, p.Port)
	switch {
	case p.TTLSecurity && p.Password != "":
		return s + ", another password there, or more than one hop between (ttl_security)"
	case p.TTLSecurity:
		return s + ", a password that the peer wants, or more than one hop between (ttl_security)"
	case p.Password != "":
		return s + ", or another password there"
	}
	return s + ", or a password that the peer wants"
}

// downFailure says what GoBGP's reason for going Idle means, where no log
// message has said more.
func downFailure(reason api.PeerState_DisconnectReason, was vip.SessionState, p *peer) (failure, bool) {
	switch reason { //nolint:exhaustive // the other reasons are NOTIFICATIONs, which have been seen as such
	case api.PeerState_DISCONNECT_REASON_READ_FAILED, api.PeerState_DISCONNECT_REASON_WRITE_FAILED:
		if was == vip.Established {
			return failure{vip.CausePeerClosed, "the connection ended without a NOTIFICATION: the peer's daemon died, or its host restarted"}, true
		}
		return failure{vip.CausePeerClosed, "the peer closed the connection during the handshake"}, true
	case api.PeerState_DISCONNECT_REASON_HOLD_TIMER_EXPIRED:
		if was == vip.Established {
			return failure{vip.CauseHoldExpired, fmt.Sprintf("heard nothing from the peer for %s", p.session.HoldTime)}, true
		}
		return silence(p), true
	case api.PeerState_DISCONNECT_REASON_INVALID_MSG:
		if was == vip.OpenConfirm {
			return failure{vip.CauseNotification, "the peer refused our OPEN with a NOTIFICATION, most often because it expects another AS from us; its log names the error"}, true
		}
	}
	return failure{}, false // the NOTIFICATION that was sent or received has said it
}

// closedUnheard is a peer that hangs up on us at once.
var closedUnheard = failure{vip.CausePeerClosed,
	"the peer closes the connection before it says OPEN: it has no session configured for this address, or is starting"}

// silence is a handshake that stands still.
func silence(p *peer) failure {
	if p.session.State == vip.OpenConfirm {
		return failure{vip.CauseNoOpen, "the peer said OPEN and then nothing: does it have ttl_security, or another MTU on the way?"}
	}
	return noOpen(p.want)
}

func noOpen(p bgp.Peer) failure {
	return failure{vip.CauseNoOpen, fmt.Sprintf("TCP to %s port %d is up, but the peer says nothing: is it a BGP speaker, and is it alive?", p.Address, p.Port)}
}

// lastPart is the system's own words in a dial error.
func lastPart(text string) string {
	parts := strings.Split(text, ": ")
	return parts[len(parts)-1]
}
