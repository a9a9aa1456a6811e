package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/anyvip/anyvip/pkg/api"
	anyvipv1 "github.com/anyvip/anyvip/pkg/api/anyvip/v1"
	"github.com/anyvip/anyvip/pkg/policy"
	"github.com/anyvip/anyvip/pkg/status"
	"github.com/anyvip/anyvip/pkg/vip"
)

// fakeAgent serves what is published, and ends with the test.
type fakeAgent struct {
	*status.Publisher
	socket string
	stop   func()
}

func startAgent(t *testing.T) fakeAgent { return startAgentThat(t, nil) }

// startAgentThat starts one that does what it is asked to.
func startAgentThat(t *testing.T, does api.Commander) fakeAgent {
	t.Helper()
	a := fakeAgent{Publisher: status.NewPublisher(), socket: filepath.Join(t.TempDir(), "anyvip.sock")}
	server := api.NewServer(api.Options{Socket: a.socket, Snapshots: a.Publisher, Commander: does, Log: slog.New(slog.DiscardHandler)})
	if err := server.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	a.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(a.stop)
	return a
}

// snapshot has one service and one check, which was probed n times.
func snapshot(serial, n uint64, d policy.Disposition) *status.Snapshot {
	at := time.Now()
	return &status.Snapshot{Serial: serial, At: at, Node: "s1", Phase: policy.Running,
		Desired: policy.Desired{Decisions: []policy.Decision{{Service: "web", Disposition: d}}},
		Checks:  []status.Check{{Name: "web", Probes: n, Last: vip.Result{At: at, Outcome: vip.Pass}}}}
}

// call runs a command line and returns what it printed.
func call(t *testing.T, args ...string) (string, error) {
	t.Helper()
	t.Setenv("ANYVIP_CONFIG", filepath.Join(t.TempDir(), "none.yaml"))
	var out bytes.Buffer
	root := newRootCommand()
	root.SetOut(&out)
	root.SetErr(&out)
	root.SetArgs(args)
	err := root.ExecuteContext(t.Context())
	return out.String(), err
}

func TestStatusAsksTheAgent(t *testing.T) {
	a := startAgent(t)
	a.Publish(snapshot(1, 1, policy.Withdrawn)) // exit code 0 all the same
	out, err := call(t, "status", "--socket", a.socket)
	if err != nil || !strings.HasPrefix(out, "node s1  running") {
		t.Errorf("%q, %v", out, err)
	}
	out, err = call(t, "status", "--socket", a.socket, "-o", "json")
	var doc struct {
		Phase    string
		Services []struct{ Name, Disposition string }
	}
	if err != nil || json.Unmarshal([]byte(out), &doc) != nil || doc.Phase != "RUNNING" || doc.Services[0].Disposition != "WITHDRAWN" {
		t.Errorf("%q, %v", out, err)
	}
}

func TestStatusFindsTheSocketInTheFile(t *testing.T) {
	a := startAgent(t)
	a.Publish(snapshot(1, 1, policy.Announced))
	file := filepath.Join(t.TempDir(), "anyvip.yaml")
	if err := os.WriteFile(file, []byte("api: {socket: "+a.socket+"}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := call(t, "status", "-c", file); err != nil || !strings.Contains(out, "node s1") {
		t.Errorf("%q, %v", out, err)
	}
}

// states is a watch that yields these and ends with an error.
func states(each ...*anyvipv1.Status) iter.Seq2[*anyvipv1.Status, error] {
	return func(yield func(*anyvipv1.Status, error) bool) {
		for _, s := range each {
			if !yield(s, nil) {
				return
			}
		}
		yield(nil, errors.New("the agent has ended"))
	}
}

func TestWatchPrintsALineForEachChange(t *testing.T) {
	state := func(probes uint64, d anyvipv1.Disposition_Enum) *anyvipv1.Status {
		return &anyvipv1.Status{Serial: probes, At: ago(0), Services: []*anyvipv1.Service{{Disposition: d}},
			Counters: &anyvipv1.Counters{Decisions: probes},
			Checks:   []*anyvipv1.Check{{Probes: probes, Last: &anyvipv1.Result{At: ago(0), Latency: durationpb.New(time.Duration(probes))}}}}
	}
	var out bytes.Buffer
	err := printChanges(states(
		state(1, anyvipv1.Disposition_ANNOUNCED),
		state(2, anyvipv1.Disposition_ANNOUNCED), // a probe more is no change
		state(3, anyvipv1.Disposition_WITHDRAWN),
		state(4, anyvipv1.Disposition_WITHDRAWN),
		state(5, anyvipv1.Disposition_ANNOUNCED),
	), screen{Writer: &out}, formJSON)
	if err == nil || exitCode(err) != 1 {
		t.Errorf("the agent's end is lost: %v", err)
	}
	var serials []string
	for line := range strings.Lines(out.String()) {
		var s struct{ Serial string }
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			t.Errorf("%q: %v", line, err)
		}
		serials = append(serials, s.Serial)
	}
	if want := []string{"1", "3", "5"}; !slices.Equal(serials, want) {
		t.Errorf("printed %v, want %v", serials, want)
	}
}

// writes hands on what is written, write by write.
type writes chan string

func (w writes) Write(p []byte) (int, error) {
	w <- string(p)
	return len(p), nil
}

func TestWatchEndsWithTheAgentAndWithItsCaller(t *testing.T) {
	a := startAgent(t)
	a.Publish(snapshot(1, 1, policy.Announced))
	client, err := api.Dial(a.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	watch := func(end func()) error {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if end == nil {
			end = cancel
		}
		out, ended := make(writes), make(chan error, 1)
		go func() { ended <- watchStatus(ctx, client, screen{Writer: out}, formTable) }()
		if first := <-out; !strings.HasPrefix(first, "node s1") {
			t.Errorf("first block: %q", first)
		}
		end()
		return <-ended
	}
	if err := watch(nil); err != nil {
		t.Errorf("Ctrl-C is an error: %v", err)
	}
	if err := watch(a.stop); err == nil || !strings.Contains(err.Error(), "has ended") {
		t.Errorf("ended with %v", err)
	}
}

func TestWatchSeparatesBlocks(t *testing.T) {
	s := everyStatus()
	first, _ := renderChange(s, formTable, screen{}, true)
	second, _ := renderChange(s, formTable, screen{}, false)
	if second != "\n"+first {
		t.Error("the second block does not follow an empty line")
	}
}

// Ages go on between two states, and an end is passed on.
func TestATerminalIsRedrawnEachSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		states, ended := make(chan *anyvipv1.Status), make(chan error, 1)
		begin := time.Now()
		tick := time.NewTicker(redrawEvery)
		defer tick.Stop()
		go func() {
			time.Sleep(1500 * time.Millisecond)
			states <- &anyvipv1.Status{Serial: 1}
			time.Sleep(2 * time.Second)
			ended <- errors.New("the agent has ended")
		}()
		var drawn []time.Duration
		err := drawEach(states, ended, tick.C, func(*anyvipv1.Status, time.Time) error {
			drawn = append(drawn, time.Since(begin))
			return nil
		})
		if len(drawn) != 3 || drawn[0] != 1500*time.Millisecond || drawn[1] != 2*time.Second || drawn[2] != 3*time.Second {
			t.Errorf("drawn at %v", drawn)
		}
		if err == nil {
			t.Error("the end was lost")
		}
	})
}
