// Package metrics is the one Prometheus collector of the agent: it reads the
// Snapshot at each scrape, so that metrics, API and page agree. It is the only
// importer of client_golang, keeps no state and must not ask any other part.
package metrics

import (
	"net/http"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/anyvip/anyvip/pkg/policy"
	"github.com/anyvip/anyvip/pkg/status"
	"github.com/anyvip/anyvip/pkg/vip"
)

// Handler serves the agent's metrics, and those of the Go runtime and the
// process.
func Handler(p *status.Publisher) http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(NewCollector(p), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{})
}

// Collector turns the current Snapshot into metrics.
type Collector struct{ snapshots *status.Publisher }

// NewCollector reads from p.
func NewCollector(p *status.Publisher) *Collector { return &Collector{p} }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("anyvip_"+name, help, labels, nil)
}

// The metrics. Labels come from the configuration alone, so their number is
// bounded by it.
var (
	buildInfo      = desc("build_info", "Always 1; the version is a label.", "version", "node")
	startTime      = desc("start_time_seconds", "When the agent started, Unix time.")
	phase          = desc("phase", "1 for the phase that the agent is in.", "phase")
	addressAdds    = desc("vip_adds_total", "Times a VIP was added to this host, or put back.")
	decisions      = desc("decisions_total", "Runs of the policy decision.")
	reloadSuccess  = desc("reload_last_successful", "1 if the last reload was taken or there was none, 0 if it was refused.")
	reloadTime     = desc("reload_last_timestamp_seconds", "When the last reload ended, Unix time; absent if there was none.")
	disposition    = desc("service_disposition", "1 for the disposition that the service is in.", "service", "disposition")
	level          = desc("service_level", "0 fail, 1 degraded, 2 pass.", "service")
	drainReceiving = desc("service_drain_receiving", "Connections that still receive while the service drains; absent while they are not looked at.", "service")
	vipAnnounced   = desc("vip_announced", "1 if the peer has exactly the wanted announcement.", "service", "vip", "peer")
	vipWanted      = desc("vip_wanted", "1 if the VIP should be announced now.", "service", "vip")
	vipPresent     = desc("vip_present", "1 if the VIP is on this host and usable.", "vip")
	checkOutcome   = desc("check_outcome", "1 for the check's verdict.", "check", "outcome")
	checkError     = desc("check_error", "1 while the check cannot ask.", "check")
	checkProbes    = desc("check_probes_total", "Probes that ended.", "check")
	checkWoken     = desc("check_woken_probes_total", "Probes that something other than the interval asked for.", "check", "trigger")
	checkOverload  = desc("check_overload", "1 while timeouts of the check are absorbed.", "check")
	checkDuration  = desc("check_last_duration_seconds", "How long the latest probe took.", "check")
	checkTime      = desc("check_last_probe_timestamp_seconds", "When the latest probe ended, Unix time.", "check")
	hookRuns       = desc("hook_runs_total", "Runs of the hook that ended, well or not.", "hook")
	hookFailures   = desc("hook_failures_total", "Runs of the hook that failed; `anyvip status -o wide` says how the last one did.", "hook")
	hookDropped    = desc("hook_dropped_total", "Events that the hook was not told of: it was too slow, or a reload changed it.", "hook")
	sessionState   = desc("bgp_session_state", "1 for the state that the session is in (RFC 4271).", "peer", "state")
	sessionFlaps   = desc("bgp_session_flaps_total", "Times the session left Established.", "peer")
	sessionSince   = desc("bgp_session_state_timestamp_seconds", "When the session came into its state, Unix time.", "peer")
	sessionWarning = desc("bgp_session_warning", "1 while something is odd about the session although it may be up; `anyvip status` says what.", "peer")
	defaultHops    = desc("default_route_next_hops", "Next hops of the default route that comes from the peers; absent if it is not asked for.", "family")
	sessionSent    = desc("bgp_sent_prefixes", "Prefixes in the peer's Adj-RIB-Out.", "peer")
	routerState    = desc("router_state", "1 for the state that the virtual router is in (RFC 9568).", "router", "state")
	routerPriority = desc("router_priority", "What the virtual router advertises as Active, or would.", "router")
	routerTrouble  = desc("router_trouble", "1 while another router or host on the link is at odds with the virtual router; `anyvip status` says who.", "router", "trouble")
	vrrpSent       = desc("vrrp_advertisements_sent_total", "VRRP advertisements sent.")
	vrrpReceived   = desc("vrrp_advertisements_received_total", "VRRP packets that came, by what became of them.", "result")
	allDescs       = []*prometheus.Desc{buildInfo, startTime, phase, decisions, addressAdds, reloadSuccess, reloadTime, disposition, level, drainReceiving, vipAnnounced, vipWanted, vipPresent, checkOutcome, checkError, checkProbes, checkWoken, checkOverload, checkDuration, checkTime, hookRuns, hookFailures, hookDropped, sessionState, sessionFlaps, sessionSince, sessionSent, sessionWarning, defaultHops, routerState, routerPriority, routerTrouble, vrrpSent, vrrpReceived}
	phases         = []policy.Phase{policy.Starting, policy.Running, policy.Stopping, policy.Stopped}
	dispositions   = []policy.Disposition{policy.Pending, policy.Withdrawn, policy.Recovering, policy.Drained, policy.Degraded, policy.Announced, policy.Leaving, policy.Standby}
	routerStates   = []vip.RouterState{vip.RouterInitialize, vip.RouterBackup, vip.RouterActive, vip.RouterLeaving}
	outcomes       = []vip.Outcome{vip.Unknown, vip.Pass, vip.Degraded, vip.Fail}
	sessionsStates = []vip.SessionState{vip.Idle, vip.Connect, vip.Active, vip.OpenSent, vip.OpenConfirm, vip.Established}
)

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range allDescs {
		ch <- d
	}
}

// Collect implements prometheus.Collector. It blocks for nothing but ch.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	s := c.snapshots.Load()
	if s.Serial == 0 {
		return // nothing was decided yet
	}
	e := emitter{ch}
	e.agent(s)
	for _, d := range s.Desired.Decisions {
		e.service(d, s.Input)
	}
	for a, f := range s.Input.Addresses {
		e.gauge(vipPresent, truth(f.State == vip.AddressPresent), a.String())
	}
	for _, r := range s.Input.Routers {
		e.router(r)
	}
	e.counter(vrrpSent, s.Counters.AdvertisementsSent)
	for result, n := range s.Counters.AdvertisementsReceived {
		e.counter(vrrpReceived, n, result)
	}
	for _, r := range s.Input.Defaults {
		e.gauge(defaultHops, float64(len(r.NextHops)), r.Family.String())
	}
	for _, k := range s.Checks {
		e.check(k, s.Input.Checks[k.Name])
	}
	for _, h := range s.Hooks {
		e.counter(hookRuns, h.Runs, h.Name)
		e.counter(hookFailures, h.Failed, h.Name)
		e.counter(hookDropped, h.Dropped, h.Name)
	}
	for _, p := range s.Input.Peers {
		e.session(p.Name, s.Desired.Shown[p.Name], s.Input.Sent[p.Name])
	}
}

type emitter struct{ ch chan<- prometheus.Metric }

func (e emitter) gauge(d *prometheus.Desc, v float64, labels ...string) {
	e.ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (e emitter) counter(d *prometheus.Desc, v uint64, labels ...string) {
	e.ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

func (e emitter) agent(s *status.Snapshot) {
	e.gauge(buildInfo, 1, s.Version, s.Node)
	e.gauge(startTime, unix(s.Started))
	for _, p := range phases {
		e.gauge(phase, truth(p == s.Phase), p.String())
	}
	e.counter(decisions, s.Counters.Decisions)
	e.counter(addressAdds, s.Counters.AddressAdds)
	e.gauge(reloadSuccess, truth(s.Reload.Error == ""))
	if !s.Reload.At.IsZero() {
		e.gauge(reloadTime, unix(s.Reload.At))
	}
}

func (e emitter) service(d policy.Decision, in policy.Input) {
	for _, x := range dispositions {
		e.gauge(disposition, truth(x == d.Disposition), d.Service, x.String())
	}
	e.gauge(level, float64(d.Level), d.Service)
	if p := d.Drain; p != nil && p.Counted {
		e.gauge(drainReceiving, float64(p.Receiving), d.Service)
	}
	for _, a := range d.Addresses {
		addr := a.Prefix.Addr().String()
		e.gauge(vipWanted, truth(a.Wanted), d.Service, addr)
		has := make(map[string]bool, len(a.SentTo))
		for _, peer := range a.SentTo {
			has[peer] = true
		}
		for _, p := range in.Peers {
			e.gauge(vipAnnounced, truth(has[p.Name]), d.Service, addr, p.Name)
		}
	}
}

func (e emitter) check(k status.Check, c policy.Check) {
	for _, o := range outcomes {
		e.gauge(checkOutcome, truth(o == c.Verdict.Outcome), k.Name, o.String())
	}
	e.gauge(checkError, truth(!c.Verdict.ErrorSince.IsZero()), k.Name)
	e.counter(checkProbes, k.Probes, k.Name)
	e.gauge(checkOverload, truth(!c.Verdict.Overloaded.IsZero()), k.Name)
	for t := vip.TriggerRequest; t < vip.TriggerCount; t++ {
		e.counter(checkWoken, k.Woken[t], k.Name, t.String())
	}
	if !k.Last.At.IsZero() {
		e.gauge(checkDuration, k.Last.Latency.Seconds(), k.Name)
		e.gauge(checkTime, unix(k.Last.At), k.Name)
	}
}

func (e emitter) session(peer string, s vip.Session, sent map[netip.Prefix]vip.Announcement) {
	for _, x := range sessionsStates {
		e.gauge(sessionState, truth(x == s.State), peer, x.String())
	}
	e.counter(sessionFlaps, s.Flaps, peer)
	if !s.Since.IsZero() {
		e.gauge(sessionSince, unix(s.Since), peer)
	}
	e.gauge(sessionSent, float64(len(sent)), peer)
	e.gauge(sessionWarning, truth(s.Warning != ""), peer)
}

func (e emitter) router(r vip.VirtualRouter) {
	for _, x := range routerStates {
		e.gauge(routerState, truth(x == r.State), r.Name, x.String())
	}
	e.gauge(routerPriority, float64(r.Priority), r.Name)
	var all vip.RouterTrouble
	for _, o := range r.Others {
		all |= o.Trouble
	}
	for _, t := range (^vip.RouterTrouble(0)).Each() {
		e.gauge(routerTrouble, truth(all&t != 0), r.Name, t.String())
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func unix(t time.Time) float64 { return float64(t.UnixNano()) / 1e9 }
