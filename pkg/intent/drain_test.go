package intent

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/anyvip/anyvip/pkg/durable"
)

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func at(wall time.Duration, boot string, up time.Duration) durable.Moment {
	return durable.Moment{Now: noon.Add(wall), Boot: boot, Up: up}
}

// A drain of an hour is written half an hour before its end, and read later.
func TestWhatIsLeftOfADrain(t *testing.T) {
	written := at(0, "a", 10*time.Minute)
	set := put(nil, Drain{Service: "web", Force: true, Reason: "new disks", Actor: "kim", At: noon.Add(-30 * time.Minute), Left: time.Hour})
	raw, err := encode(set, written)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		read durable.Moment
		left time.Duration // 0: it has ended
	}{
		"at once":                    {at(0, "a", 10*time.Minute), 30 * time.Minute},
		"a restart 10 minutes later": {at(10*time.Minute, "a", 20*time.Minute), 20 * time.Minute},
		"a restart after the wall clock jumped on": {at(10*time.Hour, "a", 20*time.Minute), 20 * time.Minute},
		"a restart after it jumped back":           {at(-10*time.Hour, "a", 20*time.Minute), 20 * time.Minute},
		"a restart in the moment of its end":       {at(30*time.Minute, "a", 40*time.Minute), 0},
		"a restart after its end":                  {at(2*time.Hour, "a", 130*time.Minute), 0},
		"a reboot 10 minutes later":                {at(10*time.Minute, "b", time.Minute), 20 * time.Minute},
		"a reboot after its end":                   {at(31*time.Minute, "b", time.Minute), 0},
		"a reboot into a clock of long ago":        {at(-10*time.Hour, "b", time.Minute), 30 * time.Minute},
		"where this boot has no name":              {at(10*time.Minute, "", time.Minute), 20 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			got, over, err := decode(raw, tc.read)
			if err != nil {
				t.Fatal(err)
			}
			if tc.left == 0 {
				if len(got) > 0 || len(over) != 1 || over[0] != "web" {
					t.Errorf("%+v and over %v, want none", got, over)
				}
				return
			}
			want := []Drain{{Service: "web", Force: true, Reason: "new disks", Actor: "kim", At: noon.Add(-30 * time.Minute), Left: tc.left, Until: tc.read.Now.Add(tc.left)}}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestADrainWithoutAnEndHasNone(t *testing.T) {
	raw, err := encode(put(put(nil, Drain{At: noon, Reason: "reboot"}), Drain{Service: "web", At: noon}), at(0, "a", 0))
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := decode(raw, at(100*365*24*time.Hour, "b", 0))
	if want := []Drain{{At: noon, Reason: "reboot"}, {Service: "web", At: noon}}; err != nil || cmp.Diff(want, got) != "" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestASecondDrainReplacesTheFirst(t *testing.T) {
	first := put(nil, Drain{Service: "web", Reason: "one", At: noon, Left: time.Hour})
	second := put(first, Drain{Service: "web", Reason: "two", At: noon})
	if len(second) != 1 || second[0].Reason != "two" || !second[0].Until.IsZero() || first[0].Reason != "one" {
		t.Errorf("%+v, and the first %+v", second, first)
	}
	if got := without(second, "web"); len(got) != 0 || len(second) != 1 {
		t.Errorf("%+v", got)
	}
}

func TestFilesThatCannotBeUnderstood(t *testing.T) {
	for text, want := range map[string]string{
		"":                               "EOF",
		"nonsense":                       "invalid character",
		"{}":                             "version is 0",
		`{"version": 2, "drains": []}`:   "version is 2",
		`{"version": 1, "drain": []}`:    "unknown field",
		`{"version": 1, "drains": []} x`: "something follows",
		`{"version": 1, "drains": [{"at": "yesterday"}]}`:                "yesterday",
		`{"version": 1, "drains": [{"service": "a"}, {"service": "a"}]}`: "drained twice",
	} {
		if _, _, err := decode([]byte(text), at(0, "a", 0)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	raw, _ := encode(put(nil, Drain{Service: "web", At: noon, Left: time.Hour}), at(0, "a", time.Hour))
	f.Add(raw)
	f.Add([]byte(`{"version":1,"boot_id":"a","drains":[{"at":"2026-11-28T12:00:00Z","end":{"since_boot_ns":9223372036854775807,"wall":"2026-11-28T12:00:00Z","left_ns":-1}}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, m := range []durable.Moment{at(0, "a", time.Hour), at(time.Hour, "b", 0)} {
			set, _, err := decode(raw, m)
			if err != nil {
				continue
			}
			for _, d := range set {
				if !d.Until.IsZero() && d.ended(m.Now) {
					t.Errorf("%+v has ended", d)
				}
			}
			again, err := encode(set, m)
			if err != nil {
				continue // a year beyond 9999
			}
			if _, _, err := decode(again, m); err != nil {
				t.Errorf("what was read cannot be read again: %v\n%s", err, again)
			}
		}
	})
}
