package integration

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// TestSessionsThatCannotComeUpSayWhy has one peer for each reason, and a good one
// that none of them may disturb.
func TestSessionsThatCannotComeUpSayWhy(t *testing.T) {
	t.Parallel()
	r := up(t, "sessions.clab.yml", options{})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	mute := r.Command(t.Context(), "mute", "bash", "-c", fmt.Sprintf("exec -a %s %s", muteName, self))
	if err := mute.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = mute.Kill()
		_ = mute.Wait()
	}()
	tests := []struct{ peer, cause, detail string }{
		{"frr-expects-another-as", "WRONG_AS", "the peer refuses our AS 65101"},
		{"frr-is-another-as", "WRONG_AS", "the peer says AS 65001, and asn here is 65999"},
		{"frr-password", "SILENT", "another password there"},
		{"bird-expects-another-as", "WRONG_AS", "the peer refuses our AS 65101"},
		{"bird-is-another-as", "WRONG_AS", "another AS than 65999"},
		{"bird-password", "SILENT", "another password there"},
		{"closed", "REFUSED", "its BGP daemon is not running"},
		{"mute", "NO_OPEN", "says nothing"},
		{"nobody-there", "UNREACHABLE", "no route to host"},
		{"no-route", "UNREACHABLE", "network is unreachable"},
	}
	begin := time.Now()
	for _, test := range tests {
		t.Run(test.peer, func(t *testing.T) {
			var x session
			eventually(t, patience, func() error {
				s, err := r.status("s1")
				if err != nil {
					return err
				}
				if x = s.session(t, test.peer); x.Cause != test.cause || !strings.Contains(x.Detail, test.detail) {
					return fmt.Errorf("it is %s because of %s: %q, want %s: %q", x.State, x.Cause, x.Detail, test.cause, test.detail)
				}
				return nil
			})
			t.Logf("known after %s: %s, %s: %s", ms(time.Since(begin)), x.State, x.Cause, x.Detail)
			if x.State == "ESTABLISHED" {
				t.Error("it is Established")
			}
		})
	}
	if x := r.mustStatus("s1").session(t, "good"); x.State != "ESTABLISHED" || x.Flaps != 0 || x.Cause != "NONE" {
		t.Errorf("the good session is %s", asJSON(x))
	}
	if n := len(r.frr("frr", vip4)); n != 1 {
		t.Errorf("FRR has %d paths to %s by the good session, want 1", n, vip4)
	}
}
