package policy

import (
	"net/netip"
	"time"

	"github.com/anyvip/anyvip/pkg/health"
	"github.com/anyvip/anyvip/pkg/vip"
)

// Phase is where the agent is in its life.
type Phase uint8

// The phases, in their order.
const (
	Starting Phase = iota // the first round of checks is not over: no session is up
	Running
	Stopping // asked to end: withdraw, wait, close, remove, in that order
	Stopped  // nothing is left to do
)

var phaseNames = [...]string{"starting", "running", "stopping", "stopped"}

func (p Phase) String() string { return phaseNames[p] }

// Input is everything that is known. It is immutable once handed over: its
// maps and slices are replaced, never changed.
type Input struct {
	Now       time.Time
	Phase     Phase
	Booted    time.Time     // when this host booted; zero: not known
	Linger    time.Duration // an address stays this long after its last withdraw; at a stop the sessions too
	Services  []Service
	Peers     []Peer
	Checks    map[string]Check                             // by name
	Addresses map[netip.Addr]vip.Address                   // VIPs on this host
	Leases    map[netip.Addr]vip.Address                   // VIPs that virtual routers bring here
	Links     []vip.Link                                   // links of this host
	Neighbors map[string]vip.Neighbor                      // by link: routers at the other end of unnumbered links
	Sessions  map[string]vip.Session                       // by peer
	Routers   map[string]vip.VirtualRouter                 // by RouterWant.Name
	Sent      map[string]map[netip.Prefix]vip.Announcement // by peer: its Adj-RIB-Out
	Defaults  []vip.DefaultRoute                           // our default routes on this host, and wanted ones
	Drains    map[string]Drain                             // by service; of the empty name: the whole node
	Prepared  map[string]bool                              // services whose pre_drain has ended, well or not
	Flows     map[netip.Addr]vip.Flows                     // connections to the VIPs that Desired.Watch names

	ImportDefault bool // the peers' default routes are wanted on this host

	Prev Memory
}

// Check is what policy needs to know about one check.
type Check struct {
	Scope        vip.Scope
	Params       health.Params
	Verdict      health.Verdict
	Pending      bool          // a change of verdict is under way
	PendingUntil time.Time     // when a check that is still Unknown counts as failed, or as on_error says
	Detection    time.Duration // the longest it may need to say that something is wrong
	TakesTime    bool          // its first verdict may come late, and that is no fault: Starting does not wait for it
}

// Drain is what an operator wants off the network.
type Drain struct {
	Since  time.Time
	Until  time.Time // zero: until it is taken back
	Force  bool      // virtual routers leave although no other takes over
	Reason string    // the operator's words
	Actor  string    // who
}

// Peer is what policy needs to know about one configured peer.
type Peer struct {
	Name      string
	Address   netip.Addr // zero for an unnumbered peer
	Interface string     // the link to an unnumbered peer; empty: it has an address
	Multihop  bool       // it is not directly connected
	NextHop6  netip.Addr // configured; zero: the session's interface's global address
}

// Desired is everything that should be, as whole sets.
type Desired struct {
	Phase         Phase
	Announcements []vip.Announcement     // sorted by prefix
	Sessions      []SessionWant          // in the order of Input.Peers
	Shown         map[string]vip.Session // by peer: each session as everybody shows it
	Routers       []RouterWant           // virtual routers, in the order of Input.Services
	Leased        map[netip.Addr]string  // addresses that virtual routers bring here and take away, and the link: they are not its own
	Unnumbered    []UnnumberedLink       // links whose router is to be found, in the order of Input.Peers
	Addresses     []netip.Addr           // VIPs wanted on lo, sorted
	Defaults      []vip.DefaultRoute     // default routes wanted on this host, by family
	AdoptDefaults []vip.Family           // families in which a default route that an earlier run left stays
	Fast          []string               // checks to probe at the fast interval, sorted; the others at their own
	Prepare       []string               // services whose pre_drain should run, in the order of Input.Services
	Watch         []netip.Addr           // VIPs whose connections are to be watched, sorted
	Decisions     []Decision             // in the order of Input.Services
	DecideAt      time.Time              // when time alone may change the decision; zero: never
	Memory        Memory
}

// SessionWant says whether a session should be up.
type SessionWant struct {
	Peer     string
	Up       bool
	Cause    vip.SessionCause // why it should not be up
	Text     string           // of the shutdown communication (RFC 9003) when it goes down, and for the operator
	Address  netip.Addr       // the peer's; zero while an unnumbered peer is not found
	NextHop6 netip.Addr       // for IPv6 VIPs on an IPv4 session; zero: none is known, so none is sent
}

// UnnumberedLink asks for the router at the other end of a link.
type UnnumberedLink struct {
	vip.Link
	InUse bool // the session with the router that was found is up
}

// Disposition is what becomes of a service's announcement.
type Disposition uint8

// The dispositions.
const (
	Pending    Disposition = iota // not enough is known to start
	Withdrawn                     // a requirement does not hold
	Recovering                    // healthy again, but not for long enough
	Drained                       // taken off by an operator
	Degraded                      // announced, less preferred
	Announced
	Leaving // announced with GRACEFUL_SHUTDOWN, about to be withdrawn
	Standby // in mode vrrp, or fallen back to it: takes part, and another router is Active; only Decision has it
)

var dispositionNames = [...]string{"pending", "withdrawn", "recovering", "drained", "degraded", "announced", "leaving", "standby"}

func (d Disposition) String() string { return dispositionNames[d] }

// Announces says whether routes are wanted out in this disposition, or virtual routers
// take part.
func (d Disposition) Announces() bool { return d >= Degraded && d <= Leaving }

// Decision is what was decided about one service, and why.
type Decision struct {
	Service     string
	Disposition Disposition
	Level       vip.Level
	Since       time.Time // of Disposition
	Reasons     []Reason  // root cause first; never empty
	Addresses   []AddressDecision
	Drain       *DrainProgress // of a drain that it is under; nil: there is none
}

// AddressDecision is what was decided about one VIP of a service.
type AddressDecision struct {
	Prefix  netip.Prefix
	Wanted  bool     // an announcement is wanted
	SentTo  []string // peers that have exactly this announcement, sorted
	Reasons []Reason // what keeps it from being everywhere; empty: nothing does
}

// Memory is what one decision leaves for the next. It is a plain value that
// survives serialisation.
type Memory struct {
	Services map[string]*ServiceMemory `json:"services,omitempty"` // nobody changes what they point to
	Routed   map[netip.Addr]time.Time  `json:"routed,omitempty"`   // addresses that no service wants any more: when a peer last had a route
	Defaults DefaultMemory             `json:"defaults"`
	Stop     StopMemory                `json:"stop"`
}

// ServiceMemory is what is remembered of one service.
type ServiceMemory struct {
	Disposition Disposition  `json:"disposition"`
	Since       time.Time    `json:"since"`
	Level       vip.Level    `json:"level"`               // last decided
	RecoverAt   time.Time    `json:"recover_at,omitzero"` // end of the recovery delay, or of the start delay, that is running
	Drain       DrainMemory  `json:"drain,omitzero"`
	GrowFrom    time.Time    `json:"grow_from,omitzero"`  // since when its weight grows (slow_start)
	Failed      bool         `json:"failed,omitempty"`    // the requirement was seen not to hold since it was last announced
	Flaps       []time.Time  `json:"flaps,omitempty"`     // when it failed while it was announced, within FlapWindow, newest last
	Announced   []netip.Addr `json:"announced,omitempty"` // addresses whose announcement was wanted
	Lowered     bool         `json:"lowered,omitempty"`   // its routers have the priority of a degraded service
	LowerFrom   time.Time    `json:"lower_from,omitzero"` // since when Lowered should be otherwise

	Fallback FallbackMemory `json:"fallback,omitzero"`

	RefusedUntil time.Time `json:"refused_until,omitzero"` // its routers take no part until then: this host cannot have an address
}

// StopStep is how far a polite stop has come.
type StopStep uint8

// The steps, in their order.
const (
	StopNone     StopStep = iota
	StopShift             // announced with GRACEFUL_SHUTDOWN, so that the ToR moves traffic first
	StopWithdraw          // withdrawn; waiting until that was sent
	StopLinger            // packets under way still arrive
	StopCease             // sessions close
	StopRemove            // what we added to this host is removed: addresses, default routes
	StopDone
)

var stopStepNames = [...]string{"none", "shift", "withdraw", "linger", "cease", "remove", "done"}

func (s StopStep) String() string { return stopStepNames[s] }

// StopMemory is the state of a polite stop.
type StopMemory struct {
	Step  StopStep  `json:"step"`
	Since time.Time `json:"since,omitzero"` // of Step
	Sent  time.Time `json:"sent,omitzero"`  // when every Established peer had what Step wants; of StopRemove: when no router answered any more
}
