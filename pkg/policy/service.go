package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

// Service is one service's configuration: its addresses, what it requires and
// how it is announced.
type Service struct {
	Name          string         `yaml:"name" doc:"unique name, used in status, logs and metrics"`
	Addresses     []HostPrefix   `yaml:"addresses" doc:"the VIPs; always installed and announced as host addresses. In mode vrrp, and with a fallback, a network may stand behind one, like 10.0.5.100/24: it only names the segment"`
	Mode          Mode           `yaml:"mode" default:"ecmp" doc:"ecmp: every healthy server announces the VIPs over BGP; vrrp: one healthy server answers for them, on a segment with only layer 2"`
	Require       Require        `yaml:"require" doc:"which checks must hold: {all: [...]}, {any: [...]}, {at_least: 2, of: [...]}, nested, or none; in place of a check's name also {check: web, scope: dependency} and {service: db}"`
	Together      string         `yaml:"together" doc:"name of a group: all services that name it are announced while the requirements of each of them hold, and else none; a drain of one is a drain of all, and the longest of their recovery and start delays counts for each. Those in mode vrrp are Active on one server: either one of them has a vrid and the others ride on its virtual router, or each has one and all of these are Active or none is"`
	RecoveryDelay time.Duration  `yaml:"recovery_delay" default:"5s" doc:"healthy this long after a failure before it is announced again; doubles with each further failure within flap_window"`
	MaxRecovery   time.Duration  `yaml:"max_recovery_delay" default:"5m" doc:"what recovery_delay grows to at most"`
	FlapWindow    time.Duration  `yaml:"flap_window" default:"10m" doc:"failures of an announced service count this long"`
	StartDelay    time.Duration  `yaml:"start_delay" doc:"not announced in this time after the host's boot"`
	PreDrain      *PreDrain      `yaml:"pre_drain" doc:"runs before a drain begins, so that the application can end its own sessions; the drain waits for it, at most for timeout"`
	DrainHold     time.Duration  `yaml:"drain_hold" default:"5s" doc:"a drain: how long every peer has the less preferred route before it may go"`
	DrainTime     time.Duration  `yaml:"drain_time" default:"30s" doc:"a drain: when the route goes at the latest, although connections still receive"`
	WhenWithdrawn WhenWithdrawn  `yaml:"when_withdrawn" default:"keep" doc:"keep or remove the address on lo while the service is withdrawn"`
	ECMP          ECMPAttributes `yaml:"ecmp" doc:"BGP path attributes"`
	VRRP          VRRP           `yaml:"vrrp" doc:"the virtual routers of a service in mode vrrp"`
	Fallback      *Fallback      `yaml:"fallback" doc:"of a service in mode ecmp: the way to it while no BGP session is up"`
	Exclusive     bool           `yaml:"exclusive" doc:"no two servers may serve at once, as with a single writer. Its checks have to see to that; what could not keep it all the same is refused, which is fallback"`
}

// PreDrain is a command that runs before a drain begins.
type PreDrain struct {
	Command []string      `yaml:"command" doc:"program (absolute path) and arguments; no shell, and without capabilities. The event comes as JSON on standard input"`
	Timeout time.Duration `yaml:"timeout" default:"10s" doc:"then it is killed, and the drain goes on, 100ms to 10m"`
}

func (p *PreDrain) validate() (ps []vip.Problem) {
	if p == nil {
		return nil
	}
	ps = vip.CommandProblems("command", p.Command)
	if p.Timeout < 100*time.Millisecond || p.Timeout > 10*time.Minute {
		ps = append(ps, vip.Problem{Path: "timeout", Value: p.Timeout.String(), Message: "is out of range", Allowed: "100ms to 10m"})
	}
	return ps
}

// HostPrefix is a VIP as a host prefix. Text may leave the length out, or have that of
// the segment.
type HostPrefix struct {
	netip.Prefix
	Segment netip.Prefix // as it was written, where that is no host prefix
}

// UnmarshalText reads 192.0.2.10, 192.0.2.10/32, 2001:db8::1 or 2001:db8::1/128, and
// 10.0.5.100/24.
func (h *HostPrefix) UnmarshalText(text []byte) error {
	s := string(text)
	a, err := netip.ParseAddr(s)
	if err != nil {
		p, perr := netip.ParsePrefix(s)
		if perr != nil {
			return fmt.Errorf("%q is not an IP address", s)
		}
		if !p.IsSingleIP() {
			h.Segment = p
		}
		a = p.Addr()
	}
	if a.Zone() != "" {
		return fmt.Errorf("%s has a zone; a VIP has none", s)
	}
	a = a.Unmap()
	h.Prefix = netip.PrefixFrom(a, a.BitLen())
	return nil
}

// MarshalText writes the address with its host prefix length.
func (h HostPrefix) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// Mode is how a service's VIPs reach the network.
type Mode uint8

// The modes.
const (
	ModeECMP Mode = iota // host routes over BGP from every healthy server
	ModeVRRP             // one healthy server of a segment answers
)

var modeNames = [...]string{"ecmp", "vrrp"}

func (m Mode) String() string { return modeNames[m] }

// MarshalText writes the mode.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads ecmp or vrrp.
func (m *Mode) UnmarshalText(text []byte) error {
	i := slices.Index(modeNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("%q is no mode: ecmp or vrrp", text)
	}
	*m = Mode(i)
	return nil
}

// WhenWithdrawn says what happens to the address of a withdrawn service.
type WhenWithdrawn uint8

// What can happen to the address of a withdrawn service.
const (
	Keep   WhenWithdrawn = iota // the address stays while the service is configured
	Remove                      // the address is there only while announced
)

var whenWithdrawnNames = [...]string{"keep", "remove"}

func (w WhenWithdrawn) String() string { return whenWithdrawnNames[w] }

// MarshalText writes the name.
func (w WhenWithdrawn) MarshalText() ([]byte, error) { return []byte(w.String()), nil }

// UnmarshalText reads keep or remove.
func (w *WhenWithdrawn) UnmarshalText(text []byte) error {
	i := slices.Index(whenWithdrawnNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("%q is none of keep, remove", text)
	}
	*w = WhenWithdrawn(i)
	return nil
}

// ECMPAttributes are the path attributes of a healthy service, and what is
// different while it is degraded.
type ECMPAttributes struct {
	MED              uint32               `yaml:"med" doc:"MULTI_EXIT_DISC; lower is preferred, compared within one neighbour AS only"`
	LocalPref        uint32               `yaml:"local_pref" default:"100" doc:"LOCAL_PREF, on iBGP sessions only"`
	Prepend          uint8                `yaml:"prepend" max:"16" doc:"own AS number this many times more, on eBGP sessions"`
	Weight           uint16               `yaml:"weight" max:"1000" doc:"share of the traffic beside other servers, sent as link bandwidth; 0: nothing is sent, and all are alike. Every server of a VIP has one, or none"`
	SlowStart        time.Duration        `yaml:"slow_start" doc:"weight grows from a tenth to the whole in this time after a failure or a drain, in ten steps; needs weight"`
	Communities      []vip.Community      `yaml:"communities" doc:"RFC 1997, like 65000:100"`
	LargeCommunities []vip.LargeCommunity `yaml:"large_communities" doc:"RFC 8092, like 65000:1:2"`
	Degraded         DegradedAttributes   `yaml:"degraded" doc:"what is different while the service is degraded; the rest stays"`
}

// DegradedAttributes replace those of ECMPAttributes that are set (not nil).
type DegradedAttributes struct {
	MED              *uint32              `yaml:"med" default:"100" doc:"instead of the healthy one; never lower than it"`
	LocalPref        *uint32              `yaml:"local_pref" default:"50" doc:"instead of the healthy one; never higher than it"`
	Prepend          *uint8               `yaml:"prepend" default:"3" max:"16" doc:"instead of the healthy one; never lower than it"`
	Weight           *uint16              `yaml:"weight" max:"1000" doc:"instead of the healthy one; never higher than it. With prepend 0 a degraded server keeps a share"`
	Communities      []vip.Community      `yaml:"communities" doc:"instead of the healthy ones, where given"`
	LargeCommunities []vip.LargeCommunity `yaml:"large_communities" doc:"instead of the healthy ones, where given"`
}

// announcement is the service's path at a level, for any of its prefixes.
func (e *ECMPAttributes) announcement(l vip.Level) vip.Announcement {
	a := vip.Announcement{MED: e.MED, LocalPref: e.LocalPref, Prepend: e.Prepend, Weight: e.Weight,
		Communities: e.Communities, LargeCommunities: e.LargeCommunities}
	if l == vip.LevelDegraded {
		d := &e.Degraded
		if d.MED != nil {
			a.MED = *d.MED
		}
		if d.LocalPref != nil {
			a.LocalPref = *d.LocalPref
		}
		if d.Prepend != nil {
			a.Prepend = *d.Prepend
		}
		if d.Weight != nil {
			a.Weight = *d.Weight
		}
		if d.Communities != nil {
			a.Communities = d.Communities
		}
		if d.LargeCommunities != nil {
			a.LargeCommunities = d.LargeCommunities
		}
	}
	return a.Normalize()
}

// Validate finds what is wrong with the service by itself; whether its checks
// exist and its addresses are allowed is seen by whoever has the whole file.
func (s Service) Validate() (ps []vip.Problem) {
	if s.Name == "" {
		ps = append(ps, vip.Problem{Path: "name", Message: "is missing"})
	}
	if len(s.Addresses) == 0 {
		ps = append(ps, vip.Problem{Path: "addresses", Message: "is missing", Allowed: "at least one address"})
	}
	for i, h := range s.Addresses {
		if h.Segment.IsValid() && s.Mode == ModeECMP && s.Fallback == nil {
			ps = append(ps, vip.Problem{Path: fmt.Sprintf("addresses[%d]", i), Value: h.Segment.String(),
				Message: fmt.Sprintf("is a network; mode ecmp announces single addresses, written without a length or with /%d", h.Addr().BitLen())})
			continue
		}
		if a := h.Addr(); a.IsValid() && (a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() || a.IsLinkLocalUnicast() && (s.Mode == ModeECMP || a.Is4()) ||
			a == netip.AddrFrom4([4]byte{255, 255, 255, 255})) {
			ps = append(ps, vip.Problem{Path: fmt.Sprintf("addresses[%d]", i), Value: h.String(),
				Message: "cannot be a VIP: it is unspecified, loopback, multicast, broadcast or link-local"})
		}
	}
	if s.Require.Rule == RuleMissing {
		ps = append(ps, vip.Problem{Path: "require", Message: "is missing; a service that needs no check says so", Allowed: requireForms})
	}
	for _, k := range []struct {
		path  string
		value time.Duration
		most  time.Duration
	}{{"recovery_delay", s.RecoveryDelay, time.Hour}, {"max_recovery_delay", s.MaxRecovery, time.Hour}, {"flap_window", s.FlapWindow, 24 * time.Hour}, {"start_delay", s.StartDelay, time.Hour},
		{"ecmp.slow_start", s.ECMP.SlowStart, time.Hour}, {"drain_hold", s.DrainHold, time.Hour}, {"drain_time", s.DrainTime, time.Hour}} {
		if k.value < 0 || k.value > k.most {
			ps = append(ps, vip.Problem{Path: k.path, Value: k.value.String(), Message: "is out of range", Allowed: "0s to " + short(k.most)})
		}
	}
	if s.ECMP.SlowStart > 0 && s.ECMP.Weight == 0 {
		ps = append(ps, vip.Problem{Path: "ecmp.slow_start", Value: s.ECMP.SlowStart.String(), Message: "has nothing to grow without ecmp.weight"})
	}
	ps = append(ps, vip.Under("pre_drain", s.PreDrain.validate())...)
	if s.DrainHold > s.DrainTime {
		ps = append(ps, vip.Problem{Path: "drain_hold", Value: s.DrainHold.String(), Message: "is longer than drain_time", Allowed: "0s to " + s.DrainTime.String()})
	}
	ps = append(ps, s.validateFallback()...)
	if s.Mode == ModeVRRP {
		return append(ps, vip.Under("vrrp", s.validateVRRP())...)
	}
	return append(ps, vip.Under("ecmp.degraded", s.ECMP.validateDegraded())...)
}

// validateDegraded finds attributes that would make a degraded service the
// better one.
func (e ECMPAttributes) validateDegraded() (ps []vip.Problem) {
	d := e.Degraded
	if d.MED != nil && *d.MED < e.MED {
		ps = append(ps, vip.Problem{Path: "med", Value: fmt.Sprint(*d.MED), Message: "is better than the healthy service's",
			Allowed: fmt.Sprintf("%d or more", e.MED)})
	}
	if d.Weight != nil && (*d.Weight > e.Weight || *d.Weight == 0 && e.Weight > 0) {
		ps = append(ps, vip.Problem{Path: "weight", Value: fmt.Sprint(*d.Weight), Message: "is better than the healthy service's, or none",
			Allowed: fmt.Sprintf("1 to %d", e.Weight)})
	}
	if d.LocalPref != nil && *d.LocalPref > e.LocalPref {
		ps = append(ps, vip.Problem{Path: "local_pref", Value: fmt.Sprint(*d.LocalPref), Message: "is better than the healthy service's",
			Allowed: fmt.Sprintf("%d or less", e.LocalPref)})
	}
	if d.Prepend != nil && *d.Prepend < e.Prepend {
		ps = append(ps, vip.Problem{Path: "prepend", Value: fmt.Sprint(*d.Prepend), Message: "is better than the healthy service's",
			Allowed: fmt.Sprintf("%d or more", e.Prepend)})
	}
	return ps
}

// short writes a whole number of hours as one writes it in the file.
func short(d time.Duration) string { return fmt.Sprintf("%dh", d/time.Hour) }
