package agent

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/anyvip/anyvip/checks"
	"github.com/anyvip/anyvip/pkg/config"
	"github.com/anyvip/anyvip/pkg/event"
	"github.com/anyvip/anyvip/pkg/hint"
	"github.com/anyvip/anyvip/pkg/kernel"
	"github.com/anyvip/anyvip/pkg/policy"
	"github.com/anyvip/anyvip/pkg/status"
	"github.com/anyvip/anyvip/pkg/vip"
)

// aFileChanges has 2,000 hints in 20 s, of which each tenth has woken a probe.
func aFileChanges(t *testing.T, mail *mailbox) {
	t.Helper()
	for i := range 2000 {
		mail.hint(hint.Hint{Check: "web", Source: hint.File, Detail: fmt.Sprint("/run/x: write ", i)})
		if i%10 == 0 {
			mail.result(vip.Result{Check: "web", At: time.Now(), Outcome: vip.Pass, Trigger: vip.TriggerFile})
		}
		time.Sleep(10 * time.Millisecond)
	}
	synctest.Wait()
}

func wokenRecords(s *status.Snapshot) (out []event.Record) {
	for _, r := range s.Events {
		if r.To == "woken" {
			out = append(out, r)
		}
	}
	return out
}

func TestKernelEventsDoNotFloodTheRing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l, mail, snapshots := lonelyLoop(&config.Config{Checks: []checks.Config{{Name: "web", Rise: 1, Fall: 2, Kind: fakeKind{name: "web"}}}})
		go func() { _ = l.run(ctx) }()
		mail.result(vip.Result{Check: "web", At: time.Now(), Outcome: vip.Pass})
		aFileChanges(t, mail)
		time.Sleep(publishEvery)
		s := snapshots.Load()
		got := wokenRecords(s)
		if len(got) != 2 {
			t.Fatalf("%d records: %v", len(got), got)
		}
		if !strings.HasPrefix(got[1].Reason, "file: /run/x: write ") || !strings.HasSuffix(got[1].Reason, " (99 more were not recorded)") {
			t.Errorf("%q", got[1].Reason)
		}
		if n := s.Checks[0].Woken[vip.TriggerFile]; n != 200 {
			t.Errorf("%d probes were woken", n)
		}
		cancel()
		synctest.Wait()
	})
}

func TestAnEndThatTurnsAVerdictIsAlwaysRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l, mail, snapshots := lonelyLoop(&config.Config{Checks: []checks.Config{{Name: "web", Rise: 1, Fall: 2, Kind: fakeKind{name: "web"}}},
			Services: []policy.Service{{Name: "web", Require: policy.Require{Rule: policy.RuleCheck, Check: "web"}}}})
		go func() { _ = l.run(ctx) }()
		heard := func(gone bool, detail string) {
			mail.hint(hint.Hint{Check: "web", Source: hint.Listener, Gone: gone, Detail: detail, At: time.Now()})
		}
		result := func(r vip.Result) {
			r.Check, r.At = "web", time.Now()
			mail.result(r)
			time.Sleep(100 * time.Millisecond)
		}
		refused := vip.Result{Outcome: vip.Fail, Class: vip.ClassRefused, Trigger: vip.TriggerListener}
		result(vip.Result{Outcome: vip.Pass})
		for i := range 3 { // within ten seconds
			heard(true, fmt.Sprint(":80 ended ", i))
			heard(false, ":80 is bound")
			result(refused)
			heard(false, ":80 listens")
			result(vip.Result{Outcome: vip.Pass, Trigger: vip.TriggerListener})
		}
		heard(true, "of another check")
		mail.hint(hint.Hint{Check: "gone", Source: hint.Listener, Detail: "a reload removed it"})
		heard(true, ":80 ended while a probe was under way")
		result(vip.Result{Outcome: vip.Pass, Trigger: vip.TriggerListener, Latency: time.Second})
		result(refused)
		time.Sleep(publishEvery)
		var reasons []string
		for _, r := range wokenRecords(snapshots.Load()) {
			reasons = append(reasons, r.Reason)
		}
		want := "listener: :80 ended 0, then :80 is bound|listener: :80 listens|listener: :80 ended 1, then :80 is bound|listener: :80 listens|" +
			"listener: :80 ended 2, then :80 is bound|listener: :80 listens|listener: :80 ended while a probe was under way"
		if got := strings.Join(reasons, "|"); got != want {
			t.Errorf("%s", got)
		}
		cancel()
		synctest.Wait()
	})
}

// asks is a check that connects to an address.
func asks(name, address string) checks.Config {
	return checks.Config{Name: name, Rise: 1, Fall: 1, Kind: &checks.TCP{Address: address}}
}

func link(name string, up bool, prefixes ...string) vip.Link {
	l := vip.Link{Name: name, Up: up}
	for _, p := range prefixes {
		l.Prefixes = append(l.Prefixes, netip.MustParsePrefix(p))
	}
	return l
}

// Each row is what the kernel reports after the row before.
func TestChangesOfTheNetworkWakeWhatGoesOverIt(t *testing.T) {
	c := &config.Config{Checks: []checks.Config{
		asks("remote", "10.0.2.9:5432"), asks("remote6", "[2001:db8:2::9]:5432"),
		asks("here", "127.0.0.1:80"), asks("here too", "localhost:80"), asks("here6", "[::1]:80"),
		asks("by name", "db.example.net:5432"),
		{Name: "command", Rise: 1, Fall: 1, Kind: &checks.Exec{Command: []string{"/bin/true"}}},
	}}
	l, _, _ := lonelyLoop(c)
	var woken []string
	l.out.wake = func(check string, why vip.Trigger, gone bool) {
		woken = append(woken, fmt.Sprintf("%s: %s, gone %t", check, why, gone))
	}
	l.take(c)
	all := func(why vip.Trigger) []string {
		return []string{fmt.Sprintf("remote: %s, gone false", why), fmt.Sprintf("remote6: %s, gone false", why)}
	}
	lo := link("lo", true, "127.0.0.1/8", "::1/128")
	for _, step := range []struct {
		name  string
		links []vip.Link
		want  []string
	}{
		{"the first look is no change", []vip.Link{lo, link("eth0", true, "10.0.1.2/24")}, nil},
		{"nothing is new", []vip.Link{lo, link("eth0", true, "10.0.1.2/24")}, nil},
		{"another order is nothing new", []vip.Link{link("eth0", true, "10.0.1.2/24"), lo}, nil},
		{"a link goes down", []vip.Link{lo, link("eth0", false, "10.0.1.2/24")}, all(vip.TriggerLink)},
		{"it stays down", []vip.Link{lo, link("eth0", false, "10.0.1.2/24")}, nil},
		{"it is up again", []vip.Link{lo, link("eth0", true, "10.0.1.2/24")}, all(vip.TriggerLink)},
		{"a link that is down is made", []vip.Link{lo, link("eth0", true, "10.0.1.2/24"), link("eth1", false)}, nil},
		{"an address comes", []vip.Link{lo, link("eth0", true, "10.0.1.2/24", "2001:db8:1::2/64"), link("eth1", false)}, all(vip.TriggerAddress)},
		{"its addresses in another order", []vip.Link{lo, link("eth0", true, "2001:db8:1::2/64", "10.0.1.2/24"), link("eth1", false)}, nil},
		{"it has another length", []vip.Link{lo, link("eth0", true, "2001:db8:1::2/56", "10.0.1.2/24"), link("eth1", false)}, all(vip.TriggerAddress)},
		{"it moves to another link", []vip.Link{lo, link("eth0", true, "2001:db8:1::2/56"), link("eth1", false, "10.0.1.2/24")}, all(vip.TriggerAddress)},
		{"a link and an address at once are one change", []vip.Link{lo, link("eth0", true), link("eth1", true, "10.0.1.2/24")}, all(vip.TriggerLink)},
		{"a link is removed", []vip.Link{lo, link("eth1", true, "10.0.1.2/24")}, all(vip.TriggerLink)},
	} {
		woken = nil
		l.takeKernel(kernel.Report{Links: step.links})
		if diff := cmp.Diff(step.want, woken); diff != "" {
			t.Errorf("%s: woken (-want +got):\n%s", step.name, diff)
		}
	}
}

func TestWhatOfACheckIsWatched(t *testing.T) {
	here := func(at string) hint.Watch { return hint.Watch{Listener: netip.MustParseAddrPort(at)} }
	for name, tc := range map[string]struct {
		check checks.Config
		want  hint.Watch
	}{
		"loopback":                   {asks("", "127.0.0.1:80"), here("127.0.0.1:80")},
		"all of loopback":            {asks("", "127.8.9.10:80"), here("127.8.9.10:80")},
		"loopback of IPv6":           {asks("", "[::1]:80"), here("[::1]:80")},
		"localhost":                  {asks("", "localhost:80"), here("127.0.0.1:80")},
		"a VIP":                      {asks("", "192.0.2.10:443"), here("192.0.2.10:443")},
		"an address of a link":       {asks("", "10.0.1.2:5432"), here("10.0.1.2:5432")},
		"one that a link had":        {asks("", "10.0.3.2:5432"), hint.Watch{}},
		"an address beside a link's": {asks("", "10.0.1.3:5432"), hint.Watch{}},
		"another host":               {asks("", "10.0.2.9:5432"), hint.Watch{}},
		"a name":                     {asks("", "db.example.net:5432"), hint.Watch{}},
		"a URL":                      {checks.Config{Kind: &checks.HTTP{URL: "http://127.0.0.1:8080/healthz"}}, here("127.0.0.1:8080")},
		"a command":                  {checks.Config{Kind: &checks.Exec{Command: []string{"/bin/true"}}}, hint.Watch{}},
		"what the file names": {checks.Config{Kind: &checks.TCP{Address: "10.0.2.9:5432"},
			Watch: &checks.Watch{PIDFile: "/run/web.pid", Files: []string{"/etc/web.conf", "/etc/web.crt"}, Unit: "web.service"}},
			hint.Watch{PIDFile: "/run/web.pid", Files: []string{"/etc/web.conf", "/etc/web.crt"}, Unit: "web.service"}},
	} {
		t.Run(name, func(t *testing.T) {
			tc.check.Name, tc.want.Check = "web", "web"
			c := &config.Config{Checks: []checks.Config{tc.check}}
			l, _, _ := lonelyLoop(c)
			l.take(c)
			l.takeKernel(kernel.Report{Links: []vip.Link{link("eth0", true, "10.0.1.2/24"), link("eth1", true, "10.0.3.2/24")}})
			vip10 := netip.MustParseAddr("192.0.2.10")
			l.takeKernel(kernel.Report{Links: []vip.Link{link("eth0", true, "10.0.1.2/24"), link("eth1", true)},
				Addresses: map[netip.Addr]vip.Address{vip10: {Addr: vip10, State: vip.AddressPresent}}})
			if diff := cmp.Diff([]hint.Watch{tc.want}, l.desiredHints(), cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	t.Run("drain_file", func(t *testing.T) {
		l, _, _ := lonelyLoop(&config.Config{DrainFile: "/etc/anyvip/drain"})
		want := []hint.Watch{{Check: drainFileWatch, Files: []string{"/etc/anyvip/drain"}, Begin: true}}
		if diff := cmp.Diff(want, l.desiredHints(), cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}
