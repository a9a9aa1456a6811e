package vip

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Announcement is one host route with every path attribute that we set. The
// next hop is the session's own affair, ORIGIN is always IGP.
type Announcement struct {
	Prefix           netip.Prefix
	MED              uint32 // 0 is sent as 0
	LocalPref        uint32 // sent on iBGP sessions only
	Prepend          uint8  // our AS number this many times more, on eBGP
	Weight           uint16 // share of the traffic beside other servers, as link bandwidth; 0: nothing is said
	Communities      []Community
	LargeCommunities []LargeCommunity
}

// Equal compares every attribute. Communities are sets: their order is that of
// Normalize, which whoever makes an Announcement has called.
func (a Announcement) Equal(b Announcement) bool {
	return a.Prefix == b.Prefix && a.MED == b.MED && a.LocalPref == b.LocalPref && a.Prepend == b.Prepend && a.Weight == b.Weight &&
		slices.Equal(a.Communities, b.Communities) && slices.Equal(a.LargeCommunities, b.LargeCommunities)
}

// Normalize returns a with its communities sorted and without doubles.
func (a Announcement) Normalize() Announcement {
	if len(a.Communities) > 1 {
		a.Communities = slices.Compact(slices.Sorted(slices.Values(a.Communities)))
	}
	if len(a.LargeCommunities) > 1 {
		a.LargeCommunities = slices.Compact(slices.SortedFunc(slices.Values(a.LargeCommunities), LargeCommunity.Compare))
	}
	return a
}

// Community is a standard community (RFC 1997): AS number and value, 16 bits each.
type Community uint32

// GracefulShutdown is the well-known community 65535:0 (RFC 8326).
const GracefulShutdown Community = 0xffff0000

func (c Community) String() string { return fmt.Sprintf("%d:%d", c>>16, c&0xffff) }

// MarshalText writes "65000:100".
func (c Community) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads "65000:100"; both halves are 0 to 65535.
func (c *Community) UnmarshalText(text []byte) error {
	parts, err := parseParts(string(text), 2, 16)
	if err != nil {
		return fmt.Errorf("community %q: %w, written like 65000:100", text, err)
	}
	*c = Community(parts[0]<<16 | parts[1])
	return nil
}

// LargeCommunity is a large community (RFC 8092).
type LargeCommunity struct{ Global, Local1, Local2 uint32 }

func (c LargeCommunity) String() string { return fmt.Sprintf("%d:%d:%d", c.Global, c.Local1, c.Local2) }

// Compare orders large communities as RFC 8092 numbers them.
func (c LargeCommunity) Compare(d LargeCommunity) int {
	return slices.Compare([]uint32{c.Global, c.Local1, c.Local2}, []uint32{d.Global, d.Local1, d.Local2})
}

// MarshalText writes "65000:1:2".
func (c LargeCommunity) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads "65000:1:2"; each part is 0 to 4294967295.
func (c *LargeCommunity) UnmarshalText(text []byte) error {
	parts, err := parseParts(string(text), 3, 32)
	if err != nil {
		return fmt.Errorf("large community %q: %w, written like 65000:1:2", text, err)
	}
	*c = LargeCommunity{parts[0], parts[1], parts[2]}
	return nil
}

func parseParts(s string, n, bits int) ([]uint32, error) {
	fields := strings.Split(s, ":")
	if len(fields) != n {
		return nil, fmt.Errorf("want %d numbers", n)
	}
	parts := make([]uint32, n)
	for i, f := range fields {
		v, err := strconv.ParseUint(f, 10, bits)
		if err != nil {
			return nil, fmt.Errorf("%q is not a number of 0 to %d", f, uint64(1)<<bits-1)
		}
		parts[i] = uint32(v)
	}
	return parts, nil
}
