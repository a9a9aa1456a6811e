package watch

import (
	"encoding/hex"
	"strings"
	"testing"
)

// unhex joins hex digits; what follows a # is a comment.
func unhex(t testing.TB, text string) []byte {
	t.Helper()
	var digits strings.Builder
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		digits.WriteString(strings.Join(strings.Fields(line), ""))
	}
	b, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const goldenOpen = `
	ffffffff ffffffff ffffffff ffffffff  # marker
	002d                                 # length 45
	01                                   # OPEN
	04                                   # version
	fe4d                                 # AS 65101
	0009                                 # hold time
	0a000102                             # 10.0.1.2
	10                                   # optional parameters, 16 bytes
	02 0e                                # capabilities
	01 04 0001 00 01                     # multiprotocol, IPv4 unicast
	41 04 0000fe4d                       # four-octet AS 65101
	02 00                                # route refresh
`

// goldenUpdate announces an IPv4 and an IPv6 VIP with everything that a drain sets, and withdraws another one.
const goldenUpdate = `
	ffffffff ffffffff ffffffff ffffffff
	008b                                 # length 139
	02                                   # UPDATE
	0005                                 # withdrawn routes
	20 c000020b                          # 192.0.2.11/32
	006a                                 # path attributes, 106 bytes
	40 01 01 00                          # ORIGIN IGP
	40 02 12 02 04 0000fe4d 0000fe4d 0000fe4d 0000fe4d   # AS_PATH 65101, prepended 3 times
	40 03 04 0a000102                    # NEXT_HOP 10.0.1.2
	80 04 04 ffffffff                    # MED, the worst
	c0 08 08 ffff0000 fde80064           # COMMUNITIES 65535:0 65000:100
	c0 20 0c 0000fde8 00000001 00000002  # LARGE_COMMUNITY 65000:1:2
	80 0e 26 0002 01                     # MP_REACH_NLRI, IPv6 unicast
	   10 fd000001000000000000000000000002  # next hop fd00:1::2
	   00
	   80 20010db8001000000000000000000010  # 2001:db8:10::10/128
	20 c000020a                          # NLRI 192.0.2.10/32
`

// goldenWithdraw6 withdraws an IPv6 VIP.
const goldenWithdraw6 = `
	ffffffff ffffffff ffffffff ffffffff
	002e                                 # length 46
	02                                   # UPDATE
	0000                                 # no withdrawn IPv4 routes
	0017                                 # path attributes, 23 bytes
	80 0f 14 0002 01                     # MP_UNREACH_NLRI, IPv6 unicast
	   80 20010db8001000000000000000000010
`

const goldenEndOfRIB = `
	ffffffff ffffffff ffffffff ffffffff
	0017                                 # length 23
	02                                   # UPDATE
	0000 0000                            # nothing: End-of-RIB of IPv4 unicast
`

const goldenShutdown = `
	ffffffff ffffffff ffffffff ffffffff
	001c                                 # length 28
	03                                   # NOTIFICATION
	06 02                                # Cease, Administrative Shutdown
	06 737769746368                      # "switch" (RFC 9003)
`

const goldenHardReset = `
	ffffffff ffffffff ffffffff ffffffff
	001c                                 # length 28
	03                                   # NOTIFICATION
	06 09                                # Cease, Hard Reset (RFC 8538)
	06 04                                # of: Cease, Administrative Reset
	04 62796521                          # "bye!"
`

const goldenKeepalive = `
	ffffffff ffffffff ffffffff ffffffff
	0013                                 # length 19
	04                                   # KEEPALIVE
`
