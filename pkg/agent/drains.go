package agent

import (
	"github.com/anyvip/anyvip/pkg/intent"
	"github.com/anyvip/anyvip/pkg/policy"
)

// takeIntents makes what operators want part of what is known.
func (l *loop) takeIntents(r intent.Report) {
	drains := make(map[string]policy.Drain, len(r.Drains))
	for _, d := range r.Drains {
		drains[d.Service] = policy.Drain{Since: d.At, Until: d.Until, Reason: d.Reason, Actor: d.Actor}
	}
	l.input.Drains = drains
	l.snapshot.Intents = r.Detail
}
