package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/anyvip/anyvip/pkg/api"
	anyvipv1 "github.com/anyvip/anyvip/pkg/api/anyvip/v1"
	"github.com/anyvip/anyvip/pkg/policy"
	"github.com/anyvip/anyvip/pkg/status"
)

// draining is a Status of services that have come to a step each, under the drain of
// the node.
func draining(steps ...anyvipv1.DrainStep_Enum) *anyvipv1.Status {
	s := &anyvipv1.Status{At: ago(0), Drains: []*anyvipv1.DrainIntent{{Node: true, Since: ago(time.Minute)}}}
	for i, step := range steps {
		d := &anyvipv1.Drain{Step: step, Intent: s.GetDrains()[0], Routed: step != anyvipv1.DrainStep_DONE}
		if d.GetRouted() {
			d.WithdrawnBy = ahead(12 * time.Second)
		}
		s.Services = append(s.Services, &anyvipv1.Service{Name: []string{"web", "api"}[i], Drain: d})
	}
	return s
}

// changed is a Status with something else in it.
func changed(s *anyvipv1.Status, change func(*anyvipv1.Status)) *anyvipv1.Status {
	change(s)
	return s
}

func TestADrainIsFollowedStepByStep(t *testing.T) {
	const (
		prepare, shift, hold = anyvipv1.DrainStep_PREPARE, anyvipv1.DrainStep_SHIFT, anyvipv1.DrainStep_HOLD
		quiet, done          = anyvipv1.DrainStep_QUIET, anyvipv1.DrainStep_DONE
	)
	var out bytes.Buffer
	err := followDrain(states(
		draining(prepare, prepare),
		changed(draining(prepare, prepare), func(s *anyvipv1.Status) { s.Services[1].Drain = nil }), // as before the drain reaches it
		draining(shift, shift),
		draining(shift, hold),
		changed(draining(hold, quiet), func(s *anyvipv1.Status) {
			s.Services[1].Drain.Open, s.Services[1].Drain.Receiving = proto.Uint32(12), proto.Uint32(3)
		}),
		draining(hold, quiet), // no step
		draining(quiet, done),
		changed(draining(done, done), func(s *anyvipv1.Status) { s.Services[0].Drain.Routed = true }), // the withdraw is not sent
		draining(done, done),
	), &out, "")
	if err != nil {
		t.Error(err)
	}
	want := `web: prepare; withdrawn in 12s at the latest
api: prepare; withdrawn in 12s at the latest
web: shift; withdrawn in 12s at the latest
api: shift; withdrawn in 12s at the latest
api: hold; withdrawn in 12s at the latest
web: hold; withdrawn in 12s at the latest
api: quiet; 3 of 12 connections still receive; withdrawn in 12s at the latest
web: quiet; withdrawn in 12s at the latest
api: done
web: done
`
	if out.String() != want {
		t.Errorf("printed\n%s\nwant\n%s", &out, want)
	}
}

// Nothing but the end of a drain ends the wait well: what comes next may be a reboot.
func TestAWaitThatEndsBeforeTheDrain(t *testing.T) {
	shift := anyvipv1.DrainStep_SHIFT
	own := func() *anyvipv1.Status {
		return changed(draining(shift), func(s *anyvipv1.Status) {
			s.Drains = append(s.Drains, &anyvipv1.DrainIntent{Service: "web", Until: ahead(0)})
		})
	}
	notOwn := func(at time.Duration) *anyvipv1.Status {
		return changed(draining(shift), func(s *anyvipv1.Status) { s.At = ahead(at) })
	}
	for name, tc := range map[string]struct {
		service string
		states  []*anyvipv1.Status
		want    string
	}{
		"the agent ends":               {"", []*anyvipv1.Status{draining(shift)}, "the drain of this node is not done: the agent has ended"},
		"the node's is taken back":     {"", []*anyvipv1.Status{draining(shift), {At: ago(0)}}, "the drain of this node was taken back before it was done"},
		"it was taken back at once":    {"", []*anyvipv1.Status{{At: ago(0)}}, "taken back"},
		"the service's is taken back":  {"web", []*anyvipv1.Status{own(), notOwn(-time.Second)}, "the drain of service web was taken back before it was done"},
		"its time is over":             {"web", []*anyvipv1.Status{own(), notOwn(0)}, "the drain of service web has ended before it was done: its --for is over"},
		"a reload removes the service": {"web", []*anyvipv1.Status{own(), changed(own(), func(s *anyvipv1.Status) { s.Services = nil })}, "service web is not configured any more; its drain stays"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := followDrain(states(tc.states...), &bytes.Buffer{}, tc.service); err == nil || !strings.Contains(err.Error(), tc.want) || exitCode(err) != 1 {
				t.Errorf("%v, want %s", err, tc.want)
			}
		})
	}
}

func TestADrainOfANodeWithoutServicesIsDone(t *testing.T) {
	if err := followDrain(states(draining()), &bytes.Buffer{}, ""); err != nil {
		t.Error(err)
	}
}

// obedient takes each drain and publishes how it goes.
type obedient struct {
	publish func(of string, d policy.Drain)
}

func (o obedient) Do(_ context.Context, c api.Command) (api.Reply, error) {
	d, ok := c.(api.Drain)
	if !ok || d.Service != "web" && d.Service != "" {
		return api.Reply{}, api.Unknown("service", d.Service, "web")
	}
	o.publish(d.Service, policy.Drain{Since: time.Now(), Reason: d.Reason})
	return api.Reply{}, nil
}

// atStep is a snapshot of a service whose drain has come to a step.
func atStep(serial uint64, of string, d policy.Drain, step policy.DrainStep) *status.Snapshot {
	s := snapshot(serial, 1, policy.Leaving)
	s.Input.Now, s.Input.Drains = s.At, map[string]policy.Drain{of: d}
	s.Desired.Decisions[0].Drain = &policy.DrainProgress{Step: step, Service: of, Drain: d}
	return s
}

func TestDrainWaits(t *testing.T) {
	for what, args := range map[string][]string{"service web": {"drain", "web", "--wait"}, "this node": {"drain", "--node", "--wait"}} {
		var a fakeAgent
		a = startAgentThat(t, obedient{func(of string, d policy.Drain) {
			a.Publish(atStep(2, of, d, policy.DrainHold))
			time.AfterFunc(300*time.Millisecond, func() { a.Publish(atStep(3, of, d, policy.DrainDone)) }) // later than a watch's gap
		}})
		a.Publish(snapshot(1, 1, policy.Announced))
		out, err := call(t, append(args, "--socket", a.socket)...)
		if want := "draining " + what + "\nweb: hold\nweb: done\n"; err != nil || out != want {
			t.Errorf("printed %q, want %q; %v", out, want, err)
		}
	}
}

func TestAnUnknownServiceIsNotWaitedFor(t *testing.T) {
	a := startAgentThat(t, obedient{})
	a.Publish(snapshot(1, 1, policy.Announced))
	if out, err := call(t, "drain", "wbe", "--wait", "--socket", a.socket); err == nil || err.Error() != `there is no service "wbe"; did you mean web?` || out != "" {
		t.Errorf("%q, %v", out, err)
	}
}

func TestAWaitEndsWithItsCallerAndWithTheAgent(t *testing.T) {
	a := startAgent(t)
	d := policy.Drain{Since: time.Now()}
	a.Publish(atStep(1, "web", d, policy.DrainHold))
	client, err := api.Dial(a.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	wait := func(end func()) error {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if end == nil {
			end = cancel
		}
		out, ended := make(writes), make(chan error, 1)
		go func() { ended <- waitForDrain(ctx, client, out, "web") }()
		if first := <-out; first != "web: hold\n" {
			t.Errorf("first line: %q", first)
		}
		end()
		for {
			select {
			case <-out:
			case err := <-ended:
				return err
			}
		}
	}
	if err := wait(nil); err == nil || err.Error() != "interrupted; the drain of service web stays, and goes on" {
		t.Errorf("Ctrl-C: %v", err)
	}
	if err := wait(a.stop); err == nil || !strings.Contains(err.Error(), "the drain of service web is not done: the agent at "+a.socket+" has ended") {
		t.Errorf("the agent's end: %v", err)
	}
}
