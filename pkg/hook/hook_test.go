package hook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// running is an Engine at work.
type running struct {
	*Engine
	t    *testing.T
	mu   sync.Mutex
	last []Counts
}

func start(t *testing.T, set ...Config) *running {
	t.Helper()
	r := idle(t)
	r.run()
	r.Apply(set)
	r.eventually("it is taken", func(c []Counts) bool { return len(c) == len(set) })
	return r
}

// idle is an Engine that run sets to work.
func idle(t *testing.T) *running {
	r := &running{t: t}
	r.Engine = New(Options{Log: slog.New(slog.DiscardHandler), Report: func(c []Counts) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.last = c
	}})
	return r
}

func (r *running) run() (end func()) {
	t, ignore := r.t, goleak.IgnoreCurrent()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	end = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		case <-time.After(5 * time.Second):
			t.Error("Run does not end")
		}
		goleak.VerifyNone(t, ignore)
	})
	t.Cleanup(end)
	return end
}

func (r *running) eventually(what string, ok func([]Counts) bool) []Counts {
	r.t.Helper()
	for limit := time.Now().Add(10 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		r.mu.Lock()
		last := r.last
		r.mu.Unlock()
		if ok(last) {
			return last
		}
		if time.Now().After(limit) {
			r.t.Fatalf("not seen: %s: %+v", what, last)
		}
	}
}

func sh(name, script string) Config {
	return Config{Name: name, Command: []string{"/bin/sh", "-c", script}, Timeout: 5 * time.Second}
}

func event(service, to string) Event {
	return Event{At: time.Now(), Node: "s1", Service: service, From: "announced", To: to, Reason: Reason{Code: "check_failed", Subject: "web", Detail: "refused"}}
}

func TestEachHookHearsOfItsEventsInOrder(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "events")
	only := sh("only", "cat >> "+file+".only")
	only.Services = []string{"api"}
	r := start(t, sh("all", "cat >> "+file), only)
	for i := range 20 {
		r.Fire(event([]string{"web", "api"}[i%2], fmt.Sprint("step-", i)))
	}
	r.eventually("all have run", func(c []Counts) bool { return c[0].Runs == 20 && c[1].Runs == 10 })
	for name, want := range map[string]int{file: 20, file + ".only": 10} {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
		if len(lines) != want {
			t.Fatalf("%d lines, want %d", len(lines), want)
		}
		for i, line := range lines {
			var ev Event
			step := i * 20 / want
			if want == 10 {
				step++
			}
			if err := json.Unmarshal([]byte(line), &ev); err != nil || ev.Version != 1 || ev.Node != "s1" || ev.To != fmt.Sprint("step-", step) || ev.Reason.Code != "check_failed" {
				t.Errorf("line %d: %s, %v", i, line, err)
			}
		}
	}
}

func TestFailuresAreCounted(t *testing.T) {
	slow := sh("slow", "sleep 1000")
	slow.Timeout = 100 * time.Millisecond
	r := start(t, sh("bad", "echo no pager; exit 3"), slow, Config{Name: "none", Command: []string{"/no/such/program"}, Timeout: time.Second}, sh("fine", "exit 0"))
	r.Fire(event("web", "withdrawn"))
	c := r.eventually("all have ended", func(c []Counts) bool { return c[0].Runs+c[1].Runs+c[2].Runs+c[3].Runs == 4 })
	for i, want := range []string{"exit code 3: no pager", "killed at the timeout of 100ms", "no such file"} {
		if c[i].Failed != 1 || !strings.Contains(c[i].Last, want) || !strings.HasPrefix(c[i].Last, "web to withdrawn: ") {
			t.Errorf("%+v, want %q", c[i], want)
		}
	}
	if c[3].Failed != 0 || c[3].Last != "" {
		t.Errorf("%+v", c[3])
	}
}

func TestASlowHookLosesTheOldestAndDelaysNobody(t *testing.T) {
	file := filepath.Join(t.TempDir(), "go")
	r := start(t, sh("slow", "while ! [ -e "+file+" ]; do sleep 0.01; done"), sh("quick", "exit 0"))
	begin := time.Now()
	for i := range maxQueue + 20 {
		r.Fire(event("web", fmt.Sprint(i)))
		if i == 0 {
			time.Sleep(200 * time.Millisecond) // it is under way
		}
	}
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("Fire blocked for %s", took)
	}
	r.eventually("it has lost some", func(c []Counts) bool { return c[0].Dropped == 19 })
	r.eventually("the other has gone on", func(c []Counts) bool { return c[1].Runs+c[1].Dropped == maxQueue+20 })
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r.eventually("it has caught up", func(c []Counts) bool { return c[0].Runs == maxQueue+1 })
}

// A start and a reload configure hooks and fire in the same turn.
func TestHooksHearOfWhatComesRightAfterApply(t *testing.T) {
	r := idle(t)
	r.Apply([]Config{sh("a", "exit 0")})
	r.Fire(event("web", "pending"))
	r.run()
	r.eventually("what came before Run", func(c []Counts) bool { return c[0].Runs == 1 })
	for i := range 20 {
		r.Apply([]Config{sh("a", "exit 0"), sh(fmt.Sprint("new-", i), "exit 0")})
		r.Fire(event("web", "pending"))
		r.eventually("what came with the reload", func(c []Counts) bool { return c[0].Runs == uint64(i)+2 && c[1].Runs == 1 })
	}
}

func TestAReloadKeepsWhatIsEqual(t *testing.T) {
	r := start(t, sh("a", "exit 0"), sh("b", "exit 0"))
	r.Fire(event("web", "x"))
	r.eventually("both have run", func(c []Counts) bool { return c[0].Runs == 1 && c[1].Runs == 1 })
	r.Apply([]Config{sh("b", "exit 0"), sh("a", "exit 1"), sh("c", "exit 0")})
	c := r.eventually("another order", func(c []Counts) bool { return c[0].Name == "b" })
	if c[0].Runs != 1 || c[1].Runs != 1 || c[2].Runs != 0 {
		t.Errorf("%+v", c)
	}
}

// What a reload or the end cuts off is in the counts.
func TestWhatIsCutOffIsCounted(t *testing.T) {
	r := idle(t)
	end := r.run()
	fire := func(commands int) {
		r.eventually("nothing is under way", func([]Counts) bool { return len(r.room) == 0 })
		for range 3 {
			r.Fire(event("web", "x"))
		}
		r.eventually("one of each is under way", func([]Counts) bool { return len(r.room) == commands })
	}
	r.Apply([]Config{sh("a", "sleep 1000"), sh("gone", "sleep 1000")})
	fire(2)
	r.Apply([]Config{sh("a", "sleep 1001")})
	c := r.eventually("one was killed, two were dropped", func(c []Counts) bool { return c[0].Failed == 1 && c[0].Dropped == 2 })
	if c[0].Runs != 1 || !strings.Contains(c[0].Last, ": a reload") { // killed, or not even started
		t.Errorf("%+v", c)
	}
	fire(1)
	end()
	r.eventually("the end did the same", func(c []Counts) bool { return c[0].Runs == 2 && c[0].Failed == 2 && c[0].Dropped == 4 })
}

// An agent may be reloaded again and again, also while its hooks run.
func TestAnEngineAtWorkDoesNotGrowWithItsSets(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // it would close what was forgotten
	r := start(t, sh("kept", "exit 0"))
	use := func() (descriptors, goroutines int) {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(list), runtime.NumGoroutine()
	}
	apply := func(times int) {
		for i := range times {
			name := fmt.Sprint("new-", i)
			r.Apply([]Config{sh("kept", "exit 0"), sh(name, "sleep 1000")})
			r.eventually(name, func(c []Counts) bool { return len(c) == 2 && c[1].Name == name })
			if i%20 == 0 {
				r.Fire(event("web", "withdrawn"))
			}
		}
		r.Apply([]Config{sh("kept", "exit 0")})
		r.eventually("the others are gone", func(c []Counts) bool { return len(c) == 1 })
	}
	apply(1)
	kept := r.eventually("it has run", func(c []Counts) bool { return c[0].Runs == 1 })
	descriptors, goroutines := use()
	apply(400)
	r.eventually("it has run for each event", func(c []Counts) bool { return c[0].Runs == kept[0].Runs+20 })
	for limit := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		d, g := use()
		if d <= descriptors && g <= goroutines {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("%d descriptors and %d goroutines; %d and %d before 400 sets", d, g, descriptors, goroutines)
		}
	}
}

func TestPrepareIsBounded(t *testing.T) {
	r := start(t)
	for script, want := range map[string]string{"exit 0": "", "exit 4": "exit code 4", "sleep 1000": "killed at the timeout"} {
		done := make(chan error, 1)
		r.Prepare([]string{"/bin/sh", "-c", script}, 300*time.Millisecond, event("web", "drain"), func(err error) { done <- err })
		select {
		case err := <-done:
			if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("%s: %v, want %q", script, err, want)
			}
		case <-time.After(5 * time.Second):
			t.Errorf("%s: nobody calls", script)
		}
	}
	// The end of the engine ends what is under way.
	r.Prepare([]string{"/bin/sleep", "1000"}, time.Minute, event("web", "drain"), func(error) { t.Error("done at the end") })
	time.Sleep(50 * time.Millisecond)
}

func TestHooksAreValidated(t *testing.T) {
	for _, tc := range []struct {
		c    Config
		want string
	}{
		{Config{Command: []string{"/bin/true"}, Timeout: time.Second}, "name: is missing"},
		{Config{Name: "x", Timeout: time.Second}, "command: is missing"},
		{Config{Name: "x", Command: []string{"true"}, Timeout: time.Second}, "command[0]: true: is not an absolute path"},
		{Config{Name: "x", Command: []string{"/bin/true", "a\x00"}, Timeout: time.Second}, "command[1]: \"a\\x00\": has a zero byte"},
		{Config{Name: "x", Command: []string{"/bin/true"}}, "timeout: 0s: is out of range"},
	} {
		if ps := tc.c.Validate(); len(ps) != 1 || !strings.HasPrefix(ps[0].String(), tc.want) {
			t.Errorf("%v, want %q", ps, tc.want)
		}
	}
}

// Hooks that hang are no reason for a drain to wait longer than its pre_drain may take.
func TestAPreDrainWaitsForNoHook(t *testing.T) {
	var set []Config
	for i := range maxRunning {
		set = append(set, sh(fmt.Sprint("slow", i), "sleep 1000"))
	}
	r := start(t, set...)
	r.Fire(event("web", "withdrawn"))
	r.eventually("there is no room left", func([]Counts) bool { return len(r.room) == maxRunning })
	begin, done := time.Now(), make(chan error, 1)
	r.Prepare([]string{"/bin/true"}, 200*time.Millisecond, event("web", "drain"), func(err error) { done <- err })
	err := <-done
	if err == nil || !strings.Contains(err.Error(), "not started") {
		t.Error(err)
	}
	if took := time.Since(begin); took > 3*time.Second { // the hooks are killed after five
		t.Errorf("took %s", took)
	}
}
