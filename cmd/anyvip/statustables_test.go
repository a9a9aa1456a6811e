package main

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	anyvipv1 "github.com/anyvip/anyvip/pkg/api/anyvip/v1"
)

var update = flag.Bool("update", false, "rewrite testdata")

var testNow = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) *timestamppb.Timestamp   { return timestamppb.New(testNow.Add(-d)) }
func ahead(d time.Duration) *timestamppb.Timestamp { return ago(-d) }

func reason(code anyvipv1.ReasonCode_Enum, subject, detail string) *anyvipv1.Reason {
	return &anyvipv1.Reason{Code: code, Subject: subject, Detail: detail, Since: ago(12 * time.Second), Until: ahead(2500 * time.Millisecond)}
}

func service(name string, d anyvipv1.Disposition_Enum, why *anyvipv1.Reason, addresses ...*anyvipv1.ServiceAddress) *anyvipv1.Service {
	return &anyvipv1.Service{Name: name, Disposition: d, Since: ago(3*time.Minute + 4*time.Second), Reasons: []*anyvipv1.Reason{why}, Addresses: addresses}
}

func address(prefix string, sentTo []string, reasons ...*anyvipv1.Reason) *anyvipv1.ServiceAddress {
	return &anyvipv1.ServiceAddress{Prefix: prefix, Wanted: len(sentTo) > 0, SentTo: sentTo, Reasons: reasons}
}

// everyStatus has each disposition, reason, outcome, session cause and address
// state once.
func everyStatus() *anyvipv1.Status {
	return &anyvipv1.Status{
		Serial: 4711, At: ago(0), Node: "s1", Version: "v0.1.0", Started: ago(50 * time.Hour), Phase: anyvipv1.Phase_RUNNING,
		Services: everyService(), Checks: everyCheck(), Sessions: everySession(), Addresses: everyAddress(), Routers: everyRouter(),
		Events: []*anyvipv1.Event{
			{Serial: 1, At: ago(50 * time.Hour), Kind: anyvipv1.EventKind_AGENT, Name: "s1", To: "starting"},
			{Serial: 2, At: ago(49 * time.Hour), Kind: anyvipv1.EventKind_SERVICE, Name: "web", From: "pending", To: "announced", Reason: "healthy"},
			{Serial: 3, At: ago(5 * time.Second), Kind: anyvipv1.EventKind_CHECK, Name: "db", From: "pass", To: "fail", Reason: "connection refused\nsecond line"},
		},
		DefaultRoutes:  []*anyvipv1.DefaultRoute{{Family: anyvipv1.Family_IPV4, NextHops: []string{"10.0.1.1", "10.0.2.1"}}, {Family: anyvipv1.Family_IPV6, Detail: "DETAIL"}},
		IntentsWarning: "drains will not survive a restart: no space left on device",
		Drains: []*anyvipv1.DrainIntent{
			{Node: true, Reason: "kernel update", Actor: "drain_file", Since: ago(90 * time.Second)},
			{Service: "going", Actor: "kim", Since: ago(time.Hour), Until: ahead(time.Hour)},
			{Service: "old", Reason: "new disks", Actor: "root", Since: ago(30 * 24 * time.Hour)},
		},
		Hooks:    []*anyvipv1.Hook{{Name: "pager", Runs: 12, Failed: 2, Dropped: 1, LastFailure: "web to withdrawn: exit code 1: no route"}, {Name: "quiet"}},
		Reload:   &anyvipv1.Reload{At: ago(time.Minute), Error: "/etc/anyvip/anyvip.yaml:3:1: bpg: unknown key; did you mean bgp?\nand more"},
		Counters: &anyvipv1.Counters{Decisions: 99, AddressAdds: 3},
	}
}

func everyService() []*anyvipv1.Service {
	both := []string{"tor-a", "tor-b"}
	services := []*anyvipv1.Service{
		service("web", anyvipv1.Disposition_ANNOUNCED, reason(anyvipv1.ReasonCode_HEALTHY, "", ""),
			address("192.0.2.10/32", both),
			address("2001:db8:10::10/128", both[:1], reason(anyvipv1.ReasonCode_SESSION_DOWN, "tor-b", "10.0.1.2 refuses TCP port 179"))),
		service("waiting", anyvipv1.Disposition_PENDING, reason(anyvipv1.ReasonCode_CHECK_PENDING, "web", "no verdict yet"), address("192.0.2.11/32", nil)),
		service("down", anyvipv1.Disposition_WITHDRAWN, reason(anyvipv1.ReasonCode_CHECK_FAILED, "web", "connection refused"), address("192.0.2.12/32", nil)),
		service("soon", anyvipv1.Disposition_RECOVERING, reason(anyvipv1.ReasonCode_RECOVERY_DELAY, "", "healthy again; announced after recovery_delay of 5s"), address("192.0.2.13/32", nil)),
		service("slow", anyvipv1.Disposition_DEGRADED, reason(anyvipv1.ReasonCode_CHECK_DEGRADED, "db", "connection refused"), address("192.0.2.14/32", both)),
		service("going", anyvipv1.Disposition_LEAVING, reason(anyvipv1.ReasonCode_STOPPING, "", "the agent stops; shift"), address("192.0.2.15/32", both)),
	}
	services[5].Drain = &anyvipv1.Drain{Step: anyvipv1.DrainStep_QUIET, Since: ago(time.Second), WithdrawnBy: ahead(12 * time.Second), Routed: true,
		Open: proto.Uint32(12), Receiving: proto.Uint32(3), Intent: &anyvipv1.DrainIntent{Node: true, Reason: "kernel update", Actor: "drain_file", Since: ago(90 * time.Second)}}
	wanted := func(a *anyvipv1.ServiceAddress) *anyvipv1.ServiceAddress { a.Wanted = true; return a }
	services = append(services,
		service("elected", anyvipv1.Disposition_ANNOUNCED, reason(anyvipv1.ReasonCode_HEALTHY, "", ""), wanted(address("10.0.5.100/32", nil)), wanted(address("2001:db8:5::100/128", nil))),
		service("fallen", anyvipv1.Disposition_ANNOUNCED, reason(anyvipv1.ReasonCode_FALLBACK, "eth1", "no BGP session is up"), wanted(address("10.0.5.101/32", nil))),
		service("listens", anyvipv1.Disposition_STANDBY, reason(anyvipv1.ReasonCode_BACKUP, "10.0.5.2", "is Active"), address("10.0.5.102/32", nil)),
		service("on-lo", anyvipv1.Disposition_ANNOUNCED, reason(anyvipv1.ReasonCode_HEALTHY, "", ""), wanted(address("10.0.5.103/32", both))))
	for code := range anyvipv1.ReasonCode_Enum_name {
		c := anyvipv1.ReasonCode_Enum(code)
		services = append(services, service("z-"+word(c), anyvipv1.Disposition_UNSPECIFIED, reason(c, "SUBJECT", "DETAIL"), address("192.0.2.16/32", nil)))
	}
	slices.SortStableFunc(services[6:], func(a, b *anyvipv1.Service) int { return strings.Compare(a.GetName(), b.GetName()) })
	return services
}

func everyRouter() []*anyvipv1.VirtualRouter {
	router := func(name string, s anyvipv1.RouterState_Enum, answers bool, addresses ...string) *anyvipv1.VirtualRouter {
		return &anyvipv1.VirtualRouter{Name: name, Interface: "eth1", Vrid: 51, State: s, Since: ago(time.Minute), Cause: anyvipv1.RouterCause_STARTED,
			Priority: 100, Answers: answers, Addresses: addresses}
	}
	routers := []*anyvipv1.VirtualRouter{
		router("elected/ipv4", anyvipv1.RouterState_ACTIVE, true, "10.0.5.100"),
		router("elected/ipv6", anyvipv1.RouterState_BACKUP, false, "2001:db8:5::100"),
		router("fallen", anyvipv1.RouterState_ACTIVE, true, "10.0.5.101"),
		router("listens", anyvipv1.RouterState_BACKUP, false, "10.0.5.102"),
		router("on-lo", anyvipv1.RouterState_INITIALIZE, false, "10.0.5.103"),
	}
	routers[3].By, routers[3].Cause = "10.0.5.2", anyvipv1.RouterCause_HIGHER_PRIORITY
	routers[3].Others = []*anyvipv1.OtherRouter{{Address: "10.0.5.2", Mac: "02:00:00:00:00:02", Vrid: 51, Priority: 150}}
	for code := range anyvipv1.RouterTrouble_Enum_name {
		c := anyvipv1.RouterTrouble_Enum(code)
		r := router("z-"+word(c), anyvipv1.RouterState_ACTIVE, true)
		r.Others = []*anyvipv1.OtherRouter{{Address: "10.0.5.3", Mac: "02:00:00:00:00:03", Vrid: 51, Priority: 90, Trouble: []anyvipv1.RouterTrouble_Enum{c}}}
		routers = append(routers, r)
	}
	for code := range anyvipv1.RouterCause_Enum_name {
		c := anyvipv1.RouterCause_Enum(code)
		r := router("y-"+word(c), anyvipv1.RouterState_LEAVING, true)
		r.Cause, r.Detail = c, "DETAIL"
		routers = append(routers, r)
	}
	slices.SortStableFunc(routers[5:], func(a, b *anyvipv1.VirtualRouter) int { return strings.Compare(a.GetName(), b.GetName()) })
	return routers
}

func everyCheck() []*anyvipv1.Check {
	check := func(name string, o anyvipv1.Outcome_Enum, last *anyvipv1.Result) *anyvipv1.Check {
		return &anyvipv1.Check{Name: name, Kind: "http", Target: "http://127.0.0.1:8080/", Scope: anyvipv1.Scope_LOCAL, Outcome: o,
			Since: ago(2 * time.Hour), Detail: "what settled it", Probes: 7200, Last: last}
	}
	result := func(o anyvipv1.Outcome_Enum, detail string, d time.Duration) *anyvipv1.Result {
		return &anyvipv1.Result{At: ago(time.Second), Outcome: o, Class: anyvipv1.Class_TIMEOUT, Detail: detail, Latency: durationpb.New(d)}
	}
	checks := []*anyvipv1.Check{
		check("web", anyvipv1.Outcome_PASS, result(anyvipv1.Outcome_PASS, "200 OK", 1234*time.Microsecond)),
		check("slow", anyvipv1.Outcome_DEGRADED, result(anyvipv1.Outcome_DEGRADED, "", 1500*time.Millisecond)),
		check("db", anyvipv1.Outcome_FAIL, result(anyvipv1.Outcome_FAIL, "connection refused", 85*time.Microsecond)),
		check("turning", anyvipv1.Outcome_PASS, result(anyvipv1.Outcome_FAIL, "", 500*time.Millisecond)),
		check("new", anyvipv1.Outcome_UNKNOWN, nil),
		check("broken", anyvipv1.Outcome_PASS, result(anyvipv1.Outcome_ERROR, "no such script", 0)),
		check("hostile", anyvipv1.Outcome_FAIL, result(anyvipv1.Outcome_FAIL, "body \x1b[2Jis\r\nodd", time.Millisecond)),
	}
	checks[5].ErrorSince, checks[5].ErrorDetail = ago(90*time.Second), "no such script"
	return checks
}

func everySession() []*anyvipv1.Session {
	sessions := []*anyvipv1.Session{
		{Peer: "tor-a", Address: "10.0.1.1", Asn: 65000, State: anyvipv1.SessionState_ESTABLISHED, Since: ago(49 * time.Hour), Cause: anyvipv1.SessionCause_NONE, Flaps: 1,
			Local: "10.0.1.11", RemoteId: "10.0.1.1", HoldTime: durationpb.New(9 * time.Second), SentPrefixes: 5,
			Families: []anyvipv1.Family_Enum{anyvipv1.Family_IPV4, anyvipv1.Family_IPV6}},
		{Peer: "fabric", Interface: "eth1", State: anyvipv1.SessionState_IDLE, Since: ago(time.Second)},
		{Peer: "fabric2", Interface: "eth2", Address: "fe80::a%eth2", Asn: 4200000001, State: anyvipv1.SessionState_CONNECT, Since: ago(time.Second)},
		{Peer: "tor-b", Address: "2001:db8::2", Asn: 65000, State: anyvipv1.SessionState_OPEN_CONFIRM, Since: ago(0)},
	}
	odd := &anyvipv1.Session{Peer: "z-odd", State: anyvipv1.SessionState_ESTABLISHED, Since: ago(time.Minute), Cause: anyvipv1.SessionCause_NONE, Warning: "WARNING"}
	oddAndDown := &anyvipv1.Session{Peer: "z-odd-and-down", State: anyvipv1.SessionState_IDLE, Since: ago(time.Minute), Cause: anyvipv1.SessionCause_SILENT, Detail: "DETAIL", Warning: "WARNING"}
	sessions = append(sessions, odd, oddAndDown)
	for code := range anyvipv1.SessionCause_Enum_name {
		c := anyvipv1.SessionCause_Enum(code)
		sessions = append(sessions, &anyvipv1.Session{Peer: "z-" + word(c), State: anyvipv1.SessionState_ACTIVE, Since: ago(time.Minute), Cause: c, Detail: "DETAIL"})
	}
	slices.SortStableFunc(sessions[4:], func(a, b *anyvipv1.Session) int { return strings.Compare(a.GetPeer(), b.GetPeer()) })
	return sessions
}

func everyAddress() (addresses []*anyvipv1.Address) {
	for code := range anyvipv1.AddressState_Enum_name {
		s := anyvipv1.AddressState_Enum(code)
		addresses = append(addresses, &anyvipv1.Address{Address: "z-" + word(s), State: s, Since: ago(time.Minute), Ours: code == 4, Link: "lo",
			Lost: []*timestamppb.Timestamp{ago(time.Hour)}, Detail: "DETAIL"})
	}
	slices.SortFunc(addresses, func(a, b *anyvipv1.Address) int { return strings.Compare(a.GetAddress(), b.GetAddress()) })
	return addresses
}

func TestStatusInEveryForm(t *testing.T) {
	for name, tc := range map[string]struct {
		form string
		out  screen
	}{
		"piped.txt":    {formTable, screen{}},
		"wide.txt":     {formWide, screen{width: 80}},
		"terminal.txt": {formTable, screen{terminal: true, colour: true, width: 100}},
		"status.json":  {formJSON, screen{terminal: true, colour: true, width: 100}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := render(everyStatus(), tc.form, tc.out, testNow)
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", name)
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestAnAgentWithoutAnything(t *testing.T) {
	got := renderTables(&anyvipv1.Status{Node: "s1", Version: "v1", Started: ago(0), Phase: anyvipv1.Phase_STARTING}, true, screen{}, testNow)
	if want := "node s1  starting  up 0s  anyvip v1\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// No control sequence that came from the network reaches a terminal, in
// whatever field it hides.
func TestNothingFromTheNetworkControlsTheTerminal(t *testing.T) {
	const attack = "\x1b]0;title\a\u009b2J\u202e"
	s := everyStatus()
	s.Node, s.Version, s.Reload.Error = attack, attack, attack
	for _, x := range s.GetServices() {
		x.Name, x.Reasons[0].Detail, x.Reasons[0].Subject = attack, attack, attack
	}
	for _, x := range s.GetChecks() {
		x.Name, x.Target, x.Detail, x.ErrorDetail = attack, attack, attack, attack
	}
	for _, x := range s.GetSessions() {
		x.Peer, x.Address, x.Detail = attack, attack, attack
	}
	for _, x := range s.GetHooks() {
		x.Name, x.LastFailure = attack, attack
	}
	s.IntentsWarning = attack
	for _, x := range s.GetDrains() {
		x.Service, x.Actor, x.Reason = attack, attack, attack
	}
	for _, x := range s.GetEvents() {
		x.Name, x.From, x.Reason = attack, attack, attack
	}
	if got := renderTables(s, true, screen{}, testNow); strings.ContainsAny(got, "\x1b\a\u009b\u202e") {
		t.Error("a control sequence passed")
	}
}

func TestShortDurations(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 999 * time.Millisecond: "0s", 59 * time.Second: "59s", time.Minute: "1m00s", 61 * time.Second: "1m01s",
		time.Hour: "1h00m", 23*time.Hour + 59*time.Minute: "23h59m", 24 * time.Hour: "1d00h", 1000 * time.Hour: "41d16h",
	} {
		if got := short(d); got != want {
			t.Errorf("%s is written %s, want %s", d, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		0: "0s", 85 * time.Nanosecond: "85ns", 85 * time.Microsecond: "85µs", 1234 * time.Microsecond: "1.23ms", 500 * time.Millisecond: "500ms", 12345 * time.Millisecond: "12.3s",
	} {
		if got := latency(durationpb.New(d)); got != want {
			t.Errorf("%s is written %s, want %s", d, got, want)
		}
	}
}

// What does not fit continues below its own column; a word is never broken, and
// a screen without room is left to break lines itself.
func TestHang(t *testing.T) {
	const text = "the quick brown fox jumps over it"
	for _, tc := range []struct {
		column, width int
		want          string
	}{
		{4, 0, text},
		{4, 23, text},
		{4, 24, "the quick brown fox\n    jumps over it"},
		{4, 37, text},
		{0, 25, "the quick brown fox jumps\nover it"},
	} {
		if got := hang(text, tc.column, tc.width); got != tc.want {
			t.Errorf("column %d, width %d: %q, want %q", tc.column, tc.width, got, tc.want)
		}
	}
	if got := hang("x averyveryverylongwordthatdoesnotfit", 0, 20); got != "x\naveryveryverylongwordthatdoesnotfit" {
		t.Errorf("long word: %q", got)
	}
}
