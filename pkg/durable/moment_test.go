package durable

import (
	"testing"
	"time"
)

// A time that has gone by, and one to come, each a minute from when it was written.
func TestAStampIsMovedByNoClock(t *testing.T) {
	noon := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	at := func(wall time.Duration, boot string, up time.Duration) Moment {
		return Moment{Now: noon.Add(wall), Boot: boot, Up: up}
	}
	written := at(0, "a", 10*time.Second)
	past, next := written.Stamp(noon.Add(-time.Minute)), written.Stamp(noon.Add(time.Minute))
	for name, tc := range map[string]struct {
		read       Moment
		past, next time.Duration
	}{
		"at once":                              {written, -60 * time.Second, 60 * time.Second},
		"later in this boot":                   {at(20*time.Second, "a", 30*time.Second), -80 * time.Second, 40 * time.Second},
		"whose wall clock has jumped on":       {at(time.Hour, "a", 30*time.Second), -80 * time.Second, 40 * time.Second},
		"or back":                              {at(-time.Hour, "a", 30*time.Second), -80 * time.Second, 40 * time.Second},
		"in another boot":                      {at(20*time.Second, "b", time.Second), -80 * time.Second, 40 * time.Second},
		"whose clock is slow: not before then": {at(-time.Hour, "b", time.Second), -60 * time.Second, 60 * time.Second},
		"in a boot without a name":             {at(20*time.Second, "", time.Second), -80 * time.Second, 40 * time.Second},
	} {
		if p, n := tc.read.Until(past, "a"), tc.read.Until(next, "a"); p != tc.past || n != tc.next {
			t.Errorf("%s: %s and %s, want %s and %s", name, p, n, tc.past, tc.next)
		}
	}
	if got := at(20*time.Second, "", time.Hour).Until(next, ""); got != 40*time.Second {
		t.Errorf("two boots without names were taken for one: %s", got)
	}
}
