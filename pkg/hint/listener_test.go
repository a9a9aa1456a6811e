package hint

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/anyvip/anyvip/pkg/sockdiag"
)

func listener(check, at string) Watch {
	return Watch{Check: check, Listener: netip.MustParseAddrPort(at)}
}

func TestAListenersEndIsHeardAtOnce(t *testing.T) {
	needRoot(t)
	w := watch(t, listener("web", "127.0.0.1:8001"), listener("other", "127.0.0.1:8002"), listener("nobody", "127.0.0.1:8003"))
	other := listen(t, "127.0.0.1:8002")
	w.wait("the other is there", came("other", Listener))
	var took []time.Duration
	for range 20 {
		s := listen(t, "127.0.0.1:8001")
		w.wait("it is there", came("web", Listener))
		killed := time.Now()
		s.die()
		took = append(took, w.wait("its end", gone("web", Listener)).At.Sub(killed))
	}
	slices.Sort(took)
	t.Logf("SIGKILL to hint: %s (median), %s (most) of %d", took[len(took)/2], took[len(took)-1], len(took))
	if most := took[len(took)-1]; most > 500*time.Millisecond {
		t.Errorf("heard after %s", most)
	}
	w.silent(time.Second, "nothing else happened")
	other.die()
	w.wait("the other's end", gone("other", Listener))
}

func TestWhoServesAnAddress(t *testing.T) {
	needRoot(t)
	for name, tc := range map[string]struct {
		listens, watched string
		serves           bool
	}{
		"exactly":                      {"127.0.0.1:8010", "127.0.0.1:8010", true},
		"another port":                 {"127.0.0.1:8011", "127.0.0.1:8010", false},
		"another address":              {"127.0.0.2:8010", "127.0.0.1:8010", false},
		"all of IPv4":                  {"0.0.0.0:8010", "127.0.0.1:8010", true},
		"all of both":                  {"[::]:8010", "127.0.0.1:8010", true},
		"all of both, asked for IPv6":  {"[::]:8010", "[::1]:8010", true},
		"all of IPv4, asked for IPv6":  {"0.0.0.0:8010", "[::1]:8010", false},
		"IPv6 exactly":                 {"[::1]:8010", "[::1]:8010", true},
		"IPv6 exactly, asked for IPv4": {"[::1]:8010", "127.0.0.1:8010", false},
	} {
		t.Run(name, func(t *testing.T) {
			s := listen(t, tc.listens)
			defer s.die()
			at := netip.MustParseAddrPort(tc.watched)
			found, err := listeners([]Watch{{Check: "web", Listener: at}})
			if err != nil || (len(found[at]) == 1) != tc.serves {
				t.Errorf("%v, %v", found, err)
			}
		})
	}
}

func TestThoseWhoListenTogetherAreGoneWhenTheLastOneIs(t *testing.T) {
	needRoot(t)
	first, second := listen(t, "127.0.0.1:8020"), listen(t, "127.0.0.1:8020")
	w := watch(t, listener("web", "127.0.0.1:8020"))
	w.settled()
	first.die()
	w.silent(300*time.Millisecond, "another still listens")
	third := listen(t, "127.0.0.1:8020")
	second.die()
	w.wait("another one has taken over", came("web", Listener))
	third.die()
	w.wait("the last one's end", gone("web", Listener))
}

func TestConnectionsThatEndHideNothing(t *testing.T) {
	needRoot(t)
	s := listen(t, "127.0.0.1:8030")
	w := watch(t, listener("web", "127.0.0.1:8030"))
	w.settled()
	for range 5000 {
		c, err := net.Dial("tcp", "127.0.0.1:8030")
		if err != nil {
			t.Fatal(err)
		}
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	}
	w.silent(200*time.Millisecond, "only connections ended")
	s.die()
	w.wait("its end", gone("web", Listener))
}

// halfOpen makes the kernel keep what listens at an address of port 8035: it has answered
// a handshake whose last ACK does not come.
func halfOpen(t *testing.T, address string) {
	t.Helper()
	nft := func(args ...string) {
		if out, err := exec.Command("nft", args...).CombinedOutput(); err != nil {
			t.Fatalf("nft %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	nft("add table ip half; add chain ip half in { type filter hook input priority 0; }; add rule ip half in tcp dport 8035 tcp flags & (syn|ack) == ack drop")
	t.Cleanup(func() { nft("delete table ip half") })
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
}

// The kernel tells of a listener's end once the last handshake that it answered is over
// or given up, a second later. The end of who has it tells at once.
func TestAHalfOpenConnectionHidesNoEnd(t *testing.T) {
	needRoot(t)
	s := listen(t, "127.0.0.1:8035")
	w := watch(t, listener("web", "127.0.0.1:8035"))
	w.settled()
	halfOpen(t, "127.0.0.1:8035")
	kernel, err := sockdiag.Ended()
	if err != nil {
		t.Fatal(err)
	}
	defer kernel.Close()
	before, err := listeners([]Watch{listener("web", "127.0.0.1:8035")})
	if err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	s.die()
	took := w.wait("its end", gone("web", Listener)).At.Sub(killed)
	if err := kernel.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for buf := make([]byte, 8<<10); ; {
		n, err := kernel.Read(buf)
		if err != nil {
			t.Fatalf("the kernel never tells of it: %v", err)
		}
		if before.mentioned(buf[:n]) {
			break
		}
	}
	t.Logf("SIGKILL to hint with a half-open connection: %s; the kernel's own word: %s", took, time.Since(killed))
	if took > 500*time.Millisecond {
		t.Errorf("heard after %s", took)
	}
}

// One process ends, and another has the listener, too: nothing is gone before that ends.
func TestAListenerThatTwoProcessesHaveIsGoneWithTheSecond(t *testing.T) {
	needRoot(t)
	l, err := net.Listen("tcp4", "127.0.0.1:8035")
	if err != nil {
		t.Fatal(err)
	}
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	var two [2]*exec.Cmd
	for i := range two {
		two[i] = exec.Command("sleep", "3600")
		two[i].ExtraFiles = []*os.File{file}
		if err := two[i].Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = two[i].Process.Kill(); _ = two[i].Wait() })
	}
	_, _ = file.Close(), l.Close()
	w := watch(t, listener("web", "127.0.0.1:8035"))
	w.settled()
	halfOpen(t, "127.0.0.1:8035")
	_ = two[0].Process.Kill()
	w.silent(200*time.Millisecond, "the second still listens")
	killed := time.Now()
	_ = two[1].Process.Kill()
	if took := w.wait("its end", gone("web", Listener)).At.Sub(killed); took > 500*time.Millisecond {
		t.Errorf("heard after %s", took)
	}
}

// A set that changes while a listener ends does not lose that.
func TestAnEndDuringAnApplyIsHeard(t *testing.T) {
	needRoot(t)
	for i := range 20 {
		s := listen(t, "127.0.0.1:8040")
		w := watch(t, listener("web", "127.0.0.1:8040"))
		w.settled()
		go func() {
			for j := range 20 {
				w.Apply([]Watch{listener("web", "127.0.0.1:8040"), listener("more", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(9000+i*20+j)).String())})
			}
		}()
		s.die()
		w.wait("its end", gone("web", Listener))
	}
}

// The kernel tells everybody of sockets that end.
func TestItNeedsNoPrivilege(t *testing.T) {
	if os.Getenv("ANYVIP_TEST_HINT_NOBODY") == "" {
		needRoot(t) // to be somebody else
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestItNeedsNoPrivilege$", "-test.v")
		cmd.Env = append(os.Environ(), "ANYVIP_TEST_HINT_NOBODY=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		cmd.Dir = "/"
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	s := listen(t, "127.0.0.1:8050")
	w := watch(t, listener("web", "127.0.0.1:8050"))
	w.settled()
	s.die()
	w.wait("its end", gone("web", Listener))
	if m := w.report().Missing; len(m) > 0 {
		t.Errorf("missing %+v", m)
	}
}

func BenchmarkListeners(b *testing.B) {
	set := []Watch{listener("web", "127.0.0.1:8060")}
	for b.Loop() {
		if _, err := listeners(set); err != nil {
			b.Fatal(err)
		}
	}
}
