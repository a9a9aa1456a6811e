package kernel

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/anyvip/anyvip/pkg/durable"
)

func newLedger(t *testing.T, boot, netns string) *ledger {
	t.Helper()
	return &ledger{path: filepath.Join(t.TempDir(), "state", "addresses.json"), life: durable.Life{Boot: boot, Netns: netns}}
}

func TestLedgerSurvives(t *testing.T) {
	l := newLedger(t, "b1", "7")
	if err := l.read(); err != nil || len(l.disk) != 0 {
		t.Fatalf("no file: %v, %v", l.disk, err)
	}
	owned := map[netip.Addr]string{v4: "lo", v6: "dummy0"}
	if err := l.write(owned); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(l.path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	again := &ledger{path: l.path, life: l.life}
	if err := again.read(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(owned, again.disk, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
	for _, other := range []durable.Life{{Boot: "b2", Netns: "7"}, {Boot: "b1", Netns: "8"}} {
		later := &ledger{path: l.path, life: other}
		if err := later.read(); err != nil || len(later.disk) != 0 {
			t.Errorf("in life %v it says %v, %v", other, later.disk, err)
		}
	}
	if files, _ := os.ReadDir(filepath.Dir(l.path)); len(files) != 1 {
		t.Errorf("left behind: %v", files)
	}
}

func TestLedgerWritesOnlyChanges(t *testing.T) {
	l := newLedger(t, "b1", "")
	if err := l.write(map[netip.Addr]string{v4: "lo"}); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(l.path); err != nil {
		t.Fatal(err)
	}
	if err := l.write(map[netip.Addr]string{v4: "lo"}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(l.path); err == nil {
		t.Error("the same content was written again")
	}
}

func TestCorruptLedgerIsRecognised(t *testing.T) {
	for name, test := range map[string]struct{ content, want string }{
		"empty":           {"", "EOF"},
		"no JSON":         {"\x00\x00\x00", "invalid character"},
		"cut off":         {`{"version": 1, "boot_id": "b", "addresses": [{"addr`, "unexpected EOF"},
		"of the future":   {`{"version": 2, "boot_id": "b", "addresses": []}`, "version is 2, not 1"},
		"unknown key":     {`{"version": 1, "boot_id": "b", "colour": 1}`, "colour"},
		"without a boot":  {`{"version": 1, "addresses": []}`, "boot_id is missing"},
		"bad address":     {`{"version": 1, "boot_id": "b", "addresses": [{"address": "192.0.2.300", "link": "lo"}]}`, "192.0.2.300"},
		"no address":      {`{"version": 1, "boot_id": "b", "addresses": [{"link": "lo"}]}`, "addresses[0]"},
		"without a link":  {`{"version": 1, "boot_id": "b", "addresses": [{"address": "192.0.2.1"}]}`, "addresses[0]"},
		"another kind":    {`[]`, "cannot unmarshal"},
		"more than there": {`{"version": 1, "boot_id": "b", "addresses": []} {}`, "something follows"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLedger(t, "b", "")
			if err := os.MkdirAll(filepath.Dir(l.path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(l.path, []byte(test.content), 0o600); err != nil {
				t.Fatal(err)
			}
			err := l.read()
			if corrupt := (corruptError{}); !errors.As(err, &corrupt) || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("read: %v, want a corruptError with %q", err, test.want)
			}
			aside, err := l.setAside()
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := os.ReadFile(aside); string(got) != test.content {
				t.Errorf("moved aside: %q", got)
			}
		})
	}
}
