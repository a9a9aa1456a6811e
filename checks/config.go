package checks

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

// Config is one check. What results mean (Rise, Fall, Scope and all from SlowAfter
// on) is carried here because they are written here; packages health and policy give them
// their meaning.
type Config struct {
	Name         string        `yaml:"name" doc:"unique name, used by services, status, logs and metrics"`
	Kind         Kind          `yaml:",kind" doc:"exactly one of the kinds below"`
	Interval     time.Duration `yaml:"interval" default:"1s" doc:"between the starts of two probes, 10ms to 1h; of a heartbeat: after a report, until that counts again"`
	FastInterval time.Duration `yaml:"fast_interval" doc:"instead of interval while a change is pending, 10ms to interval; default: 200ms, or interval where that is shorter. Not for a heartbeat: nobody is asked"`
	Timeout      time.Duration `yaml:"timeout" default:"500ms" doc:"for one whole probe, name resolution included, 1ms to 1m; may be longer than interval: a probe never overlaps the next"`
	Rise         int           `yaml:"rise" default:"2" doc:"good results in a row before it counts as better, 1 to 100"`
	Fall         int           `yaml:"fall" default:"2" doc:"bad results in a row before it counts as worse, 1 to 100"`
	Scope        vip.Scope     `yaml:"scope" default:"local" doc:"local: a failure withdraws; dependency: it degrades at most; advisory: it is only shown"`
	SlowAfter    time.Duration `yaml:"degraded_above" doc:"a pass that took longer counts as degraded, up to timeout; default: never"`
	OnTimeout    vip.OnTimeout `yaml:"on_timeout" default:"fail" doc:"what no answer in time means: fail; degrade; absorb: the verdict stays, since a busy server's share would only bury the others"`
	OnGone       vip.OnGone    `yaml:"on_gone" default:"auto" doc:"after the kernel has told that the listener ended, a probe that is refused means: down, at once; probe: one failure like any other; auto: down for services in mode ecmp, probe where only services in mode vrrp refer to the check. It is probe always where no service refers to the check with scope local"`
	GoneGrace    time.Duration `yaml:"gone_grace" doc:"that probe waits so long, and every other one with it, for a listener that comes back; 0s to 1m"`
	Watch        *Watch        `yaml:"watch" doc:"what else, when it changes, makes a probe come at once, at most ten times a second. The end of a listener at the probed address is watched anyway"`
	ErrorHold    time.Duration `yaml:"error_hold" default:"60s" doc:"how long a check that cannot ask keeps its last verdict, 0s to 24h"`
	OnError      vip.OnError   `yaml:"on_error" default:"degrade" doc:"what it means after error_hold: hold, degrade or fail"`
}

// Watch names what tells that a service may have changed, before its interval is over.
type Watch struct {
	PIDFile string   `yaml:"pid_file" doc:"file with the service's process id, absolute path: the end of that process"`
	Files   []string `yaml:"files" doc:"absolute paths: a file that is made, changed, replaced or removed"`
	Unit    string   `yaml:"unit" doc:"systemd unit, like nginx.service: a change of its state"`
}

func (w *Watch) validate() (ps []vip.Problem) {
	if w == nil {
		return nil
	}
	if w.PIDFile != "" && !filepath.IsAbs(w.PIDFile) {
		ps = append(ps, vip.Problem{Path: "pid_file", Value: w.PIDFile, Message: "is not an absolute path"})
	}
	for i, f := range w.Files {
		if !filepath.IsAbs(f) {
			ps = append(ps, vip.Problem{Path: fmt.Sprintf("files[%d]", i), Value: f, Message: "is not an absolute path"})
		}
	}
	if w.Unit != "" && !strings.Contains(w.Unit, ".") {
		ps = append(ps, vip.Problem{Path: "unit", Value: w.Unit, Message: "has no type", Allowed: "such as " + w.Unit + ".service"})
	}
	return ps
}

// defaultFast is FastInterval where it is not set. It is no default tag because
// a check with a shorter interval need not say anything.
const defaultFast = 200 * time.Millisecond

// Told says whether the application reports how it is, and nobody is asked.
func (c Config) Told() bool {
	_, told := c.Kind.(*Heartbeat)
	return told
}

// Every is the time between the starts of two probes.
func (c Config) Every(fast bool) time.Duration {
	switch {
	case !fast || c.Told():
		return c.Interval
	case c.FastInterval == 0:
		return min(defaultFast, c.Interval)
	}
	return c.FastInterval
}

// FirstVerdict is how long the first verdict may take from a new check's start on.
// The longer one of Rise and Fall counts: by Fall alone a check that passes each time,
// but has to do so more often, would count as failed before its rise is complete. A bad
// one need not wait for this, since it fails by its Fall.
func (c Config) FirstVerdict() time.Duration {
	d := time.Duration(max(c.Rise, c.Fall)) * (c.Interval + c.Timeout)
	if h, told := c.Kind.(*Heartbeat); told {
		d += h.TTL // until it reports, or not
	}
	return d
}

// Equal compares everything that was configured.
func (c Config) Equal(d Config) bool {
	same := (c.Kind == d.Kind || reflect.DeepEqual(c.Kind, d.Kind)) && (c.Watch == d.Watch || reflect.DeepEqual(c.Watch, d.Watch))
	c.Kind, d.Kind, c.Watch, d.Watch = nil, nil, nil, nil
	return same && c == d
}

// KindName is the kind's key in the file, such as http; empty without a kind.
func (c Config) KindName() string {
	if c.Kind == nil {
		return ""
	}
	name, _ := c.Kind.Describe()
	return name
}

// Target is what is asked, in one line for humans: a URL, an address, a command.
func (c Config) Target() string {
	if c.Kind == nil {
		return ""
	}
	_, target := c.Kind.Describe()
	return vip.Line(target)
}

// Connects is the address and port that a probe connects to over TCP, where that is
// written as an address, or as localhost; the zero AddrPort where it is not.
func (c Config) Connects() netip.AddrPort {
	k, ok := c.Kind.(connector)
	if !ok {
		return netip.AddrPort{}
	}
	host, port, err := net.SplitHostPort(k.connectsTo())
	if err != nil {
		return netip.AddrPort{}
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	a, err := netip.ParseAddrPort(net.JoinHostPort(host, port))
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// Validate finds what is wrong with the check by itself; whether its name is
// unique is seen by whoever has the whole file.
func (c Config) Validate() (ps []vip.Problem) {
	if c.Name == "" {
		ps = append(ps, vip.Problem{Path: "name", Message: "is missing"})
	}
	if c.Kind == nil {
		ps = append(ps, vip.Problem{Message: "says not what to ask",
			Allowed: "exactly one of " + strings.Join(slices.Sorted(maps.Keys(Kinds())), ", ")})
	} else {
		ps = append(ps, vip.Under(c.KindName(), c.Kind.Validate())...)
	}
	ps = append(ps, within("interval", c.Interval, 10*time.Millisecond, time.Hour, "10ms to 1h")...)
	if c.FastInterval != 0 {
		ps = append(ps, within("fast_interval", c.FastInterval, 10*time.Millisecond, max(10*time.Millisecond, c.Interval),
			fmt.Sprintf("10ms to interval, which is %s", c.Interval))...)
	}
	ps = append(ps, within("timeout", c.Timeout, time.Millisecond, time.Minute, "1ms to 1m")...)
	ps = append(ps, within("rise", c.Rise, 1, 100, "1 to 100")...)
	ps = append(ps, within("fall", c.Fall, 1, 100, "1 to 100")...)
	if c.Told() && c.Watch != nil {
		ps = append(ps, vip.Problem{Path: "watch", Message: "wakes nobody: a heartbeat does not ask, the application reports"})
	}
	ps = append(ps, vip.Under("watch", c.Watch.validate())...)
	ps = append(ps, within("gone_grace", c.GoneGrace, 0, time.Minute, "0s to 1m")...)
	ps = append(ps, within("degraded_above", c.SlowAfter, 0, c.Timeout, fmt.Sprintf("0s to timeout, which is %s", c.Timeout))...)
	return append(ps, within("error_hold", c.ErrorHold, 0, 24*time.Hour, "0s to 24h")...)
}

func within[T cmp.Ordered](path string, v, low, high T, allowed string) []vip.Problem {
	if low <= v && v <= high {
		return nil
	}
	return []vip.Problem{{Path: path, Value: fmt.Sprint(v), Message: "is out of range", Allowed: allowed}}
}
