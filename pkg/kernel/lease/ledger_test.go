package lease

import (
	"maps"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/anyvip/anyvip/pkg/durable"
)

func TestALedgerOfThisLifeIsReadBack(t *testing.T) {
	books := map[spot]string{{v4, 5}: "eth1", {v6, 5}: "eth1", {v6, 6}: "eth2"}
	raw, err := encode(books, durable.Life{Boot: "b1", Netns: "7"})
	if err != nil {
		t.Fatal(err)
	}
	want := `{
	"version": 1,
	"boot_id": "b1",
	"netns_cookie": "7",
	"addresses": [
		{
			"address": "192.0.2.10",
			"link": "eth1",
			"index": 5
		},
`
	if !strings.HasPrefix(string(raw), want) {
		t.Errorf("(-want +got):\n%s", cmp.Diff(want, string(raw)))
	}
	if got, err := decode(raw, durable.Life{Boot: "b1", Netns: "7"}); err != nil || !maps.Equal(got, books) {
		t.Errorf("read back: %v, %v", got, err)
	}
	for _, other := range []durable.Life{{Boot: "b2", Netns: "7"}, {Boot: "b1", Netns: "8"}} {
		if got, err := decode(raw, other); err != nil || len(got) != 0 {
			t.Errorf("in life %v it says %v, %v", other, got, err)
		}
	}
}

func TestACorruptLedgerIsRecognised(t *testing.T) {
	for name, test := range map[string]struct{ content, want string }{
		"empty":           {"", "EOF"},
		"no JSON":         {"\x00\x00\x00", "invalid character"},
		"cut off":         {`{"version": 1, "boot_id": "b", "addresses": [{"addr`, "unexpected EOF"},
		"of the future":   {`{"version": 2, "boot_id": "b", "addresses": []}`, "version is 2, not 1"},
		"unknown key":     {`{"version": 1, "boot_id": "b", "colour": 1}`, "colour"},
		"without a boot":  {`{"version": 1, "addresses": []}`, "boot_id is missing"},
		"bad address":     {`{"version": 1, "boot_id": "b", "addresses": [{"address": "192.0.2.300", "index": 1}]}`, "192.0.2.300"},
		"no address":      {`{"version": 1, "boot_id": "b", "addresses": [{"index": 1}]}`, "addresses[0]"},
		"no index":        {`{"version": 1, "boot_id": "b", "addresses": [{"address": "192.0.2.1"}]}`, "addresses[0]"},
		"a zone":          {`{"version": 1, "boot_id": "b", "addresses": [{"address": "fe80::1%eth1", "index": 1}]}`, "addresses[0]"},
		"twice":           {`{"version": 1, "boot_id": "b", "addresses": [{"address": "::1", "index": 1}, {"address": "::1", "index": 1}]}`, "addresses[1]: ::1 is there twice"},
		"another kind":    {`[]`, "cannot unmarshal"},
		"more than there": {`{"version": 1, "boot_id": "b", "addresses": []} {}`, "something follows"},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := decode([]byte(test.content), durable.Life{Boot: "b"}); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("it says %v, %v, want an error with %q", got, err, test.want)
			}
		})
	}
}

// Whatever stands in the file, it is an error or something that is read back the same.
func FuzzDecode(f *testing.F) {
	raw, err := encode(map[spot]string{{v4, 5}: "eth1", {netip.MustParseAddr("fe80::1"), 6}: ""}, durable.Life{Boot: "b", Netns: "7"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(`{"version": 1, "boot_id": "b", "addresses": [{"address": "::ffff:192.0.2.1", "link": "lo", "index": 1}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		l := durable.Life{Boot: "b", Netns: "7"}
		books, err := decode(raw, l)
		if err != nil {
			return
		}
		again, err := encode(books, l)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := decode(again, l); err != nil || !maps.Equal(got, books) {
			t.Errorf("%v became %v, %v", books, got, err)
		}
	})
}
