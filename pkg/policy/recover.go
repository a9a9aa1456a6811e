package policy

import (
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

// next is the heart: from what was, and the bounds between which the requirement's
// level must lie, to what should be. Where checks without a verdict leave a gap
// between the bounds, a service that is announced moves as little as it must, and one
// that is not starts as the worse of both, or stays where it is if that is not to be
// announced, or while no session is wanted yet: Unknown starts nothing and ends
// nothing. The time returned ends a delay.
func (m *ServiceMemory) next(in *Input, phase Phase, s *Service, lo, hi vip.Level) time.Time {
	now, booted := in.Now, in.Booted
	was := m.Disposition
	m.Flaps = recent(m.Flaps, now.Add(-s.FlapWindow))
	if !was.Announces() {
		m.Level = lo
	}
	if !was.Announces() && lo != hi && (lo == vip.LevelFail || phase == Starting) {
		if was != Pending { // else it is what the agent's predecessor left, and nothing has been known since
			m.RecoverAt = time.Time{}
		}
		if was != Withdrawn {
			m.Disposition = Pending
		}
		return time.Time{}
	}
	m.Level = min(max(m.Level, lo), hi)
	if m.Level == vip.LevelFail {
		if was.Announces() {
			m.Flaps = append(m.Flaps[:len(m.Flaps):len(m.Flaps)], now)
		}
		m.Disposition, m.Failed, m.RecoverAt = Withdrawn, true, time.Time{}
		return time.Time{}
	}
	if m.Failed {
		if end := now.Add(recoveryDelay(s, m.Flaps)); m.RecoverAt.IsZero() || end.Before(m.RecoverAt) { // a reload may have shortened it
			m.RecoverAt = end
		}
		if now.Before(m.RecoverAt) {
			m.Disposition = Recovering
			return m.RecoverAt
		}
	}
	m.Failed, m.RecoverAt = false, time.Time{}
	if end := booted.Add(s.StartDelay); !booted.IsZero() && now.Before(end) && !was.Announces() {
		m.Disposition, m.RecoverAt = Recovering, end
		return end
	}
	m.Disposition = Announced
	if m.Level == vip.LevelDegraded {
		m.Disposition = Degraded
	}
	return time.Time{}
}

// withDelaysOfGroup is the service with the longest delays in its group, so that all of
// it return at once.
func (d *decider) withDelaysOfGroup(s *Service) *Service {
	others := d.companions(s)
	if len(others) == 0 {
		return s
	}
	slowest := *s
	for _, o := range others {
		slowest.RecoveryDelay = max(slowest.RecoveryDelay, o.RecoveryDelay)
		slowest.MaxRecovery = max(slowest.MaxRecovery, o.MaxRecovery)
		slowest.FlapWindow = max(slowest.FlapWindow, o.FlapWindow)
		slowest.StartDelay = max(slowest.StartDelay, o.StartDelay)
	}
	return &slowest
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
