package gobgp

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// routers counts the routers of this process, for names and subnets.
var routers atomic.Int32

// router is a network namespace with one link to ours, and a daemon in it.
type router struct {
	t      testing.TB
	ns     string // its namespace
	link   string // our end of the link
	dir    string // its files
	start  func() *exec.Cmd
	daemon *exec.Cmd
	us     netip.Addr // our IPv4 address on the link
	them   netip.Addr // its IPv4 address
	us6    netip.Addr
	them6  netip.Addr
}

// newRouter makes the namespace and the link, without a daemon.
func newRouter(t testing.TB) *router {
	t.Helper()
	n := int(routers.Add(1))
	r := &router{t: t, ns: fmt.Sprintf("%s%d", os.Getenv(nsEnv), n), link: fmt.Sprintf("r%d", n), dir: t.TempDir(),
		us: netip.AddrFrom4([4]byte{10, 7, byte(n), 2}), them: netip.AddrFrom4([4]byte{10, 7, byte(n), 1}),
		us6: netip.MustParseAddr(fmt.Sprintf("2001:db8:7:%x::2", n)), them6: netip.MustParseAddr(fmt.Sprintf("2001:db8:7:%x::1", n))}
	run(t, "ip", "link", "set", "lo", "up")
	run(t, "ip", "netns", "add", r.ns)
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", r.ns).Run() })
	run(t, "ip", "link", "add", r.link, "type", "veth", "peer", "name", "eth0", "netns", r.ns)
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", r.link).Run() })
	run(t, "ip", "addr", "add", r.us.String()+"/24", "dev", r.link)
	run(t, "ip", "addr", "add", r.us6.String()+"/64", "dev", r.link, "nodad")
	run(t, "ip", "link", "set", r.link, "up")
	r.ip("addr", "add", r.them.String()+"/24", "dev", "eth0")
	r.ip("addr", "add", r.them6.String()+"/64", "dev", "eth0", "nodad")
	r.ip("link", "set", "eth0", "up")
	r.ip("link", "set", "lo", "up")
	return r
}

func (r *router) ip(args ...string) {
	r.t.Helper()
	run(r.t, "ip", append([]string{"-n", r.ns}, args...)...)
}

func (r *router) exec(args ...string) *exec.Cmd {
	return exec.Command("ip", append([]string{"netns", "exec", r.ns}, args...)...)
}

// up starts the daemon.
func (r *router) up() {
	r.t.Helper()
	r.daemon = r.start()
	log, err := os.OpenFile(filepath.Join(r.dir, "out"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	r.daemon.Stdout, r.daemon.Stderr = log, log
	if err := r.daemon.Start(); err != nil {
		r.t.Fatal(err)
	}
	daemon := r.daemon
	r.t.Cleanup(func() { _ = daemon.Process.Kill(); _ = daemon.Wait() })
}

// kill ends the daemon with SIGKILL.
func (r *router) kill() {
	r.t.Helper()
	if err := r.daemon.Process.Kill(); err != nil {
		r.t.Fatal(err)
	}
	_ = r.daemon.Wait()
}

func (r *router) write(name, text string) string {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		r.t.Fatal(err)
	}
	return path
}

func (r *router) read(name string) string {
	b, _ := os.ReadFile(filepath.Join(r.dir, name))
	return string(b)
}

// bird makes a router with BIRD; protocols is what follows the general part of
// its configuration.
func bird(t testing.TB, id, protocols string) *router {
	t.Helper()
	needNamespaces(t, "bird", "birdc")
	r := newRouter(t)
	r.birdConfig(id, protocols)
	r.start = func() *exec.Cmd {
		_ = os.Remove(filepath.Join(r.dir, "ctl"))
		return r.exec("bird", "-f", "-c", filepath.Join(r.dir, "bird.conf"), "-s", filepath.Join(r.dir, "ctl"), "-P", filepath.Join(r.dir, "pid"))
	}
	return r
}

func (r *router) birdConfig(id, protocols string) {
	r.t.Helper()
	text := fmt.Sprintf("router id %s;\nlog \"%s/log\" all;\ndebug protocols { states, events };\nprotocol device {}\n%s", id, r.dir, protocols)
	r.write("bird.conf", strings.NewReplacer("$US6", r.us6.String(), "$THEM6", r.them6.String(), "$US", r.us.String(), "$THEM", r.them.String()).Replace(text))
}

// birdc asks BIRD; the answer without its first line.
func (r *router) birdc(command string) string {
	out, _ := exec.Command("birdc", "-s", filepath.Join(r.dir, "ctl"), command).CombinedOutput()
	_, answer, _ := strings.Cut(string(out), "\n")
	return answer
}

// frr makes a router with FRR's bgpd.
func frr(t testing.TB, config string) *router {
	t.Helper()
	needNamespaces(t, "/usr/lib/frr/bgpd", "vtysh")
	r := newRouter(t)
	text := strings.NewReplacer("$US6", r.us6.String(), "$THEM6", r.them6.String(), "$US", r.us.String(), "$THEM", r.them.String(), "$DIR", r.dir).Replace(config)
	r.write("bgpd.conf", "log file "+r.dir+"/log debugging\n"+text)
	r.start = func() *exec.Cmd {
		return r.exec("/usr/lib/frr/bgpd", "-Z", "-S", "-u", "root", "-g", "root", "-f", filepath.Join(r.dir, "bgpd.conf"),
			"-i", filepath.Join(r.dir, "pid"), "--vty_socket", r.dir, "-P", "0")
	}
	return r
}

// vtysh asks FRR.
func (r *router) vtysh(command string) string {
	out, _ := exec.Command("vtysh", "--vty_socket", r.dir, "-d", "bgpd", "-c", command).CombinedOutput()
	return string(out)
}

func run(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// eventually polls until ok is true.
func eventually(t testing.TB, limit time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	for !ok() {
		if time.Since(start) > limit {
			t.Fatalf("not within %s: %s", limit, what)
		}
		time.Sleep(2 * time.Millisecond)
	}
	return time.Since(start)
}
