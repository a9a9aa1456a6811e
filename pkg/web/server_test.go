package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/anyvip/anyvip/pkg/policy"
	"github.com/anyvip/anyvip/pkg/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, alive func() error) (*status.Publisher, string) {
	t.Helper()
	p := status.NewPublisher()
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "some_metric 1") })
	s := NewServer(Options{Listen: "127.0.0.1:0", Snapshots: p, Metrics: metrics, Alive: alive, Log: slog.New(slog.DiscardHandler)})
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return p, "http://" + s.Addr().String()
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(body)
}

func TestReadyFollowsThePhase(t *testing.T) {
	p, url := start(t, func() error { return nil })
	for i, tc := range []struct {
		phase policy.Phase
		code  int
		text  string
	}{
		{policy.Starting, 503, "first round of checks"},
		{policy.Running, 200, "ready"},
		{policy.Stopping, 503, "stopping"},
		{policy.Stopped, 503, "stopped"},
	} {
		p.Publish(&status.Snapshot{Serial: uint64(i + 1), Phase: tc.phase})
		if code, body := get(t, url+"/readyz"); code != tc.code || !strings.Contains(body, tc.text) {
			t.Errorf("%v: %d %q, want %d with %q", tc.phase, code, body, tc.code, tc.text)
		}
		if code, _ := get(t, url+"/healthz"); code != 200 {
			t.Errorf("%v: healthz says %d", tc.phase, code)
		}
	}
}

func TestHealthNamesWhoStandsStill(t *testing.T) {
	p, url := start(t, func() error { return errors.New("bgp engine has stood still for 2.5s") })
	p.Publish(&status.Snapshot{Serial: 1, Phase: policy.Running})
	for _, path := range []string{"/healthz", "/readyz"} {
		if code, body := get(t, url+path); code != 503 || !strings.Contains(body, "bgp engine") {
			t.Errorf("%s: %d %q", path, code, body)
		}
	}
}

func TestRoutes(t *testing.T) {
	_, url := start(t, func() error { return nil })
	if code, body := get(t, url+"/metrics"); code != 200 || !strings.Contains(body, "some_metric") {
		t.Errorf("/metrics: %d %q", code, body)
	}
	if code, body := get(t, url+"/"); code != 200 || !strings.Contains(body, "/readyz") {
		t.Errorf("/: %d %q", code, body)
	}
	if code, _ := get(t, url+"/nothing"); code != 404 {
		t.Errorf("/nothing: %d", code)
	}
	r, err := http.Post(url+"/readyz", "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != 405 {
		t.Errorf("POST /readyz: %d", r.StatusCode)
	}
}

func TestATakenPortIsSaidClearly(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	err = NewServer(Options{Listen: l.Addr().String()}).Listen()
	if err == nil || !strings.Contains(err.Error(), "another process has this port") {
		t.Errorf("error %v", err)
	}
}

func TestWithoutAnAddressThereIsNoServer(t *testing.T) {
	s := NewServer(Options{Log: slog.New(slog.DiscardHandler)})
	if err := s.Listen(); err != nil || s.Addr() != nil {
		t.Errorf("listens on %v, %v", s.Addr(), err)
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		synctest.Wait()
		if len(ended) > 0 {
			t.Error("ended by itself, which would end the agent")
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestListenIsAnAddressAndAPort(t *testing.T) {
	for listen, good := range map[string]bool{
		"127.0.0.1:9473": true, "[::]:9473": true, "[fe80::1%eth0]:80": true, "": true,
		":9473": false, "localhost:9473": false, "127.0.0.1": false, "127.0.0.1:0": false, "127.0.0.1:65536": false, "9473": false,
	} {
		if ps := (Config{Listen: listen}).Validate(); (len(ps) == 0) != good {
			t.Errorf("%q: %v", listen, ps)
		}
	}
}

// A request that never ends is cut off when the server ends.
func TestTheStopIsBounded(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	s := NewServer(Options{Listen: "127.0.0.1:0", Snapshots: status.NewPublisher(), Log: slog.New(slog.DiscardHandler),
		Metrics: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			close(begun)
			select {
			case <-r.Context().Done():
			case <-release:
			}
		})})
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended, asked := make(chan error, 1), make(chan struct{})
	go func() { ended <- s.Run(ctx) }()
	go func() {
		defer close(asked)
		if r, err := http.Get("http://" + s.Addr().String() + "/metrics"); err == nil {
			r.Body.Close()
			t.Error("answered")
		}
	}()
	<-begun
	begin := time.Now()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if d := time.Since(begin); d > stopLimit+time.Second {
		t.Errorf("the stop took %s", d)
	}
	<-asked
}
