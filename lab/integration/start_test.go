package integration

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/anyvip/anyvip/lab/labtest"
)

// ordinaryUser is a user id that owns nothing.
const ordinaryUser = 54321

// gate is a check that has no result before /run/gate is there.
const gate = `  - name: gate
    exec: {command: [/bin/sh, -c, "until test -e /run/gate; do sleep 0.02; done"]}
    timeout: 30s
`

// TestReadyOnlyAfterTheFirstRoundOfChecks holds one check back: until it has a
// result nothing is announced and nobody is told READY.
func TestReadyOnlyAfterTheFirstRoundOfChecks(t *testing.T) {
	systemd, socket := listenNotify(t)
	r := up(t, "tors.clab.yml", options{
		env: map[string]map[string]string{"s1": {"NOTIFY_SOCKET": socket, "WATCHDOG_USEC": "200000"}},
		edits: map[string]func(string) string{"s1": func(text string) string {
			text = strings.Replace(text, "services:\n", gate+"\nservices:\n", 1)
			return strings.Replace(text, "[web, store]", "[web, store, gate]", 1)
		}},
	})
	at := r.watchTor("tor-a", "eth1", "eth2")
	at.route(time.Time{}, vip4, 1) // s2's: s1 had the same time

	if got := r.http("s1", "/healthz"); !strings.Contains(got, " 200 ") {
		t.Errorf("/healthz before the first round: %s", got)
	}
	if got := r.http("s1", "/readyz"); !strings.Contains(got, " 503 ") || !strings.Contains(got, "starting") {
		t.Errorf("/readyz before the first round: %s", got)
	}
	if s := r.mustStatus("s1"); s.Phase != "STARTING" || !s.codes()["CHECK_PENDING"] {
		t.Errorf("the status before the first round: %s", asJSON(s))
	}
	if sent := at.busy(time.Time{}, "eth1"); len(sent) > 0 {
		t.Errorf("before the first round to tor-a: %s", asJSON(sent))
	}
	if systemd.heard("READY=1") {
		t.Error("READY=1 before the first round of checks")
	}

	opened := time.Now()
	r.sh("s1", "touch /run/gate")
	eventually(t, patience, func() error { return systemd.expect("READY=1") })
	t.Logf("READY=1 %s after the last check could pass", ms(time.Since(opened)))
	t.Logf("kernel route %s after that", ms(at.route(opened, vip4, 2).Sub(opened)))
	r.statusShows("s1", "two Established sessions", agentStatus.established)
	// Ten pings a second; the publishing of new results alone would make one.
	pings, begin := systemd.count("WATCHDOG=1"), time.Now()
	eventually(t, 3*time.Second, func() error {
		if n := systemd.count("WATCHDOG=1") - pings; n < 10 {
			return fmt.Errorf("%d pings of the watchdog in %s, want ten", n, ms(time.Since(begin)))
		}
		return nil
	})
	if got := r.http("s1", "/readyz"); !strings.Contains(got, " 200 ") {
		t.Errorf("/readyz after the first round: %s", got)
	}
	series := []string{
		`anyvip_phase{phase="running"} 1`,
		`anyvip_bgp_session_state{peer="tor-a",state="Established"} 1`,
		`anyvip_bgp_session_state{peer="tor-b",state="Established"} 1`,
		`anyvip_bgp_session_flaps_total{peer="tor-a"} 0`,
		`anyvip_bgp_sent_prefixes{peer="tor-b"} 2`,
		`anyvip_vip_announced{peer="tor-a",service="web",vip="192.0.2.10"} 1`,
		`anyvip_vip_announced{peer="tor-b",service="web",vip="2001:db8:10::10"} 1`,
		`anyvip_vip_present{vip="192.0.2.10"} 1`,
		`anyvip_service_disposition{disposition="announced",service="web"} 1`,
		`anyvip_check_outcome{check="web",outcome="pass"} 1`,
	}
	eventually(t, patience, func() error {
		metrics := r.http("s1", "/metrics")
		for _, line := range series {
			if !strings.Contains(metrics, "\n"+line+"\n") {
				return fmt.Errorf("/metrics has no %s", line)
			}
		}
		return nil
	})

	if systemd.heard("STOPPING=1") {
		t.Error("STOPPING=1 before the stop")
	}
	r.signal("s1", syscall.SIGTERM)
	eventually(t, patience, func() error { return systemd.expect("STOPPING=1") })
	if got := r.http("s1", "/readyz"); !strings.Contains(got, " 503 ") || !strings.Contains(got, "stopping") {
		t.Errorf("/readyz while it stops: %s", got)
	}
	if state, err := r.Daemon("s1").Wait(t.Context()); err != nil || state.Ended != "anyvip: exit status 0" {
		t.Errorf("the end: %+v, %v", state, err)
	}
}

// http asks the agent of a node for a page, and returns header and body.
func (r *rig) http(node, path string) string {
	r.t.Helper()
	const ask = `exec 3<>/dev/tcp/127.0.0.1/9473; printf 'GET %s HTTP/1.0\r\n\r\n' "$0" >&3; cat <&3`
	return labtest.Output(r.t, r.Lab, node, "bash", "-c", ask, path)
}

// notifications are what an agent told systemd (sd_notify).
type notifications struct {
	mu   sync.Mutex
	said []string
}

// listenNotify stands in for systemd until the test ends.
func listenNotify(t *testing.T) (n *notifications, socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	n = &notifications{}
	var done sync.WaitGroup
	done.Go(func() {
		text := make([]byte, 4096)
		for {
			size, err := conn.Read(text)
			if err != nil {
				return // closed
			}
			n.mu.Lock()
			n.said = append(n.said, strings.Split(string(text[:size]), "\n")...)
			n.mu.Unlock()
		}
	})
	t.Cleanup(func() {
		conn.Close()
		done.Wait()
	})
	return n, socket
}

func (n *notifications) heard(line string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Contains(n.said, line)
}

func (n *notifications) count(line string) (times int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, said := range n.said {
		if said == line {
			times++
		}
	}
	return times
}

func (n *notifications) expect(line string) error {
	if !n.heard(line) {
		n.mu.Lock()
		defer n.mu.Unlock()
		return fmt.Errorf("systemd heard %q, and not %s", n.said, line)
	}
	return nil
}

// TestMissingPrivilegeNamesTheCapability runs the agent as an ordinary user, in a
// network of its own that he has no rights to.
func TestMissingPrivilegeNamesTheCapability(t *testing.T) {
	labtest.Need(t, "root")
	dir := readable(t)
	config := filepath.Join(dir, "anyvip.yaml")
	if err := os.WriteFile(config, []byte(read(t, "testdata/tors/s1.yaml")), 0o644); err != nil {
		t.Fatal(err)
	}
	agent := exec.Command("anyvip", "run", "-c", config, "--socket", filepath.Join(dir, "sock"), "--state-dir", dir)
	agent.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: ordinaryUser, Gid: ordinaryUser}, Cloneflags: syscall.CLONE_NEWNET}
	out, err := agent.CombinedOutput()
	t.Logf("it says: %s", out)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("it ends with %v, want exit code 1", err)
	}
	if !strings.Contains(string(out), "CAP_NET_ADMIN") {
		t.Error("it does not name the capability")
	}
}

// readable makes a directory that every user can read.
func readable(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "anyvip-integration-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}
