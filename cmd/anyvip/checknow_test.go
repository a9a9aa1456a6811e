package main

import (
	"context"
	"errors"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anyvip/anyvip/pkg/api"
	"github.com/anyvip/anyvip/pkg/health"
	"github.com/anyvip/anyvip/pkg/policy"
	"github.com/anyvip/anyvip/pkg/status"
	"github.com/anyvip/anyvip/pkg/vip"
)

// does is an agent's answer to what it is asked to do.
type does func(api.Command) (api.Reply, error)

func (d does) Do(_ context.Context, c api.Command) (api.Reply, error) { return d(c) }

func TestCheckNowSaysWhatTheProbeFound(t *testing.T) {
	const verdict = "verdict: fail for 2m"
	for _, tc := range []struct {
		last vip.Result
		want string
		exit int
	}{
		{vip.Result{Outcome: vip.Pass, Latency: 1500 * time.Microsecond, Detail: "status 200 OK"}, "web: pass in 1.5ms: status 200 OK\n" + verdict, 0},
		{vip.Result{Outcome: vip.Pass, Latency: 2 * time.Second}, "web: pass in 2s\n" + verdict, 0},
		{vip.Result{Outcome: vip.Degraded, Detail: "exit code 1"}, "web: degraded in 0s: exit code 1\n" + verdict, 1},
		{vip.Result{Outcome: vip.Fail, Class: vip.ClassRefused, Detail: "connection refused"}, "web: fail in 0s: connection refused\n" + verdict, 1},
		{vip.Result{Outcome: vip.Error, Detail: "no such file"}, "web: error in 0s: no such file\n" + verdict, 1},
	} {
		var a fakeAgent
		var asked []api.Command
		// Like the agent, it publishes the result after it has taken the wish.
		a = startAgentThat(t, does(func(c api.Command) (api.Reply, error) {
			asked = append(asked, c)
			at := time.Now()
			tc.last.At = at.Add(tc.last.Latency)
			a.Publish(&status.Snapshot{Serial: 2, Checks: []status.Check{{Name: "web", Last: tc.last}}, Input: policy.Input{
				Checks: map[string]policy.Check{"web": {Verdict: health.Verdict{Outcome: vip.Fail, Since: at.Add(-2 * time.Minute)}}}}})
			return api.Reply{At: at}, nil
		}))
		a.Publish(snapshot(1, 1, policy.Announced))
		out, err := call(t, "check", "now", "web", "--socket", a.socket)
		if !strings.HasPrefix(out, tc.want) || exitCode(err) != tc.exit {
			t.Errorf("%q, exit code %d for %v; want %q and %d", out, exitCode(err), err, tc.want, tc.exit)
		}
		if tc.exit != 0 && (err == nil || err.Error() != "the probe did not pass") {
			t.Errorf("%s: error %v", tc.last.Outcome, err)
		}
		if !slices.Equal(asked, []api.Command{api.Probe{Check: "web"}}) {
			t.Errorf("asked %v", asked)
		}
	}
}

func TestHeartbeatReportsWhatItWasTold(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	report := func(o vip.Outcome, detail string) []api.Command {
		return []api.Command{api.Heartbeat{Check: "queue", Outcome: o, Detail: detail, Actor: api.Actor{Name: me.Username, Operator: true}}}
	}
	for line, want := range map[string]struct {
		exit  int
		asked []api.Command
	}{
		"queue":                             {0, report(vip.Pass, "")},
		"queue --detail fine":               {0, report(vip.Pass, "fine")},
		"queue --degraded":                  {0, report(vip.Degraded, "")},
		"queue --degraded --detail waiting": {0, report(vip.Degraded, "waiting")},
		"--fail queue":                      {0, report(vip.Fail, "")},
		"queue --degraded=false --fail":     {0, report(vip.Fail, "")},
		"queue --degraded --fail":           {2, nil},
		"":                                  {2, nil},
		"queue web":                         {2, nil},
	} {
		var asked []api.Command
		a := startAgentThat(t, does(func(c api.Command) (api.Reply, error) {
			asked = append(asked, c)
			return api.Reply{}, nil
		}))
		out, err := call(t, append([]string{"heartbeat", "--socket", a.socket}, strings.Fields(line)...)...)
		if exitCode(err) != want.exit || !slices.Equal(asked, want.asked) {
			t.Errorf("%s: exit code %d for %v, asked %v; want %d and %v", line, exitCode(err), err, asked, want.exit, want.asked)
		}
		if err == nil && out != "" {
			t.Errorf("%s: a report that was taken is silent, not %q", line, out)
		}
	}
}

func TestWhatTheAgentRefusesIsSaid(t *testing.T) {
	commands := [][]string{{"check", "now", "wbe"}, {"heartbeat", "wbe"}}
	for _, refusal := range []struct {
		err  error
		want string
	}{
		{api.Unknown("check", "wbe", "web"), `there is no check "wbe"; did you mean web?`},
		{errors.New("check wbe is of another kind"), "check wbe is of another kind"},
		{api.ErrForbidden, "forbidden"},
	} {
		a := startAgentThat(t, does(func(api.Command) (api.Reply, error) { return api.Reply{}, refusal.err }))
		for _, c := range commands {
			if out, err := call(t, append(c, "--socket", a.socket)...); exitCode(err) != 1 || err.Error() != refusal.want || out != "" {
				t.Errorf("%v: %q, %v; want %s", c, out, err, refusal.want)
			}
		}
	}
	for _, c := range commands {
		nobody := filepath.Join(t.TempDir(), "nobody.sock")
		if out, err := call(t, append(c, "--socket", nobody)...); exitCode(err) != 1 || !strings.HasPrefix(err.Error(), "no agent at "+nobody) || out != "" {
			t.Errorf("%v: %q, %v", c, out, err)
		}
	}
}
