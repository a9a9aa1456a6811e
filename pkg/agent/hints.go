package agent

import (
	"fmt"

	"github.com/anyvip/anyvip/pkg/event"
	"github.com/anyvip/anyvip/pkg/hint"
	"github.com/anyvip/anyvip/pkg/vip"
)

// triggers say which probe a kernel event asks for.
var triggers = map[hint.Source]vip.Trigger{
	hint.Listener: vip.TriggerListener, hint.Process: vip.TriggerProcess, hint.File: vip.TriggerFile,
	hint.Unit: vip.TriggerUnit, hint.Link: vip.TriggerLink, hint.Address: vip.TriggerAddress,
}

// hint wakes the probe at once, without a turn of the loop in between, and leaves a
// record for it.
func (a *Agent) hint(h hint.Hint) {
	a.checks.Wake(h.Check, triggers[h.Source], h.Gone)
	a.mail.hint(h)
}

// takeHints writes down which kernel events woke probes, and what cannot be watched.
func (l *loop) takeHints(hints []hint.Hint, blind *hint.Report) {
	for _, h := range hints {
		if l.checks[h.Check] != nil {
			l.record(event.Record{Kind: event.KindCheck, Name: h.Check, To: "woken", Reason: h.Source.String() + ": " + h.Detail})
			l.fresh = true
		}
	}
	if blind == nil {
		return
	}
	l.blind = make(map[string]string, len(blind.Missing))
	for _, m := range blind.Missing {
		l.blind[m.Check] = joined(l.blind[m.Check], fmt.Sprintf("%s: %s", m.Source, m.Detail))
	}
	l.fresh = true
}

func joined(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}
