package agent

import (
	"fmt"
	"slices"
	"strings"

	"github.com/anyvip/anyvip/pkg/event"
	"github.com/anyvip/anyvip/pkg/hint"
	"github.com/anyvip/anyvip/pkg/vip"
)

// triggers say which probe a kernel event asks for.
var triggers = map[hint.Source]vip.Trigger{
	hint.Listener: vip.TriggerListener, hint.Process: vip.TriggerProcess, hint.File: vip.TriggerFile,
	hint.Unit: vip.TriggerUnit,
}

// hint wakes the probe at once, without a turn of the loop in between, and leaves a
// record for it.
func (a *Agent) hint(h hint.Hint) {
	if h.Check == drainFileWatch {
		a.tellDrainFile()
		return
	}
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
		l.blind[m.Check] = strings.TrimPrefix(fmt.Sprintf("%s; %s: %s", l.blind[m.Check], m.Source, m.Detail), "; ")
	}
	l.fresh = true
}

// wakeNetwork has every check probed that goes over the network, where links or
// addresses of this host are others than before.
func (l *loop) wakeNetwork(before, after []vip.Link) {
	if before == nil {
		return // the first look
	}
	trigger := linkNews(before, after)
	if trigger == vip.TriggerInterval {
		return
	}
	for _, c := range l.config.Checks {
		if to := l.checks[c.Name].connects; to.IsValid() && !to.Addr().IsLoopback() {
			l.out.wake(c.Name, trigger, false)
		}
	}
}

// linkNews says what is new: links that are up, addresses, or nothing (TriggerInterval).
func linkNews(before, after []vip.Link) vip.Trigger {
	up := func(links []vip.Link) (names []string) {
		for _, l := range links {
			if l.Up {
				names = append(names, l.Name)
			}
		}
		slices.Sort(names)
		return names
	}
	addresses := func(links []vip.Link) (all []string) {
		for _, l := range links {
			for _, p := range l.Prefixes {
				all = append(all, l.Name+" "+p.String())
			}
		}
		slices.Sort(all)
		return all
	}
	switch {
	case !slices.Equal(up(before), up(after)):
		return vip.TriggerLink
	case !slices.Equal(addresses(before), addresses(after)):
		return vip.TriggerAddress
	}
	return vip.TriggerInterval
}
