package vrrp

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the scripts' results")

// TestScripts runs testdata/*.txt. A script is a sequence of events for one router,
// each followed by what the machine made of it: lines that begin with a blank, written
// by -update and read in review. A line "router ..." begins anew.
//
//	router PRIORITY INTERVAL [version 2] [preempt no|DURATION] [password WORD] [waits yes]
//	TIME startup | shutdown | drain | tick | win | yield | priority N
//	TIME hear ADDRESS PRIORITY INTERVAL [version 2] [password WORD]
//
// Our own address is 10.0.0.5.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := run(t, string(text))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(text) {
				t.Errorf("want\n%s\ngot\n%s", text, got)
			}
		})
	}
}

var (
	epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	ours  = addr("10.0.0.5")
	vip1  = list("10.0.0.100")
)

// run gives the script back with the results that it has now.
func run(t *testing.T, script string) string {
	t.Helper()
	var out strings.Builder
	var m *Machine
	for line := range strings.Lines(script) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, " ") {
			continue
		}
		fmt.Fprintln(&out, line)
		words := strings.Fields(line)
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		if words[0] == "router" {
			m = NewMachine(parseRouter(t, words[1:]), ours)
			continue
		}
		now := epoch.Add(duration(t, words[0]))
		for _, do := range event(t, m, now, words[1:], &out) {
			fmt.Fprintf(&out, "    %s", do)
			if do.Act == Send {
				fmt.Fprintf(&out, " %d", do.Priority)
			}
			fmt.Fprintln(&out)
		}
		fmt.Fprintf(&out, "    %s\n", describe(m))
	}
	return out.String()
}

func describe(m *Machine) string {
	since, cause, by := m.Why()
	text := fmt.Sprintf("%s %s since %s", m.State(), cause, since.Sub(epoch))
	if since.IsZero() {
		text = fmt.Sprintf("%s %s", m.State(), cause)
	}
	if by.IsValid() {
		text += " by " + by.String()
	}
	if m.Answers() {
		text += ", answers"
	}
	if m.Won() {
		text += ", has won"
	}
	if d := m.Deadline(); !d.IsZero() {
		text += ", next " + d.Sub(epoch).String()
	}
	return text
}

func event(t *testing.T, m *Machine, now time.Time, words []string, out *strings.Builder) []Do {
	t.Helper()
	switch words[0] {
	case "startup":
		return m.Startup(now)
	case "shutdown":
		return m.Shutdown(now)
	case "drain":
		return m.Drain(now)
	case "tick":
		return m.Tick(now)
	case "win":
		return m.Win(now)
	case "yield":
		return m.Yield(now)
	case "priority":
		r := m.router
		r.Priority = number(t, words[1])
		return m.Configure(now, r, ours)
	case "hear":
		a := parseRouter(t, words[2:]).Advertisement
		do, drop := m.Receive(now, addr(words[1]), &a)
		if drop != Accepted {
			fmt.Fprintf(out, "    dropped: %s\n", drop)
		}
		return do
	}
	t.Fatalf("what is %q?", words)
	return nil
}

func parseRouter(t *testing.T, words []string) Router {
	t.Helper()
	r := Router{Preempt: true, Advertisement: Advertisement{Version: 3, VRID: 1, Priority: number(t, words[0]), Interval: duration(t, words[1]), Addresses: vip1}}
	for words = words[2:]; len(words) > 1; words = words[2:] {
		switch words[0] {
		case "version":
			r.Version = number(t, words[1])
		case "password":
			r.Secured, r.Password = true, password(words[1])
		case "preempt":
			if r.Preempt = words[1] != "no"; r.Preempt {
				r.PreemptDelay = duration(t, words[1])
			}
		case "waits":
			r.Waits = words[1] == "yes"
		default:
			t.Fatalf("what is %q?", words)
		}
	}
	return r
}

func number(t *testing.T, s string) uint8 {
	t.Helper()
	n, err := strconv.ParseUint(s, 10, 8)
	if err != nil {
		t.Fatal(err)
	}
	return uint8(n)
}

func duration(t *testing.T, s string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestAMachineAllocatesNothing(t *testing.T) {
	r := parseRouter(t, []string{"100", "1s"})
	m := NewMachine(r, ours)
	now := epoch
	m.Startup(now)
	m.Tick(m.Deadline())
	heard := r.Advertisement
	heard.Priority = 50
	if n := testing.AllocsPerRun(100, func() {
		now = m.Deadline()
		m.Receive(now, netip.AddrFrom4([4]byte{10, 0, 0, 9}), &heard)
		m.Tick(now)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
