package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestNeighborsWithOurRouterID: within an AS the identifiers must differ (RFC 6286,
// section 2.1), outside they need not.
func TestNeighborsWithOurRouterID(t *testing.T) {
	t.Parallel()
	r := up(t, "faults-ids.clab.yml", options{})
	begin := time.Now()
	tests := []struct{ peer, state, cause, detail string }{
		{"good", "ESTABLISHED", "NONE", ""},
		{"frr-inside", "", "WRONG_ID", "router"},
		{"frr-outside", "ESTABLISHED", "NONE", ""},
		{"bird-inside", "", "WRONG_ID", "router"},
		{"bird-outside", "ESTABLISHED", "NONE", ""},
	}
	for _, test := range tests {
		t.Run(test.peer, func(t *testing.T) {
			var x session
			eventually(t, patience, func() error {
				s, err := r.status("s1")
				if err != nil {
					return err
				}
				x = s.session(t, test.peer)
				if (x.State == "ESTABLISHED") != (test.state == "ESTABLISHED") || x.Cause != test.cause || !strings.Contains(x.Detail, test.detail) {
					return fmt.Errorf("it is %s because of %s: %q, want %s: %q", x.State, x.Cause, x.Detail, test.cause, test.detail)
				}
				return nil
			})
			t.Logf("known after %s: %s, %s: %s", ms(time.Since(begin)), x.State, x.Cause, x.Detail)
		})
	}
	for _, x := range r.mustStatus("s1").Sessions {
		if x.Flaps != 0 {
			t.Errorf("%d flaps with %s", x.Flaps, x.Peer)
		}
	}
	for _, node := range []string{"good", "outside"} {
		eventually(t, patience, func() error {
			if n := len(r.frr(node, vip4)); n != 1 {
				return fmt.Errorf("FRR %s has %d paths to %s", node, n, vip4)
			}
			return nil
		})
	}
}
