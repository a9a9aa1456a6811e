package vrrp

// Drop says why a packet is not taken into account. It is the label of a metric too.
type Drop uint8

// The reasons.
const (
	Accepted         Drop = iota
	DropShort             // it ends before its fields and addresses do
	DropVersion           // a version that is not spoken over this protocol
	DropType              // not an ADVERTISEMENT
	DropCARP              // BSD's CARP, which has the same protocol number and group
	DropChecksum          // of neither kind
	DropAuthType          // an authentication of RFC 2338 that nobody uses
	DropNoAddress         // an empty list, RFC 9568, erratum 8299
	DropInterval          // an interval of 0, RFC 9568, erratum 8301
	DropHopLimit          // it came through a router, RFC 9568, section 5.1.1.3
	DropVRID              // no virtual router of ours has this number on this link
	DropSender            // from none of the unicast peers: to us alone, or to the group beside a list of them
	DropPassword          // another password than ours, or one on one side only
	DropOtherVersion      // another version than ours under our VRID
	DropOwner             // somebody advertises what we own with priority 255
	DropOwn               // sent by this router itself
)

var dropNames = [...]string{"accepted", "short", "version", "type", "carp", "checksum", "auth_type", "no_address", "interval", "hop_limit",
	"vrid", "sender", "password", "other_version", "owner", "own"}

func (d Drop) String() string { return dropNames[d] }
