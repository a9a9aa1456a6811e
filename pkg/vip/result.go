package vip

import "time"

// Outcome is what one probe found.
type Outcome uint8

// The outcomes.
const (
	Unknown  Outcome = iota // no probe has ended yet; starts nothing, ends nothing
	Pass                    // the service answered as it should
	Degraded                // it works, but worse than it should (a script's exit 1)
	Fail                    // it does not work
	Error                   // we could not ask: a broken check is not a broken service
)

var outcomeNames = [...]string{"unknown", "pass", "degraded", "fail", "error"}

func (o Outcome) String() string { return name(outcomeNames[:], int(o)) }

// Class says in what manner a probe ended, for humans, metrics and hints.
type Class uint8

// The classes.
const (
	ClassNone        Class = iota // a pass, or nothing to say
	ClassRefused                  // nobody listens (ECONNREFUSED)
	ClassGone                     // the listener or process ended
	ClassTimeout                  // no answer within the timeout
	ClassReset                    // the connection ended in the middle
	ClassUnreachable              // no route, host or network unreachable
	ClassProtocol                 // not the protocol we speak
	ClassStatus                   // an answer, but not the wanted one (HTTP status, exit code)
	ClassBody                     // the wanted status, but not the wanted content
	ClassTLS                      // certificate or handshake
	ClassResolve                  // a name does not resolve
	ClassLocal                    // our own fault: no descriptors, missing script, unreadable file
)

var classNames = [...]string{"none", "refused", "gone", "timeout", "reset", "unreachable", "protocol", "status", "body", "tls", "resolve", "local"}

func (c Class) String() string { return name(classNames[:], int(c)) }

// Trigger says why a probe ran.
type Trigger uint8

// The triggers.
const (
	TriggerInterval Trigger = iota // its interval was over
	TriggerStart                   // the first probe of a new or changed check
	TriggerRequest                 // an operator asked for it
	TriggerListener                // a listening socket at the probed address and port came or went
	TriggerProcess                 // the service's process ended
	TriggerFile                    // a watched file changed
	TriggerUnit                    // the service's systemd unit changed its state
	TriggerLink                    // a link of this host went up or down
	TriggerAddress                 // an address of this host came or went
	TriggerReport                  // the application reported how it is

	TriggerCount = iota // how many there are
)

var triggerNames = [...]string{"interval", "start", "request", "listener", "process", "file", "unit", "link", "address", "report"}

func (t Trigger) String() string { return name(triggerNames[:], int(t)) }

// Result is what one probe of one check found.
type Result struct {
	Check   string    // the check's name
	At      time.Time // when the probe ended
	Outcome Outcome
	Class   Class
	Detail  string // a Line for an operator, without the check's name
	Latency time.Duration
	Trigger Trigger
}

// Level orders services and checks by how usable they are: the minimum,
// maximum and k-th largest of levels give all, any and at_least.
type Level uint8

// The levels, worst first.
const (
	LevelFail     Level = iota // withdraw
	LevelDegraded              // announce, less preferred
	LevelPass                  // announce
)

var levelNames = [...]string{"fail", "degraded", "pass"}

func (l Level) String() string { return name(levelNames[:], int(l)) }

func name(names []string, i int) string {
	if i < len(names) {
		return names[i]
	}
	return "invalid"
}
