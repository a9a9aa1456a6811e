package policy

import (
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

// nextMemory is the heart: from what was, and the bounds between which the
// requirement's level must lie, to what should be. Where checks without a
// verdict leave a gap between the bounds, a service that is announced moves as
// little as it must, and one that is not stays where it is: Unknown starts
// nothing and ends nothing. The time returned ends a delay.
func nextMemory(now, booted time.Time, s *Service, prev ServiceMemory, lo, hi vip.Level) (ServiceMemory, time.Time) {
	m := prev
	m.Flaps = recent(prev.Flaps, now.Add(-s.FlapWindow))
	if !prev.Disposition.Announces() && lo != hi {
		if prev.Disposition != Withdrawn {
			m.Disposition = Pending
		}
		m.Level, m.RecoverAt = lo, time.Time{}
		return m, time.Time{}
	}
	m.Level = min(max(prev.Level, lo), hi)
	if m.Level == vip.LevelFail {
		if prev.Disposition.Announces() {
			m.Flaps = append(m.Flaps[:len(m.Flaps):len(m.Flaps)], now)
		}
		m.Disposition, m.Failed, m.RecoverAt = Withdrawn, true, time.Time{}
		return m, time.Time{}
	}
	if m.Failed {
		if end := now.Add(recoveryDelay(s, m.Flaps)); m.RecoverAt.IsZero() || end.Before(m.RecoverAt) { // a reload may have shortened it
			m.RecoverAt = end
		}
		if now.Before(m.RecoverAt) {
			m.Disposition = Recovering
			return m, m.RecoverAt
		}
	}
	m.Failed, m.RecoverAt = false, time.Time{}
	if end := booted.Add(s.StartDelay); !booted.IsZero() && now.Before(end) && !prev.Disposition.Announces() {
		m.Disposition, m.RecoverAt = Recovering, end
		return m, end
	}
	m.Disposition = Announced
	if m.Level == vip.LevelDegraded {
		m.Disposition = Degraded
	}
	return m, time.Time{}
}

// maxFlaps is how many failures are remembered: more double nothing.
const maxFlaps = 16

// recent are the flaps after a time, at most the last maxFlaps.
func recent(flaps []time.Time, since time.Time) []time.Time {
	for len(flaps) > 0 && (!flaps[0].After(since) || len(flaps) > maxFlaps) {
		flaps = flaps[1:]
	}
	return flaps
}

// recoveryDelay doubles with each flap after the first, up to MaxRecovery.
func recoveryDelay(s *Service, flaps []time.Time) time.Duration {
	delay := s.RecoveryDelay
	for range len(flaps) - 1 {
		if delay *= 2; delay >= s.MaxRecovery {
			return max(s.RecoveryDelay, s.MaxRecovery)
		}
	}
	return delay
}
