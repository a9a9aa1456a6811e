package metrics

import (
	"bytes"
	"flag"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/anyvip/anyvip/pkg/health"
	"github.com/anyvip/anyvip/pkg/policy"
	"github.com/anyvip/anyvip/pkg/status"
	"github.com/anyvip/anyvip/pkg/vip"
)

var update = flag.Bool("update", false, "rewrite testdata")

func snapshot() *status.Snapshot {
	at := time.Unix(1_800_000_000, 0)
	p4, p6 := netip.MustParsePrefix("192.0.2.10/32"), netip.MustParsePrefix("2001:db8::10/128")
	return &status.Snapshot{
		Serial: 7, At: at, Node: "s1", Version: "v0.1.0", Started: at.Add(-time.Hour), Phase: policy.Running,
		Input: policy.Input{
			Peers: []policy.Peer{{Name: "tor-a"}, {Name: "tor-b"}},
			Checks: map[string]policy.Check{
				"web": {Verdict: health.Verdict{Outcome: vip.Pass, Since: at}},
				"db":  {Verdict: health.Verdict{Outcome: vip.Fail, Since: at, ErrorSince: at}},
			},
			Addresses: map[netip.Addr]vip.Address{p4.Addr(): {State: vip.AddressPresent}, p6.Addr(): {State: vip.AddressAbsent}},
			Defaults:  []vip.DefaultRoute{{Family: vip.IPv4, NextHops: []netip.Addr{netip.MustParseAddr("10.0.1.1")}}, {Family: vip.IPv6}},
			Sent:      map[string]map[netip.Prefix]vip.Announcement{"tor-a": {p4: {Prefix: p4}}},
			Routers:   map[string]vip.VirtualRouter{"db": {Name: "db", State: vip.RouterActive, Priority: 150, Others: []vip.OtherRouter{{Trouble: vip.TroubleRival}}}},
		},
		Desired: policy.Desired{
			Shown: map[string]vip.Session{
				"tor-a": {Peer: "tor-a", State: vip.Established, Since: at, Flaps: 2, Warning: "a second router"},
				"tor-b": {Peer: "tor-b", State: vip.Active},
			},
			Decisions: []policy.Decision{{Service: "web", Disposition: policy.Announced, Level: vip.LevelPass,
				Addresses: []policy.AddressDecision{{Prefix: p4, Wanted: true, SentTo: []string{"tor-a"}}, {Prefix: p6}},
				Drain:     &policy.DrainProgress{Step: policy.DrainQuiet, Counted: true, Open: 12, Receiving: 3}}}},
		Hooks: []status.Hook{{Name: "pager", Runs: 5, Failed: 2, Dropped: 1}},
		Checks: []status.Check{
			{Name: "web", Probes: 12, Last: vip.Result{At: at, Latency: 1500 * time.Microsecond}},
			{Name: "db"},
		},
		Reload:   status.Reload{At: at, Error: "bad file"},
		Counters: status.Counters{Decisions: 9, AddressAdds: 3, AdvertisementsSent: 17, AdvertisementsReceived: map[string]uint64{"accepted": 4, "checksum": 1}},
	}
}

func TestFullOutput(t *testing.T) {
	p := status.NewPublisher()
	p.Publish(snapshot())
	c := NewCollector(p)
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(c)
	recorder := httptest.NewRecorder()
	promhttp.HandlerFor(r, promhttp.HandlerOpts{}).ServeHTTP(recorder, httptest.NewRequest("GET", "/metrics", nil))
	got := recorder.Body.Bytes()
	const golden = "testdata/metrics.txt"
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, d := range allDescs {
		if !bytes.Contains(got, []byte(fqName(d))) {
			t.Errorf("%v is described but not in the output", d)
		}
	}
	problems, err := testutil.CollectAndLint(c)
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v %v", problems, err)
	}
}

// fqName digs the name out of a Desc's only public face.
func fqName(d *prometheus.Desc) string {
	s := d.String()
	_, s, _ = strings.Cut(s, `fqName: "`)
	name, _, _ := strings.Cut(s, `"`)
	return name
}

func TestNothingBeforeTheFirstDecision(t *testing.T) {
	if n := testutil.CollectAndCount(NewCollector(status.NewPublisher())); n != 0 {
		t.Errorf("%d metrics from an empty snapshot", n)
	}
}
