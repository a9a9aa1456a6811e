package main

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	anyvipv1 "github.com/anyvip/anyvip/pkg/api/anyvip/v1"
)

// eventsShown is how many of the latest events a wide status shows.
const eventsShown = 20

// renderTables is a Status for people: what is, since when, and why. wide shows
// every column and every reason, each row in one line.
func renderTables(s *anyvipv1.Status, wide bool, out screen, now time.Time) string {
	v := view{clock: clock{now}, wide: wide, peers: len(s.GetSessions()), answered: map[string]bool{}}
	for _, r := range s.GetRouters() {
		for _, a := range r.GetAddresses() {
			v.answered[a] = r.GetAnswers()
		}
	}
	if wide {
		out.width = 0
	}
	text := v.head(s, out)
	tables := []*table{v.services(s.GetServices()), v.drains(s), v.routers(s.GetRouters()), v.checks(s.GetChecks()), v.sessions(s.GetSessions()), v.defaultRoutes(s.GetDefaultRoutes())}
	if wide {
		tables = append(tables, v.addresses(s.GetAddresses()), v.hooks(s.GetHooks()), v.events(s.GetEvents()))
	}
	for _, t := range tables {
		if len(t.rows) > 1 {
			text += "\n" + t.render(out)
		}
	}
	return text
}

// view is how to write one Status.
type view struct {
	clock
	wide  bool
	peers int

	answered map[string]bool // addresses of virtual routers: whether this host answers for them
}

// head is the line about the agent itself, and one each about a refused reload and
// drains that will not survive.
func (v view) head(s *anyvipv1.Status, out screen) string {
	t := warn
	if s.GetPhase() == anyvipv1.Phase_RUNNING {
		t = good
	}
	text := fmt.Sprintf("node %s  %s  up %s  anyvip %s\n", printable(s.GetNode()),
		tinted(word(s.GetPhase()), t, out.colour), v.age(s.GetStarted()), printable(s.GetVersion()))
	if r := s.GetReload(); r.GetError() != "" {
		refused := tinted("reload refused", bad, out.colour)
		text += fmt.Sprintf("%s %s ago, the configuration before it is in use: %s\n", refused, v.age(r.GetAt()), printable(firstLine(r.GetError())))
	}
	if w := s.GetIntentsWarning(); w != "" {
		text += tinted("warning", bad, out.colour) + ": " + printable(w) + "\n"
	}
	return text
}

func (v view) hooks(hooks []*anyvipv1.Hook) *table {
	t := newTable("HOOK", "RUNS", "FAILED", "DROPPED", "LAST FAILURE")
	for _, h := range hooks {
		failed := cell{strconv.FormatUint(h.GetFailed(), 10), plain}
		if h.GetFailed()+h.GetDropped() > 0 {
			failed.tint = warn
		}
		t.add(cell{h.GetName(), plain}, cell{strconv.FormatUint(h.GetRuns(), 10), plain}, failed,
			cell{strconv.FormatUint(h.GetDropped(), 10), plain}, cell{h.GetLastFailure(), plain})
	}
	return t
}

// services has a row for each VIP, so that each line says all about it.
func (v view) services(services []*anyvipv1.Service) *table {
	t := newTable("SERVICE", "VIP", "DISPOSITION", "FOR", "SENT TO", "WHY")
	for _, s := range services {
		for _, a := range s.GetAddresses() {
			addr, _, _ := strings.Cut(a.GetPrefix(), "/")
			sent := cell{strings.Join(a.GetSentTo(), ","), plain}
			answered, elected := v.answered[addr]
			switch n := len(a.GetSentTo()); {
			case n == 0 && answered:
				sent = cell{"the segment", good}
			case n == 0 && elected && (!a.GetWanted() || s.GetDisposition() == anyvipv1.Disposition_STANDBY):
				sent.text = ""
			case n == 0 && a.GetWanted():
				sent = cell{"nobody", bad}
			case n == 0:
				sent.text = "nobody"
			case n < v.peers:
				sent.tint = warn
			}
			t.add(cell{s.GetName(), plain}, cell{addr, plain}, cell{word(s.GetDisposition()), dispositionTint(s.GetDisposition())},
				cell{v.age(s.GetSince()), plain}, sent, cell{v.why(s, a), plain})
		}
	}
	return t
}

// drains has a row for each drain in force, also of a service that the configuration
// no longer has: it waits for one of that name.
func (v view) drains(s *anyvipv1.Status) *table {
	t := newTable("DRAIN", "FOR", "ENDS", "BY", "REASON")
	for _, d := range s.GetDrains() {
		what := cell{"this node", plain}
		if !d.GetNode() {
			what.text = d.GetService()
			if serviceNamed(s, d.GetService()) == nil {
				what = cell{d.GetService() + " (not configured)", warn}
			}
		}
		ends := cell{"never", plain}
		if d.GetUntil() != nil {
			ends.text = strings.TrimSpace(v.in("", d.GetUntil()))
		}
		by := d.GetActor()
		if d.GetForce() {
			by += ", by force"
		}
		t.add(what, cell{v.age(d.GetSince()), plain}, ends, cell{by, plain}, cell{d.GetReason(), plain})
	}
	return t
}

// serviceNamed is nil where there is none.
func serviceNamed(s *anyvipv1.Status, name string) *anyvipv1.Service {
	for _, x := range s.GetServices() {
		if x.GetName() == name {
			return x
		}
	}
	return nil
}

// why is the root reason for a VIP's state in words. What the service rests on
// comes first, unless all is well with it and the address alone has trouble.
func (v view) why(s *anyvipv1.Service, a *anyvipv1.ServiceAddress) string {
	var reasons []string
	for _, r := range s.GetReasons() {
		calm := r.GetCode() == anyvipv1.ReasonCode_HEALTHY || r.GetCode() == anyvipv1.ReasonCode_NOT_REQUIRED
		if !calm || len(a.GetReasons()) == 0 {
			reasons = append(reasons, v.reason(r))
		}
	}
	for _, r := range a.GetReasons() {
		reasons = append(reasons, v.reason(r))
	}
	if v.wide || len(reasons) < 2 {
		return strings.Join(reasons, "; ")
	}
	return fmt.Sprintf("%s (and %d more)", reasons[0], len(reasons)-1)
}

func (v view) checks(checks []*anyvipv1.Check) *table {
	heads := []string{"CHECK", "OUTCOME", "FOR", "LATENCY"}
	if v.wide {
		heads = append(heads, "KIND", "SCOPE", "PROBES", "TARGET")
	}
	t := newTable(append(heads, "DETAIL")...)
	for _, c := range checks {
		outcome, since, detail := cell{word(c.GetOutcome()), outcomeTint(c.GetOutcome())}, v.age(c.GetSince()), v.checkDetail(c)
		if c.GetErrorSince() != nil {
			outcome, since = cell{"error", bad}, v.age(c.GetErrorSince())
			detail = fmt.Sprintf("cannot ask: %s; before: %s for %s", c.GetErrorDetail(), word(c.GetOutcome()), v.age(c.GetSince()))
		}
		row := []cell{{c.GetName(), plain}, outcome, {since, plain}, {v.lastLatency(c), plain}}
		if v.wide {
			if c.GetWarning() != "" {
				detail = strings.TrimPrefix(detail+"; not watched: "+c.GetWarning(), "; ")
			}
			row = append(row, cell{c.GetKind(), plain}, cell{word(c.GetScope()), plain},
				cell{strconv.FormatUint(c.GetProbes(), 10), plain}, cell{c.GetTarget(), plain})
		}
		t.add(append(row, cell{detail, plain})...)
	}
	return t
}

// checkDetail is what the latest probe said, and that it differs from the
// verdict where it does.
func (v view) checkDetail(c *anyvipv1.Check) string {
	last := c.GetLast()
	switch {
	case last == nil:
		return "no probe has ended yet"
	case last.GetOutcome() != c.GetOutcome():
		return fmt.Sprintf("last probe: %s, %s", word(last.GetOutcome()), cmp.Or(last.GetDetail(), word(last.GetClass())))
	}
	return cmp.Or(last.GetDetail(), c.GetDetail())
}

func (v view) lastLatency(c *anyvipv1.Check) string {
	if c.GetLast() == nil {
		return ""
	}
	return latency(c.GetLast().GetLatency())
}

func (v view) sessions(sessions []*anyvipv1.Session) *table {
	heads := []string{"PEER", "ADDRESS", "AS", "STATE", "FOR", "SENT"}
	if v.wide {
		heads = append(heads, "FLAPS", "LOCAL", "ROUTER ID", "HOLD", "FAMILIES")
	}
	t := newTable(append(heads, "WHY")...)
	for _, s := range sessions {
		row := []cell{{s.GetPeer(), plain}, {cmp.Or(s.GetAddress(), s.GetInterface()), plain}, {asNumber(s), plain}, {stateWord(s.GetState()), sessionTint(s)},
			{v.age(s.GetSince()), plain}, {strconv.FormatUint(uint64(s.GetSentPrefixes()), 10), plain}}
		if v.wide {
			row = append(row, cell{strconv.FormatUint(s.GetFlaps(), 10), plain}, cell{s.GetLocal(), plain},
				cell{s.GetRemoteId(), plain}, cell{holdTime(s), plain}, cell{families(s), plain})
		}
		t.add(append(row, cell{sessionWhy(s), plain})...)
	}
	return t
}

// asNumber is the peer's AS number; one that may be any is known once the peer
// was heard.
func asNumber(s *anyvipv1.Session) string {
	if s.GetAsn() == 0 {
		return "external"
	}
	return strconv.FormatUint(uint64(s.GetAsn()), 10)
}

func holdTime(s *anyvipv1.Session) string {
	if s.GetHoldTime() == nil {
		return ""
	}
	return s.GetHoldTime().AsDuration().String()
}

func families(s *anyvipv1.Session) string {
	words := make([]string, len(s.GetFamilies()))
	for i, f := range s.GetFamilies() {
		words[i] = word(f)
	}
	return strings.Join(words, ",")
}

// sessionWhy is why the session is down, and what is odd about it.
func sessionWhy(s *anyvipv1.Session) string {
	why := sessionCause(s)
	if s.GetWarning() == "" {
		return why
	}
	if why != "" {
		why += "; "
	}
	return why + "warning: " + s.GetWarning()
}

// sessionCause is the cause in one word, and what to do.
func sessionCause(s *anyvipv1.Session) string {
	if s.GetCause() == anyvipv1.SessionCause_NONE || s.GetCause() == anyvipv1.SessionCause_UNSPECIFIED {
		return s.GetDetail()
	}
	cause := strings.NewReplacer("_as", " AS", "_id", " ID", "_", " ").Replace(word(s.GetCause()))
	if s.GetDetail() == "" {
		return cause
	}
	return cause + ": " + s.GetDetail()
}

func (v view) defaultRoutes(routes []*anyvipv1.DefaultRoute) *table {
	t := newTable("DEFAULT ROUTE", "VIA", "DETAIL")
	for _, r := range routes {
		via := cell{strings.Join(r.GetNextHops(), ","), good}
		if len(r.GetNextHops()) == 0 {
			via = cell{"none", bad}
		}
		t.add(cell{word(r.GetFamily()), plain}, via, cell{r.GetDetail(), plain})
	}
	return t
}

func (v view) addresses(addresses []*anyvipv1.Address) *table {
	t := newTable("ADDRESS", "STATE", "FOR", "LINK", "OURS", "LOST", "DETAIL")
	for _, a := range addresses {
		state := cell{word(a.GetState()), warn}
		if a.GetState() == anyvipv1.AddressState_PRESENT {
			state.tint = good
		}
		ours := "no"
		if a.GetOurs() {
			ours = "yes"
		}
		t.add(cell{a.GetAddress(), plain}, state, cell{v.age(a.GetSince()), plain}, cell{a.GetLink(), plain},
			cell{ours, plain}, cell{strconv.Itoa(len(a.GetLost())), plain}, cell{a.GetDetail(), plain})
	}
	return t
}

func (v view) events(events []*anyvipv1.Event) *table {
	t := newTable("EVENT", "AGO", "NAME", "FROM", "TO", "REASON")
	for _, e := range events[max(0, len(events)-eventsShown):] {
		t.add(cell{word(e.GetKind()), plain}, cell{v.age(e.GetAt()), plain}, cell{e.GetName(), plain},
			cell{e.GetFrom(), plain}, cell{e.GetTo(), plain}, cell{firstLine(e.GetReason()), plain})
	}
	return t
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

func dispositionTint(d anyvipv1.Disposition_Enum) tint {
	switch d {
	case anyvipv1.Disposition_ANNOUNCED, anyvipv1.Disposition_STANDBY:
		return good
	case anyvipv1.Disposition_WITHDRAWN:
		return bad
	case anyvipv1.Disposition_PENDING, anyvipv1.Disposition_RECOVERING, anyvipv1.Disposition_DEGRADED, anyvipv1.Disposition_LEAVING,
		anyvipv1.Disposition_DRAINED:
		return warn
	case anyvipv1.Disposition_UNSPECIFIED:
	}
	return plain
}

func outcomeTint(o anyvipv1.Outcome_Enum) tint {
	switch o {
	case anyvipv1.Outcome_PASS:
		return good
	case anyvipv1.Outcome_FAIL, anyvipv1.Outcome_ERROR:
		return bad
	case anyvipv1.Outcome_UNKNOWN, anyvipv1.Outcome_DEGRADED:
		return warn
	case anyvipv1.Outcome_UNSPECIFIED:
	}
	return plain
}

func sessionTint(s *anyvipv1.Session) tint {
	switch {
	case s.GetState() == anyvipv1.SessionState_ESTABLISHED && s.GetWarning() != "":
		return warn
	case s.GetState() == anyvipv1.SessionState_ESTABLISHED:
		return good
	case s.GetCause() == anyvipv1.SessionCause_NOT_WANTED:
		return warn
	}
	return bad
}
