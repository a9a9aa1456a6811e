package load

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serveWeb runs a web server until the test ends and returns its URL.
func serveWeb(t *testing.T, name string) string {
	t.Helper()
	w, err := ListenWeb(t.Context(), "127.0.0.1:0", name)
	if err != nil {
		t.Fatal(err)
	}
	untilEnd(t, func(ctx context.Context) {
		if err := w.Run(ctx); err != nil {
			t.Errorf("web server: %v", err)
		}
	})
	return "http://" + w.Addr().String() + "/"
}

// serve handles each connection with handle, which may keep it open until ctx ends.
func serve(t *testing.T, handle func(ctx context.Context, c *net.TCPConn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	untilEnd(t, func(ctx context.Context) {
		defer context.AfterFunc(ctx, func() { l.Close() })()
		var open sync.WaitGroup
		defer open.Wait()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			open.Go(func() {
				defer c.Close()
				handle(ctx, c.(*net.TCPConn))
			})
		}
	})
	return "http://" + l.Addr().String() + "/"
}

func untilEnd(t *testing.T, run func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}

func run(t *testing.T, c Config) (Summary, []Event) {
	t.Helper()
	var events []Event
	s, err := Run(t.Context(), c, func(e Event) { events = append(events, e) })
	if err != nil {
		t.Fatal(err)
	}
	if len(events) < 2 || events[0].Kind != Ready || events[len(events)-1].Kind != Summed {
		t.Fatalf("events do not begin with ready and end with a summary: %+v", events)
	}
	return s, events
}

func TestRunCountsAnswersByServer(t *testing.T) {
	s, events := run(t, Config{Target: serveWeb(t, "s1"), Rate: 500, Count: 100, Each: true})
	if s.Requests != 100 || s.OK != 100 || s.Failed != 0 || !cmp.Equal(s.Servers, map[string]int{"s1": 100}) {
		t.Errorf("summary %+v", s)
	}
	if len(events) != 102 {
		t.Errorf("%d events", len(events))
	}
	if s.Latency.P50 <= 0 || s.Latency.P50 > s.Latency.P99 || s.Latency.P99 > s.Latency.Max {
		t.Errorf("latency %+v", s.Latency)
	}
	if took := s.Ended.Sub(s.Started); took < 198*time.Millisecond { // the last one is due after 99 * 2 ms
		t.Errorf("100 requests at 500/s took %v", took)
	}
}

func TestSpreadNeedsNoPortTwice(t *testing.T) {
	c := Spread(serveWeb(t, "s1"), 300)
	c.Each = true
	s, events := run(t, c)
	if s.OK != 300 {
		t.Fatalf("summary %+v", s)
	}
	for _, e := range events[1:301] {
		if e.Request.Port == 0 || e.Request.Server != "s1" {
			t.Fatalf("request %+v", *e.Request)
		}
	}
}

func TestRunTellsFailuresApart(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	answer := func(text string, reset bool) func(context.Context, *net.TCPConn) {
		return func(_ context.Context, c *net.TCPConn) {
			_, _ = c.Read(make([]byte, 4096))
			if reset {
				_ = c.SetLinger(0)
			}
			_, _ = io.WriteString(c, text)
		}
	}
	hang := func(ctx context.Context, _ *net.TCPConn) { <-ctx.Done() }
	for _, test := range []struct {
		name, target string
		want         Failure
	}{
		{"nothing listens", "http://" + closed.Addr().String() + "/", Refused},
		{"the server hangs", serve(t, hang), Timeout},
		{"the server resets", serve(t, answer("", true)), Reset},
		{"the server closes without an answer", serve(t, answer("", false)), Reset},
		{"the answer is cut off", serve(t, answer("HTTP/1.0 200 OK\r\nContent-Length: 10\r\n\r\ns1", false)), Reset},
		{"the answer is no HTTP", serve(t, answer("SSH-2.0-OpenSSH_9.2\r\n\r\n", false)), Other},
		{"the answer is not 200", serve(t, answer("HTTP/1.0 503 Service Unavailable\r\n\r\nno\n", false)), Status},
		{"no route", "http://224.0.0.1:80/", Unreachable}, // the kernel refuses TCP to a group; nothing leaves
	} {
		t.Run(test.name, func(t *testing.T) {
			s, events := run(t, Config{Target: test.target, Rate: 1000, Count: 5, Timeout: 150 * time.Millisecond})
			if !cmp.Equal(s.Failures, map[Failure]int{test.want: 5}) || s.OK != 0 || s.Failed != 5 || len(s.Servers) != 0 {
				t.Errorf("summary %+v", s)
			}
			if len(events) != 7 {
				t.Errorf("%d events; failed requests are reported without Each", len(events))
			}
			r := events[1].Request
			if r.Detail == "" || r.Due.Before(s.Started) || r.Ended.Before(r.Started) {
				t.Errorf("request %+v", *r)
			}
			if s.FirstFailure.After(s.LastFailure) || !s.FirstFailure.Equal(s.Started) {
				t.Errorf("failures from %v to %v", s.FirstFailure, s.LastFailure)
			}
		})
	}
}

// A server that stalls once must cost every request of that time, not one (coordinated omission).
func TestRunDoesNotWaitForSlowAnswers(t *testing.T) {
	var lock sync.Mutex
	lock.Lock()
	target := serve(t, func(_ context.Context, c *net.TCPConn) {
		_, _ = c.Read(make([]byte, 4096))
		lock.Lock()   // all requests are under way at once
		lock.Unlock() //nolint:staticcheck // a gate
		_, _ = io.WriteString(c, "HTTP/1.0 200 OK\r\n\r\ns1\n")
	})
	time.AfterFunc(300*time.Millisecond, lock.Unlock)
	s, _ := run(t, Config{Target: target, Rate: 100, Count: 25})
	// They were due over 240 ms and answered after 300: half of them waited longer than 150 ms.
	if s.OK != 25 || s.Latency.P50 < 150*time.Millisecond || s.Latency.Max < 290*time.Millisecond {
		t.Errorf("summary %+v", s)
	}
	if s.Late > 250*time.Millisecond {
		t.Errorf("requests started %v late", s.Late)
	}
}

func TestRunEndsWithItsContextAndWaitsForWhatIsUnderWay(t *testing.T) {
	target := serve(t, func(_ context.Context, c *net.TCPConn) {
		_, _ = c.Read(make([]byte, 4096))
		time.Sleep(100 * time.Millisecond) // a slow service, not a wait for somebody
		_, _ = io.WriteString(c, "HTTP/1.0 200 OK\r\n\r\ns1\n")
	})
	for _, rate := range []float64{50, 0} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		s, err := Run(ctx, Config{Target: target, Rate: rate}, func(Event) {})
		cancel()
		if err != nil || s.Failed != 0 || s.OK == 0 || s.OK > 100 {
			t.Errorf("rate %v: %+v, %v", rate, s, err)
		}
	}
}

func TestAskIsAnotherKindOfRequest(t *testing.T) {
	asked := make(chan struct{}, 10) // the first is not answered in time
	s, events := run(t, Config{Target: "db", Rate: 1000, Count: 10, Timeout: 50 * time.Millisecond, Each: true, Ask: func(ctx context.Context) (string, error) {
		asked <- struct{}{}
		if len(asked) == 1 {
			<-ctx.Done()
			return "db1", ctx.Err()
		}
		return "db1", nil
	}})
	if s.Target != "db" || s.OK != 9 || !cmp.Equal(s.Servers, map[string]int{"db1": 9}) || !cmp.Equal(s.Failures, map[Failure]int{Timeout: 1}) {
		t.Errorf("summary %+v", s)
	}
	if len(events) != 12 {
		t.Errorf("%d events", len(events))
	}
}

func TestDurationEndsTheRun(t *testing.T) {
	s, _ := run(t, Config{Target: serveWeb(t, "s1"), Rate: 100, Duration: 100 * time.Millisecond})
	if s.OK != 10 {
		t.Errorf("summary %+v", s)
	}
}

func TestWebTakesItsPredecessorsPlace(t *testing.T) {
	first, err := ListenWeb(t.Context(), "127.0.0.1:0", "old")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- first.Run(ctx) }()
	target := "http://" + first.Addr().String() + "/healthz"
	if s, _ := run(t, Config{Target: target, Count: 20}); s.Servers["old"] != 20 {
		t.Errorf("summary %+v", s)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	second, err := ListenWeb(t.Context(), first.Addr().String(), "new")
	if err != nil {
		t.Fatal(err)
	}
	untilEnd(t, func(ctx context.Context) { _ = second.Run(ctx) })
	if s, _ := run(t, Config{Target: target, Count: 1}); s.Servers["new"] != 1 {
		t.Errorf("summary %+v", s)
	}
}

func TestWebNamesTheGateway(t *testing.T) {
	target := serveWeb(t, "s1")
	for via, want := range map[string]string{"": "s1", "1.1 lb1": "s1 via lb1", "1.1 lb1, 1.0 proxy": "s1 via lb1", "nonsense": "s1"} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Via", via)
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if string(body) != want+"\n" || err != nil {
			t.Errorf("via %q: %q, %v", via, body, err)
		}
	}
}

func TestConfigRefusesNonsense(t *testing.T) {
	for _, c := range []Config{
		{Target: "http://www.example.org/"}, {Target: "https://192.0.2.10/"}, {Target: "192.0.2.10"}, {},
		{Target: "http://192.0.2.10/", Rate: -1}, {Target: "http://192.0.2.10/", Rate: 1e12},
	} {
		if _, err := Run(t.Context(), c, func(Event) { t.Error("an event") }); err == nil {
			t.Errorf("no error for %+v", c)
		}
	}
	for target, want := range map[string]string{
		"http://192.0.2.10/":                   "192.0.2.10:80",
		"http://[2001:db8:10::10]:8080/path?q": "[2001:db8:10::10]:8080",
	} {
		c := Config{Target: target}
		if got, _, err := c.http(); got != want || err != nil {
			t.Errorf("%s: %q, %v", target, got, err)
		}
	}
}

func TestPercentile(t *testing.T) {
	var ms []time.Duration
	for i := 1; i <= 200; i++ {
		ms = append(ms, time.Duration(i))
	}
	for p, want := range map[int]time.Duration{50: 100, 90: 180, 99: 198, 100: 200} {
		if got := percentile(ms, p); got != want {
			t.Errorf("p%d is %d, want %d", p, got, want)
		}
	}
	if percentile(nil, 50) != 0 || percentile(ms[:1], 99) != 1 {
		t.Error("percentiles of few values")
	}
}

func TestPrintAndDecode(t *testing.T) {
	var text strings.Builder
	print := Print(&text, func(err error) { t.Error(err) })
	_, events := run(t, Config{Target: serveWeb(t, "s1"), Count: 3, Each: true})
	for _, e := range events {
		print(e)
	}
	var back []Event
	for e, err := range Decode(strings.NewReader(text.String())) {
		if err != nil {
			t.Fatal(err)
		}
		back = append(back, e)
	}
	if diff := cmp.Diff(events, back); diff != "" {
		t.Errorf("decoded (-want +got):\n%s", diff)
	}
}
