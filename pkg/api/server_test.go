package api

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	anyvipv1 "github.com/anyvip/anyvip/pkg/api/anyvip/v1"
	"github.com/anyvip/anyvip/pkg/event"
	"github.com/anyvip/anyvip/pkg/status"
)

// serving is a Server that runs, and what it serves.
type serving struct {
	snapshots *status.Publisher
	agent     *fakeAgent
	socket    string
	stop      context.CancelFunc
	ended     chan error
}

func serve(t *testing.T) serving {
	t.Helper()
	return serveAs(t, func(*Options) {})
}

func serveAs(t *testing.T, change func(*Options)) serving {
	t.Helper()
	s := serving{snapshots: status.NewPublisher(), agent: &fakeAgent{}, socket: filepath.Join(t.TempDir(), "run", "anyvip.sock"), ended: make(chan error, 1)}
	o := Options{Socket: s.socket, Snapshots: s.snapshots, Commander: s.agent, Log: slog.New(slog.DiscardHandler)}
	change(&o)
	server := NewServer(o)
	if err := server.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	s.stop = stop
	done := make(chan struct{})
	go func() { defer close(done); s.ended <- server.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	return s
}

func dial(t *testing.T, socket string) *Client {
	t.Helper()
	c, err := Dial(socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestStatusOverTheSocket(t *testing.T) {
	s := serve(t)
	s.snapshots.Publish(fullSnapshot())
	got, err := dial(t, s.socket).Status(t.Context())
	if err != nil || got.GetSerial() != 7 || got.GetNode() != "s1" || len(got.GetServices()) != 1 {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestWatchFollowsUntilTheAgentEnds(t *testing.T) {
	s := serve(t)
	s.snapshots.Publish(&status.Snapshot{Serial: 1})
	var serials []uint64
	var last error
	for st, err := range dial(t, s.socket).Watch(t.Context()) {
		if err != nil {
			last = err
			continue
		}
		serials = append(serials, st.GetSerial())
		if n := st.GetSerial(); n < 3 {
			s.snapshots.Publish(&status.Snapshot{Serial: n + 1})
		} else {
			s.stop()
		}
	}
	if fmt.Sprint(serials) != "[1 2 3]" {
		t.Errorf("serials %v", serials)
	}
	if last == nil || !strings.Contains(last.Error(), "has ended") {
		t.Errorf("the stream ended with %v", last)
	}
	if err := <-s.ended; err != nil {
		t.Error(err)
	}
	mustBeEmpty(t, filepath.Dir(s.socket))
}

func TestAWatchCanBeLeft(t *testing.T) {
	s := serve(t)
	s.snapshots.Publish(&status.Snapshot{Serial: 1})
	c := dial(t, s.socket)
	for _, err := range c.Watch(t.Context()) {
		if err != nil {
			t.Error(err)
		}
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, err := range c.Watch(ctx) {
		if err != nil {
			t.Errorf("a watch that its caller ends is no error: %v", err)
		}
		cancel()
	}
}

// A client that asks and never reads fills its own pipe. The agent publishes on,
// other clients are answered, and the stop is bounded.
func TestAClientThatNeverReadsHoldsNothingUp(t *testing.T) {
	s := serve(t)
	big := make([]event.Record, 20_000)
	for i := range big {
		big[i].Reason = strings.Repeat("x", 100) // 2 MB, more than any buffer on the way
	}
	publish := func(serial uint64) {
		begin := time.Now()
		s.snapshots.Publish(&status.Snapshot{Serial: serial, Events: big})
		if d := time.Since(begin); d > 100*time.Millisecond {
			t.Errorf("publishing took %s", d)
		}
	}
	publish(1)
	stuck, err := dial(t, s.socket).control.WatchStatus(t.Context(), &anyvipv1.WatchStatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stuck.Header(); err != nil { // the stream has begun to send
		t.Fatal(err)
	}
	for serial := range uint64(20) {
		publish(serial + 2)
	}
	if got, err := dial(t, s.socket).Status(t.Context()); err != nil || got.GetSerial() != 21 {
		t.Errorf("another client: serial %d, %v", got.GetSerial(), err)
	}
	begin := time.Now()
	s.stop()
	if err := <-s.ended; err != nil {
		t.Error(err)
	}
	if d := time.Since(begin); d > stopLimit+time.Second {
		t.Errorf("the stop took %s", d)
	}
}

func TestASecondAgentFailsBeforeItRuns(t *testing.T) {
	s := serve(t)
	second := NewServer(Options{Socket: s.socket, Snapshots: status.NewPublisher(), Log: slog.New(slog.DiscardHandler)})
	err := second.Listen()
	if err == nil || !strings.Contains(err.Error(), "socket "+s.socket+": an agent answers there already") {
		t.Errorf("error %v", err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	s.snapshots.Publish(&status.Snapshot{Serial: 1})
	if _, err := dial(t, s.socket).Status(t.Context()); err != nil {
		t.Errorf("the first one answers no more: %v", err)
	}
}

func TestAServerThatNeverRunsLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	s := NewServer(Options{Socket: filepath.Join(dir, "anyvip.sock")})
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	mustBeEmpty(t, dir)
}

// What is no gRPC is not answered, and does not keep the server from ending.
func TestWhatSpeaksNoGRPC(t *testing.T) {
	s := serve(t)
	conn, err := net.Dial("unix", s.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: anyvip\r\n\r\n")
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	all := make([]byte, 4096)
	for {
		n, err := conn.Read(all)
		if strings.Contains(string(all[:n]), "200") {
			t.Errorf("answered %q", all[:n])
		}
		if err != nil {
			break
		}
	}
	s.snapshots.Publish(&status.Snapshot{Serial: 1})
	if _, err := dial(t, s.socket).Status(t.Context()); err != nil {
		t.Error(err)
	}
}

// The agent's context may end between Listen and Run's first step.
func TestAServerThatIsEndedAtOnce(t *testing.T) {
	for range 50 { // Serve and the stop race
		dir := t.TempDir()
		s := NewServer(Options{Socket: filepath.Join(dir, "anyvip.sock"), Snapshots: status.NewPublisher(), Log: slog.New(slog.DiscardHandler)})
		if err := s.Listen(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Run(ctx); err != nil {
			t.Fatal(err)
		}
		mustBeEmpty(t, dir)
	}
}
