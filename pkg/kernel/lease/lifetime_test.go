package lease

import (
	"testing"
	"time"
)

func TestALifetimeCoversATakeoverAndLittleMore(t *testing.T) {
	for interval := 10 * time.Millisecond; interval <= 255*time.Second; interval += 10 * time.Millisecond {
		all, kept := time.Duration(lifetime(interval))*time.Second, keep(interval)
		if all > 4*interval+2*time.Second || kept < 4*interval {
			t.Errorf("interval %s: lifetime %s, of which %s is kept", interval, all, kept)
		}
		if all-kept < 500*time.Millisecond || all-kept > 1500*time.Millisecond {
			t.Errorf("interval %s: renewed every %s", interval, all-kept)
		}
		if all >= 3*time.Second && kept < 2*time.Second || kept < 1500*time.Millisecond {
			t.Errorf("interval %s: only %s is kept of %s", interval, kept, all)
		}
	}
	for interval, want := range map[time.Duration]uint32{0: 2, 10 * time.Millisecond: 2, 240 * time.Millisecond: 2, 250 * time.Millisecond: 3,
		time.Second: 6, 3 * time.Second: 14, 255 * time.Second: longest, time.Hour: longest} {
		if got := lifetime(interval); got != want {
			t.Errorf("lifetime(%s) is %d, want %d", interval, got, want)
		}
	}
}
