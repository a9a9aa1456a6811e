package durable

import (
	"errors"
	"time"
)

// Moment is one moment on all clocks.
type Moment struct {
	Now  time.Time     // with its monotonic reading
	Boot string        // which boot of the kernel this is
	Up   time.Duration // since that
}

// Now reads the clocks.
func Now() (Moment, error) {
	boot, err := BootID()
	up, uerr := SinceBoot()
	return Moment{Now: time.Now(), Boot: boot, Up: up}, errors.Join(err, uerr)
}

// Stamp is how a file says a time, past or to come, so that no jump of the wall clock
// moves it: in the boot in which it was written, time since boot alone counts. The file
// names that boot once, beside its stamps.
type Stamp struct {
	Up   time.Duration `json:"since_boot_ns"` // in the boot that the file names
	Wall time.Time     `json:"wall"`          // as far as it was known when this was written
	Left time.Duration `json:"left_ns"`       // when this was written; below 0: so long ago
}

// Stamp is a time as it is written at m.
func (m Moment) Stamp(t time.Time) Stamp {
	left := t.Sub(m.Now)
	return Stamp{Up: m.Up + left, Wall: m.Now.Round(0).Add(left), Left: left}
}

// Until is how long it is from m to a time that was written in a boot; below 0: it was so
// long ago. A reboot alone asks the wall clock, which then makes nothing later than it
// was when it was written.
func (m Moment) Until(s Stamp, boot string) time.Duration {
	if boot == m.Boot && boot != "" {
		return s.Up - m.Up
	}
	return min(s.Wall.Sub(m.Now), s.Left)
}
