package agent

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/anyvip/anyvip/pkg/event"
	"github.com/anyvip/anyvip/pkg/hint"
	"github.com/anyvip/anyvip/pkg/vip"
)

// triggers say which probe a kernel event asks for.
var triggers = map[hint.Source]vip.Trigger{
	hint.Listener: vip.TriggerListener, hint.Process: vip.TriggerProcess, hint.File: vip.TriggerFile,
	hint.Unit: vip.TriggerUnit,
}

// hint wakes the probe at once, without a turn of the loop in between. What happened is
// left for the loop first, to be there when the result comes.
func (a *Agent) hint(h hint.Hint) {
	if h.Check == drainFileWatch {
		a.drainFile.ask()
		return
	}
	a.mail.hint(h)
	a.checks.Wake(h.Check, triggers[h.Source], h.Gone)
}

// heardOf says of which check, and from which source.
type heardOf struct {
	check   string
	trigger vip.Trigger
}

// heard is what kernel events of one source said of a check, as far as no probe has
// answered it: that what it asks is no more, and the latest after that. Both may be
// empty.
type heard struct {
	gone, latest string
	at           time.Time // of the latest
}

func heardIn(h hint.Hint) heard {
	if h.Gone {
		return heard{gone: h.Detail, at: h.At}
	}
	return heard{latest: h.Detail, at: h.At}
}

// and is h with what came later.
func (h heard) and(later heard) heard {
	if later.gone == "" {
		later.gone = h.gone
	}
	return later
}

func (h heard) String() string {
	if h.gone != "" && h.latest != "" {
		return h.gone + ", then " + h.latest
	}
	return h.gone + h.latest
}

// takeHeard keeps what woke probes until their results come.
func (l *loop) takeHeard(all map[heardOf]heard) {
	for of, h := range all {
		c := l.checks[of.check]
		if c == nil {
			continue // of a check that a reload removed
		}
		if c.heard == nil {
			c.heard = make(map[vip.Trigger]heard)
		}
		c.heard[of.trigger] = c.heard[of.trigger].and(h)
	}
}

// wokenEvery is how often a check has a record of what woke its probes, of each kind:
// a file that changes all the time must not push everything else out of the ring.
const wokenEvery = 10 * time.Second

// told is a kind of record: by the source, and whether something was found to have
// ended, which must not get lost among the rest.
type told struct {
	trigger vip.Trigger
	ended   bool
}

// toldOf is the latest record of a kind.
type toldOf struct {
	at   time.Time
	more uint64 // probes since then that have none
}

// recordWoken writes down which kernel event woke the probe with this result: always
// where it changed the verdict, else once in wokenEvery, with how many had no record.
func (l *loop) recordWoken(c *check, r vip.Result, verdict bool) {
	if r.Trigger < vip.TriggerListener || r.Trigger > vip.TriggerUnit {
		return
	}
	h := c.heard[r.Trigger]
	if began := r.At.Add(-r.Latency); !h.at.After(began) { // else there is another probe to come
		delete(c.heard, r.Trigger)
	}
	kind := told{r.Trigger, h.gone != "" && r.Outcome == vip.Fail}
	last, known := c.told[kind]
	if known && !verdict && l.at.Sub(last.at) < wokenEvery {
		last.more++
		return
	}
	reason := strings.TrimSuffix(r.Trigger.String()+": "+h.String(), ": ")
	if known && last.more > 0 {
		reason += fmt.Sprintf(" (%d more were not recorded)", last.more)
	}
	l.record(event.Record{Kind: event.KindCheck, Name: r.Check, To: "woken", Reason: reason})
	if c.told == nil {
		c.told = make(map[told]*toldOf)
	}
	c.told[kind] = &toldOf{at: l.at}
}

// takeBlind takes what cannot be watched.
func (l *loop) takeBlind(blind *hint.Report) {
	if blind == nil {
		return
	}
	l.blind = make(map[string]string, len(blind.Missing))
	for _, m := range blind.Missing {
		l.blind[m.Check] = strings.TrimPrefix(fmt.Sprintf("%s; %s: %s", l.blind[m.Check], m.Source, m.Detail), "; ")
	}
	l.warnOfDrains()
	l.fresh = true
}

// wakeNetwork has every check probed that connects to an address which is not loopback,
// where links or addresses of this host are others than before. Where a name or a command
// leads is not known here: those wait for their interval.
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
