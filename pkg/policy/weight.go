package policy

import "time"

// growSteps is in how many steps a weight grows: each is an UPDATE.
const growSteps = 10

// grow begins the slow start of a service that is announced again. The first
// announcement of an agent has none, unless its predecessor saw the service fail: where
// all servers start at once there is nobody else to carry the load.
func grow(now time.Time, m, prev *ServiceMemory) {
	switch {
	case !m.Disposition.Announces():
		m.GrowFrom = time.Time{}
	case prev.Failed, prev.Disposition == Withdrawn, prev.Disposition == Recovering, prev.Disposition == Drained:
		m.GrowFrom = now
	}
}

// grown is what a weight has grown to, and when it is more; the zero time: never.
func grown(weight uint16, slow time.Duration, from, now time.Time) (uint16, time.Time) {
	if from.IsZero() || slow <= 0 || weight == 0 || !now.Before(from.Add(slow)) {
		return weight, time.Time{}
	}
	step := int(now.Sub(from)*growSteps/slow) + 1 // 1 to growSteps
	return uint16(max(int(weight)*step/growSteps, 1)), from.Add(slow * time.Duration(step) / growSteps)
}
