package checks

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

// proberVariable is set where this binary is to be a prober, and is whom it asks.
const proberVariable = "CHECKS_TEST_PROBER"

const frozenChecks = 8

// beProber probes a server until it is killed, and writes the results.
func beProber(address string) {
	results := make(chan vip.Result, 1000)
	r := NewRunner(Options{Report: func(v vip.Result) { results <- v }})
	var set []Probe
	for i := range frozenChecks {
		set = append(set, Probe{Config: Config{Name: fmt.Sprint("check ", i), Kind: &TCP{Address: address, Expect: "well"},
			Interval: time.Second, Timeout: 800 * time.Millisecond}})
	}
	r.Apply(set)
	go func() { _ = r.Run(context.Background()) }()
	out := json.NewEncoder(os.Stdout)
	for v := range results {
		if out.Encode(v) != nil {
			os.Exit(1)
		}
	}
}

// TestAFreezeIsNoFailure stops a process in the middle of its probes for longer
// than their timeout and the grace.
func TestAFreezeIsNoFailure(t *testing.T) {
	address, open := slowServer(t, 300*time.Millisecond)
	pid, results := startProber(t, address)
	for range 2 * frozenChecks {
		if v := <-results; v.Outcome != vip.Pass {
			t.Fatalf("before the freeze: %+v", v)
		}
	}
	eventually(t, "all probes are under way", func() bool { return open.Load() == frozenChecks })
	signal(t, pid, syscall.SIGSTOP)
	<-time.After(2500 * time.Millisecond)
	signal(t, pid, syscall.SIGCONT)
	for range 3 * frozenChecks {
		if v := <-results; v.Outcome != vip.Pass {
			t.Errorf("after the freeze: %+v", v)
		}
	}
}

// slowServer says that all is well after a while. It counts whom it makes wait.
func slowServer(t *testing.T, after time.Duration) (address string, open *atomic.Int32) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	open = new(atomic.Int32)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			open.Add(1)
			time.AfterFunc(after, func() {
				defer open.Add(-1)
				defer c.Close()
				_, _ = c.Write([]byte("all is well"))
			})
		}
	}()
	return l.Addr().String(), open
}

// startProber starts this binary as a prober. It dies with the test.
func startProber(t *testing.T, address string) (pid int, results <-chan vip.Result) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), proberVariable+"="+address)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := make(chan vip.Result, 1000)
	go func() {
		defer close(said)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			var v vip.Result
			if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
				t.Errorf("%q: %v", lines.Text(), err)
			}
			said <- v
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		for range said { // to its end: the goroutine above is done
		}
		_ = cmd.Wait()
	})
	return cmd.Process.Pid, said
}

func signal(t *testing.T, pid int, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, s); err != nil {
		t.Fatal(err)
	}
}
