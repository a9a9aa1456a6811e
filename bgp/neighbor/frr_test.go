package neighbor

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// FRR's interface peer and we find each other: FRR leaves Idle once it heard us,
// and then dials the address that it heard; it comes from the address that we
// heard.
func TestFRRAndWeFindEachOther(t *testing.T) {
	needFRR(t)
	if !inNamespace(t) {
		return
	}
	f := newFar(t)
	f.up()
	own := linkLocal(t)
	router := startFRR(f)
	eventually(t, 20*time.Second, "FRR's peer waits for a router advertisement", func() bool { return router.peer().State == "Idle" })

	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv6unspecified, Port: 179})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if p := router.peer(); p.State != "Idle" || p.Address != "none" {
		t.Fatalf("before we advertise: %+v", p)
	}
	r := startEngine(t)
	r.want(true)
	eventually(t, 20*time.Second, "FRR as our neighbour", func() bool { return r.neighbor().Address.IsValid() })
	t.Logf("FRR heard after %s", time.Since(router.begin))
	eventually(t, 20*time.Second, "us as FRR's neighbour", func() bool { return router.peer().Address == own.String() })

	if err := l.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	c, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	from := netip.MustParseAddrPort(c.RemoteAddr().String()).Addr()
	if n := r.neighbor(); from != n.Address || n.Detail != "" {
		t.Errorf("FRR dials from %s; %+v", from, n)
	}
}

// needFRR skips where there is no FRR, or no right to run it as its own user.
func needFRR(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		skip(t, "needs root: FRR runs as user frr")
	}
	for _, program := range []string{"/usr/lib/frr/zebra", "/usr/lib/frr/bgpd", "vtysh"} {
		if _, err := exec.LookPath(program); err != nil {
			skip(t, "needs FRR: "+err.Error())
		}
	}
}

// frr is FRR in the far namespace.
type frr struct {
	far   *far
	dir   string
	begin time.Time
}

// startFRR starts zebra and bgpd with an interface peer.
func startFRR(f *far) *frr {
	f.t.Helper()
	dir, err := os.MkdirTemp("", "anyvip-frr-") // user frr can enter no TempDir of the test
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = os.RemoveAll(dir) })
	run(f.t, "chown", "frr:frr", dir)
	r := &frr{far: f, dir: dir, begin: time.Now()}
	r.start("zebra", "log file "+r.dir+"/log debugging\ndebug zebra events\n")
	eventually(f.t, 10*time.Second, "zebra's socket", func() bool { _, err := os.Stat(filepath.Join(r.dir, "zserv.api")); return err == nil })
	r.start("bgpd", "log file "+r.dir+`/log debugging
router bgp 65000
 bgp router-id 10.0.0.1
 no bgp ebgp-requires-policy
 neighbor eth0 interface remote-as external
 neighbor eth0 timers connect 1
`)
	return r
}

func (r *frr) start(daemon, config string) {
	t := r.far.t
	t.Helper()
	file := filepath.Join(r.dir, daemon+".conf")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	argv := r.far.command("/usr/lib/frr/"+daemon, "-f", file, "-z", filepath.Join(r.dir, "zserv.api"),
		"-i", filepath.Join(r.dir, daemon+".pid"), "--vty_socket", r.dir, "-P", "0")
	cmd := exec.Command(argv[0], argv[1:]...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if log, err := os.ReadFile(filepath.Join(r.dir, "log")); err == nil && t.Failed() {
			t.Logf("%s", log)
		}
	})
}

// frrPeer is what FRR says of its interface peer.
type frrPeer struct {
	State   string `json:"bgpState"`
	Address string `json:"bgpNeighborAddr"`
}

func (r *frr) peer() (p frrPeer) {
	out, _ := exec.Command("vtysh", "--vty_socket", r.dir, "-d", "bgpd", "-c", "show bgp neighbors eth0 json").Output()
	all := map[string]frrPeer{}
	if err := json.Unmarshal(out, &all); err != nil {
		return frrPeer{State: fmt.Sprintf("%v: %s", err, strings.TrimSpace(string(out)))}
	}
	return all["eth0"]
}
