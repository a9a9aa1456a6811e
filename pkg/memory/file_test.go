package memory

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/anyvip/anyvip/pkg/durable"
	"github.com/anyvip/anyvip/pkg/policy"
	"github.com/anyvip/anyvip/pkg/vip"
)

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func at(wall time.Duration, boot string, up time.Duration) durable.Moment {
	return durable.Moment{Now: noon.Add(wall), Boot: boot, Up: up}
}

// A service flapped five and two minutes ago, and recovers for three minutes more.
func TestWhatIsLeftOfADelay(t *testing.T) {
	raw, err := encode(services{"web": {Failed: true, RecoverAt: noon.Add(3 * time.Minute),
		Flaps: []time.Time{noon.Add(-5 * time.Minute), noon.Add(-2 * time.Minute)}}}, at(0, "a", 4*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		read durable.Moment
		gone time.Duration // since it was written, as it must be taken
	}{
		"at once":                  {at(0, "a", 4*time.Minute), 0},
		"a restart a minute later": {at(time.Minute, "a", 5*time.Minute), time.Minute},
		"a restart after the wall clock jumped on": {at(10*time.Hour, "a", 5*time.Minute), time.Minute},
		"a restart after it jumped back":           {at(-10*time.Hour, "a", 5*time.Minute), time.Minute},
		"a restart after the delay's end":          {at(time.Hour, "a", 64*time.Minute), time.Hour},
		"a reboot a minute later":                  {at(time.Minute, "b", 10*time.Second), time.Minute},
		"a reboot into a clock of long ago":        {at(-10*time.Hour, "b", 10*time.Second), 0},
		"a reboot after the delay's end":           {at(time.Hour, "b", 10*time.Second), time.Hour},
		"where this boot has no name":              {at(time.Minute, "", 10*time.Second), time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := decode(raw, tc.read)
			if err != nil {
				t.Fatal(err)
			}
			now := tc.read.Now.Add(-tc.gone)
			want := services{"web": {Failed: true, RecoverAt: now.Add(3 * time.Minute),
				Flaps: []time.Time{now.Add(-5 * time.Minute), now.Add(-2 * time.Minute)}}}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhatIsKept(t *testing.T) {
	full := policy.ServiceMemory{Disposition: policy.Announced, Since: noon, Level: vip.LevelPass, RecoverAt: noon,
		Drain: policy.DrainMemory{Step: policy.DrainHold}, GrowFrom: noon, Flaps: []time.Time{noon}}
	failed, healthy, starting := full, full, full
	failed.Failed = true
	healthy.Flaps, starting.Flaps = nil, nil
	healthy.RecoverAt = time.Time{}
	want := services{
		"failed":  {Failed: true, RecoverAt: noon, Flaps: []time.Time{noon}},
		"flapped": {Flaps: []time.Time{noon}},
	}
	got := kept(map[string]*policy.ServiceMemory{"failed": &failed, "flapped": &full, "healthy": &healthy, "starting": &starting})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWhatIsAnotherMemory(t *testing.T) {
	one := func() *policy.ServiceMemory {
		return &policy.ServiceMemory{Failed: true, RecoverAt: noon, Flaps: []time.Time{noon, noon.Add(time.Second)}}
	}
	for name, change := range map[string]func(services){
		"failed":         func(s services) { s["web"].Failed = false },
		"recover_at":     func(s services) { s["web"].RecoverAt = noon.Add(1) },
		"fewer flaps":    func(s services) { s["web"].Flaps = s["web"].Flaps[1:] },
		"another flap":   func(s services) { s["web"].Flaps[1] = noon.Add(2 * time.Second) },
		"one more":       func(s services) { s["api"] = one() },
		"another name":   func(s services) { s["api"] = s["web"]; delete(s, "web") },
		"nothing at all": func(s services) { clear(s) },
	} {
		a, b := services{"web": one()}, services{"web": one()}
		if !a.equal(b) {
			t.Fatal("they differ already")
		}
		if change(b); a.equal(b) || b.equal(a) {
			t.Errorf("%s: still the same", name)
		}
	}
}

func TestFilesThatCannotBeUnderstood(t *testing.T) {
	for text, want := range map[string]string{
		"":                                 "EOF",
		"nonsense":                         "invalid character",
		"{}":                               "version is 0",
		`{"version": 2, "services": []}`:   "version is 2",
		`{"version": 1, "drains": []}`:     "unknown field",
		`{"version": 1, "services": []} x`: "something follows",
		`{"version": 1, "services": [{"service": "a", "flaps": [{"wall": "yesterday"}]}]}`: "yesterday",
		`{"version": 1, "services": [{"service": "a"}, {"service": "a"}]}`:                 "there twice",
	} {
		if _, err := decode([]byte(text), at(0, "a", 0)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	raw, _ := encode(services{"web": {Failed: true, RecoverAt: noon.Add(time.Minute), Flaps: []time.Time{noon.Add(-time.Hour), noon}}}, at(0, "a", time.Hour))
	f.Add(raw)
	f.Add([]byte(`{"version":1,"boot_id":"a","services":[{"service":"","flaps":[{"since_boot_ns":9223372036854775807,"wall":"2026-11-28T12:00:00Z","left_ns":1}]}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, m := range []durable.Moment{at(0, "a", time.Hour), at(time.Hour, "b", 0)} {
			s, err := decode(raw, m)
			if err != nil {
				continue
			}
			for name, x := range s {
				if !slices.IsSortedFunc(x.Flaps, time.Time.Compare) || len(x.Flaps) > 0 && x.Flaps[len(x.Flaps)-1].After(m.Now) {
					t.Errorf("%q flapped at %v, and it is %v", name, x.Flaps, m.Now)
				}
			}
			again, err := encode(s, m)
			if err != nil {
				continue // a year beyond 9999
			}
			if read, err := decode(again, m); err != nil || !slices.Equal(slices.Sorted(maps.Keys(read)), slices.Sorted(maps.Keys(s))) {
				t.Errorf("what was read cannot be read again: %v\n%s", err, again)
			}
		}
	})
}
