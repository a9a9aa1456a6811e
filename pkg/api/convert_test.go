package api

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/anyvip/anyvip/pkg/event"
	"github.com/anyvip/anyvip/pkg/health"
	"github.com/anyvip/anyvip/pkg/policy"
	"github.com/anyvip/anyvip/pkg/status"
	"github.com/anyvip/anyvip/pkg/vip"
)

var update = flag.Bool("update", false, "rewrite testdata")

// fullSnapshot has something to say in every field.
func fullSnapshot() *status.Snapshot {
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return at.Add(-d) }
	p4, p6 := netip.MustParsePrefix("192.0.2.10/32"), netip.MustParsePrefix("2001:db8:10::10/128")
	torA := netip.MustParseAddr("10.0.1.1")
	node := policy.Drain{Since: ago(time.Minute), Reason: "kernel update", Actor: "kim"}
	return &status.Snapshot{
		Serial: 7, At: at, Node: "s1", Version: "v0.1.0", Started: ago(time.Hour), Phase: policy.Running,
		Input: policy.Input{
			Checks: map[string]policy.Check{
				"web": {Scope: vip.ScopeDependency, Pending: true, Verdict: health.Verdict{Outcome: vip.Pass, Since: ago(time.Minute),
					Class: vip.ClassNone, Detail: "200 OK", ErrorSince: ago(time.Second), ErrorDetail: "no descriptors", Overloaded: ago(time.Second)}},
			},
			Addresses: map[netip.Addr]vip.Address{
				p6.Addr(): {Addr: p6.Addr(), State: vip.AddressAbsent, Since: ago(time.Second), Lost: []time.Time{ago(time.Second)}, Detail: "it is gone"},
				p4.Addr(): {Addr: p4.Addr(), State: vip.AddressPresent, Since: ago(time.Hour), Ours: true, Link: "lo"},
			},
			Defaults: []vip.DefaultRoute{{Family: vip.IPv4, NextHops: []netip.Addr{torA}}, {Family: vip.IPv6, Detail: "the kernel refuses it"}},
			Sent:     map[string]map[netip.Prefix]vip.Announcement{"tor-a": {p4: {Prefix: p4}}},
			Routers: map[string]vip.VirtualRouter{"db": {Name: "db", Interface: "eth1", VRID: 51, Family: vip.IPv4, State: vip.RouterBackup, Since: ago(time.Minute),
				Cause: vip.RouterHigherPriority, By: torA, Priority: 100, Answers: true, Addresses: []netip.Addr{netip.MustParseAddr("10.0.5.100")}, Detail: "cannot send",
				Others: []vip.OtherRouter{{Addr: torA, MAC: "02:00:00:00:00:01", VRID: 51, Priority: 150, Since: ago(time.Second), Trouble: vip.TroubleRival | vip.TroubleInterval}}}},
			Now:    at,
			Drains: map[string]policy.Drain{"": node, "gone": {Since: ago(time.Hour), Until: at.Add(time.Hour), Force: true}, "over": {Since: ago(time.Hour), Until: at}},
		},
		Desired: policy.Desired{
			Shown: map[string]vip.Session{
				"tor-a": {Peer: "tor-a", State: vip.Established, Since: ago(time.Minute), Flaps: 2, Local: netip.MustParseAddr("10.0.1.2"), Remote: torA,
					RemoteID: torA, HoldTime: 9 * time.Second, Families: []vip.Family{vip.IPv4, vip.IPv6}},
				"fabric": {Peer: "fabric", State: vip.OpenConfirm, Since: ago(time.Second), Remote: netip.MustParseAddr("fe80::a%eth1"), RemoteAS: 4200000001, Warning: "a second router"},
				"tor-b":  {Peer: "tor-b", State: vip.OpenSent, Since: ago(time.Second), Cause: vip.CauseNoOpen, Detail: "it never speaks"},
			},
			Decisions: []policy.Decision{{
				Service: "web", Disposition: policy.Degraded, Level: vip.LevelDegraded, Since: ago(time.Second),
				Reasons: []policy.Reason{{Code: policy.CodeCheckDegraded, Subject: "web", Detail: "slow", Since: ago(time.Second), Until: at.Add(time.Second)}},
				Addresses: []policy.AddressDecision{
					{Prefix: p4, Wanted: true, SentTo: []string{"tor-a"}, Reasons: []policy.Reason{{Code: policy.CodeSessionDown, Subject: "tor-b"}}},
					{Prefix: p6, Reasons: []policy.Reason{{Code: policy.CodeAddressAbsent, Subject: "2001:db8:10::10"}}},
				},
				Drain: &policy.DrainProgress{Step: policy.DrainQuiet, Since: ago(time.Second), Drain: node, WithdrawnBy: at.Add(time.Second), Routed: true,
					Counted: true, Open: 12, Receiving: 3},
			}}},
		Peers: []status.Peer{{Name: "tor-b", Address: netip.MustParseAddr("10.0.1.3"), ASN: 65000}, {Name: "tor-a", Address: torA, ASN: 65000}, {Name: "tor-new"},
			{Name: "fabric", Interface: "eth1"}},
		Checks: []status.Check{{Name: "web", Kind: "http", Target: "http://127.0.0.1/", Probes: 12, Last: vip.Result{Check: "web",
			At: at, Outcome: vip.Error, Class: vip.ClassLocal, Detail: "no descriptors", Latency: 1500 * time.Microsecond, Trigger: vip.TriggerListener},
			Warning: "file: no inotify"}},
		Events:   []event.Record{{Serial: 1, At: at, Kind: event.KindSession, Name: "tor-a", From: "OpenConfirm", To: "Established", Reason: "why not"}},
		Intents:  "the disk is full",
		Hooks:    []status.Hook{{Name: "pager", Runs: 5, Failed: 2, Dropped: 1, Last: "web to withdrawn: exit code 1"}},
		Reload:   status.Reload{At: ago(time.Minute), Error: "bad file"},
		Counters: status.Counters{Decisions: 9, AddressAdds: 3},
	}
}

func TestASnapshotInTheWordsOfTheProtocol(t *testing.T) {
	raw, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(statusOf(fullSnapshot()))
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := json.Indent(&got, raw, "", "  "); err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/status.json"
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Each field that the protocol has is filled from a Snapshot that has it all.
func TestNoFieldOfTheProtocolStaysEmpty(t *testing.T) {
	filled, known := map[protoreflect.FullName]bool{}, map[protoreflect.FullName]bool{}
	var walk func(protoreflect.Message)
	walk = func(m protoreflect.Message) {
		fields := m.Descriptor().Fields()
		for i := range fields.Len() {
			f := fields.Get(i)
			if f.ParentFile().Package() != "anyvip.v1" {
				continue
			}
			known[f.FullName()] = true
			if !m.Has(f) {
				continue
			}
			filled[f.FullName()] = true
			switch {
			case f.IsList() && f.Message() != nil:
				for j := range m.Get(f).List().Len() {
					walk(m.Get(f).List().Get(j).Message())
				}
			case !f.IsList() && f.Message() != nil:
				walk(m.Get(f).Message())
			}
		}
	}
	walk(statusOf(fullSnapshot()).ProtoReflect())
	for name := range known {
		if !filled[name] {
			t.Errorf("%s is never filled", name)
		}
	}
}

// A count of none is sent; one that is not known is left out.
func TestADrainsConnections(t *testing.T) {
	if d := drainOf(&policy.DrainProgress{Step: policy.DrainQuiet, Counted: true}); d.Open == nil || d.Receiving == nil || *d.Open+*d.Receiving != 0 {
		t.Errorf("none: %v", d)
	}
	own := policy.Drain{Reason: "disks \xff", Actor: "kim"}
	d := drainOf(&policy.DrainProgress{Step: policy.DrainDone, Service: "web", Drain: own, Open: 1})
	if d.Open != nil || d.Receiving != nil || d.GetIntent().GetNode() || d.GetIntent().GetService() != "web" || d.GetIntent().GetReason() != "disks \uFFFD" {
		t.Errorf("not known: %v", d)
	}
	if d := serviceOf(policy.Decision{Service: "web"}).GetDrain(); d != nil {
		t.Errorf("no drain: %v", d)
	}
}

// An empty time is left out, not sent as the year 1.
func TestAnEmptySnapshotHasNoTimes(t *testing.T) {
	s := statusOf(&status.Snapshot{})
	if s.GetAt() != nil || s.GetStarted() != nil || s.GetReload() != nil {
		t.Errorf("times in %v", s)
	}
}

// One string that is no UTF-8 would make the whole Status unsendable.
func TestWhatAProbeReadMayBeAnything(t *testing.T) {
	s := fullSnapshot()
	s.Checks[0].Last.Detail = "body \xff\xfe is odd"
	s.Events[0].Reason = "\xc3"
	got := statusOf(s)
	if _, err := proto.Marshal(got); err != nil {
		t.Fatal(err)
	}
	if d := got.GetChecks()[0].GetLast().GetDetail(); d != "body \uFFFD is odd" {
		t.Errorf("detail %q", d)
	}
}
