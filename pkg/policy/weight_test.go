package policy_test

import (
	"slices"
	"testing"
	"time"

	"github.com/anyvip/anyvip/pkg/policy"
	"github.com/anyvip/anyvip/pkg/vip"
)

func TestAWeightGrowsAfterAFailure(t *testing.T) {
	in := world()
	in.Services[0].RecoveryDelay = 0
	in.Services[0].ECMP.Weight, in.Services[0].ECMP.SlowStart = 200, 10*time.Second
	var weights []uint16
	for i := range 16 {
		in.Now = after(time.Duration(i) * time.Second)
		in.Checks = map[string]policy.Check{"web": verdict(vip.Pass)}
		if i == 2 {
			in.Checks = map[string]policy.Check{"web": verdict(vip.Fail)}
		}
		out := policy.Decide(in)
		in.Prev = out.Memory
		w := uint16(0)
		if len(out.Announcements) > 0 {
			w = out.Announcements[0].Weight
		}
		weights = append(weights, w)
		if i >= 3 && i < 13 && !out.DecideAt.Equal(in.Now.Add(time.Second)) {
			t.Errorf("second %d: decides again at %v", i, out.DecideAt)
		}
	}
	want := []uint16{200, 200, 0, 20, 40, 60, 80, 100, 120, 140, 160, 180, 200, 200, 200, 200}
	if !slices.Equal(weights, want) {
		t.Errorf("weights %v, want %v", weights, want)
	}
}

func TestAWeightGrowsAfterAFailureThatAnEarlierAgentSaw(t *testing.T) {
	in := world()
	in.Services[0].ECMP.Weight, in.Services[0].ECMP.SlowStart = 200, 10*time.Second
	in.Prev.Services = map[string]*policy.ServiceMemory{"web": {Failed: true, RecoverAt: epoch}}
	if w := policy.Decide(in).Announcements[0].Weight; w != 20 {
		t.Errorf("weight %d after a failure", w)
	}
	in.Prev.Services = map[string]*policy.ServiceMemory{"web": {Flaps: []time.Time{epoch}}}
	if w := policy.Decide(in).Announcements[0].Weight; w != 200 {
		t.Errorf("weight %d of what had recovered", w)
	}
}

func TestASmallWeightIsNeverNone(t *testing.T) {
	in := world()
	in.Services[0].RecoveryDelay = 0
	in.Services[0].ECMP.Weight, in.Services[0].ECMP.SlowStart = 1, time.Minute
	in.Prev.Services = map[string]*policy.ServiceMemory{"web": {Disposition: policy.Withdrawn, Since: epoch}}
	if w := policy.Decide(in).Announcements[0].Weight; w != 1 {
		t.Errorf("weight %d", w)
	}
}

func TestADegradedServiceMayKeepAShare(t *testing.T) {
	in := world()
	share, none := uint16(50), uint8(0)
	in.Services[0].ECMP.Weight, in.Services[0].ECMP.Degraded = 200, policy.DegradedAttributes{Weight: &share, Prepend: &none}
	in.Checks = map[string]policy.Check{"web": verdict(vip.Degraded)}
	if a := policy.Decide(in).Announcements[0]; a.Weight != 50 || a.Prepend != 0 || a.MED != 0 {
		t.Errorf("%+v", a)
	}
}
