package policy

import "time"

// Code is the closed set of reasons.
type Code uint8

// The reasons.
const (
	CodeNone             Code = iota
	CodeHealthy               // every requirement holds
	CodeNotRequired           // require: none
	CodeStarting              // the first round of checks is not over
	CodeStopping              // the agent was asked to end
	CodeCheckPending          // a check has no verdict yet
	CodeCheckFailed           // a check failed
	CodeCheckDegraded         // a check is degraded, or a dependency failed
	CodeCheckError            // a check could not ask
	CodeAdvisory              // an advisory check failed; changes nothing
	CodeRecoveryDelay         // healthy again, but not for long enough
	CodeAddressUnknown        // the host was not looked at yet
	CodeAddressAbsent         // the address is not on this host
	CodeAddressTentative      // duplicate address detection is not over
	CodeAddressUnstable       // someone keeps removing the address
	CodeAddressRefused        // the address may not be added
	CodeNoPeer                // no peer is configured
	CodeSessionDown           // a peer's session is not Established
	CodeFamilyMissing         // a peer does not take this address family
	CodeNoNextHop6            // no IPv6 next hop is known for a peer
	CodeNotSent               // wanted, but not yet in the peer's Adj-RIB-Out
	CodeOverload              // a check has no answer in time, which changes nothing
	CodeStartDelay            // the host has booted only just now
	CodeDraining              // an operator takes it off, step by step
	CodeDrained               // an operator took it off
	CodeBackup                // another router is Active
	CodeNoSuccessor           // drained, but no other router takes over
	CodeLink                  // the link of a virtual router is missing or down, has no address to send from, is too small for the advertisement, or cannot have its addresses
	CodeNotOwner              // priority 255 for an address that this host does not own
	CodeOffSegment            // an address is in no network of its link
	CodeRouter                // a virtual router cannot do its work
	CodeRival                 // another router or host is at odds with this one
	CodeFallback              // no BGP session is up, or was until now: VRRP is the way to it
)

var codeNames = [...]string{"none", "healthy", "not_required", "starting", "stopping", "check_pending", "check_failed", "check_degraded",
	"check_error", "advisory", "recovery_delay", "address_unknown", "address_absent", "address_tentative", "address_unstable",
	"address_refused", "no_peer", "session_down", "family_missing", "no_next_hop6", "not_sent",
	"overload", "start_delay", "draining", "drained",
	"backup", "no_successor", "link", "not_owner", "off_segment", "router", "rival", "fallback"}

func (c Code) String() string { return codeNames[c] }

// Reason is one link of the chain that led to a decision.
type Reason struct {
	Code    Code
	Subject string    // the check, peer or address it is about; may be empty
	Detail  string    // one line for an operator; may be empty
	Since   time.Time // zero where time has no meaning
	Until   time.Time // when it ends by itself; zero: not by time
}

// String is the reason as one line, without times.
func (r Reason) String() string {
	s := r.Code.String()
	if r.Subject != "" {
		s += " " + r.Subject
	}
	if r.Detail != "" {
		s += ": " + r.Detail
	}
	return s
}
