package kernel

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

func TestVIPInsideASubnetNeedsTheARPSysctls(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	n := startNeighbour(t)
	ip(t, "addr add 192.0.2.1/24 dev eth0")

	// The counter-proof: as the kernel is by default, an address on lo is answered for.
	ip(t, "addr add 192.0.2.10/32 dev lo scope host")
	if got := n.ask(t, "192.0.2.10"); got != "answered" {
		t.Fatalf("an address on lo is %s: the rule would not be needed", got)
	}
	ip(t, "addr del 192.0.2.10/32 dev lo")

	a := start(t, t.TempDir(), v4)
	f := a.until(v4, vip.AddressRefused)
	t.Log(f.Detail)
	for _, want := range []string{"192.0.2.0/24", "link eth0", "arp_ignore is 0 (all 0, eth0 0; must be 1 or more)", "arp_announce is 0 (all 0, eth0 0; must be 2)",
		"sysctl -w net.ipv4.conf.eth0.arp_ignore=1 net.ipv4.conf.eth0.arp_announce=2,"} {
		if !strings.Contains(f.Detail, want) {
			t.Errorf("detail lacks %q: %s", want, f.Detail)
		}
	}
	if got := onHost(t, v4); len(got) != 0 {
		t.Errorf("it was added: %+v", got)
	}

	// The operator does as told. Sysctls send no event.
	run(t, "sysctl", "-qw", "net.ipv4.conf.eth0.arp_ignore=1", "net.ipv4.conf.eth0.arp_announce=2")
	a.until(v4, vip.AddressPresent)
	if got := n.ask(t, "192.0.2.10"); got != "silent" {
		t.Errorf("with the sysctls a neighbour's ARP request is %s", got)
	}
	if got := n.ask(t, "192.0.2.1"); got != "answered" {
		t.Errorf("the link's own address is %s", got)
	}

	// It turns wrong again: seen at the next look, which a change of any address brings.
	setSysctl(t, "net/ipv4/conf/eth0/arp_ignore", "0")
	ip(t, "addr add 198.51.100.7/32 dev lo")
	a.until(v4, vip.AddressRefused)
	eventually(t, "it is removed", func() bool { return len(onHost(t, v4)) == 0 })
	if got := n.ask(t, "192.0.2.10"); got != "silent" {
		t.Errorf("a refused VIP is %s", got)
	}

	// "all" counts as well, and so does leaving the subnet.
	setSysctl(t, "net/ipv4/conf/all/arp_ignore", "1")
	a.until(v4, vip.AddressPresent)
	setSysctl(t, "net/ipv4/conf/all/arp_ignore", "0")
	ip(t, "addr add 198.51.100.8/32 dev lo")
	a.until(v4, vip.AddressRefused)
	ip(t, "addr del 192.0.2.1/24 dev eth0")
	a.until(v4, vip.AddressPresent)
	ip(t, "addr add 192.0.2.1/24 dev eth0")
	a.until(v4, vip.AddressRefused)
}

// For IPv6 there is no rule, because there is nothing to guard against.
func TestNeighboursDoNotFindAnIPv6VIPOnLo(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	n := startNeighbour(t)
	ip(t, "-6 addr add 2001:db8:10::1/64 dev eth0 nodad")
	a := start(t, t.TempDir(), v6)
	a.until(v6, vip.AddressPresent)
	if got := n.ask(t, "2001:db8:10::1"); got != "answered" {
		t.Fatalf("the link's own address is %s", got)
	}
	if got := n.ask(t, v6.String()); got != "silent" {
		t.Errorf("a VIP on lo is %s to neighbour solicitations", got)
	}
	setSysctl(t, "net/ipv6/conf/all/forwarding", "1")
	if got := n.ask(t, v6.String()); got != "silent" {
		t.Errorf("on a router, a VIP on lo is %s to neighbour solicitations", got)
	}
}

func startNeighbour(t *testing.T) *helper {
	t.Helper()
	ip(t, "link add eth0 type veth peer name n0")
	ip(t, "link set eth0 up")
	n := startHelper(t, "neighbour", syscall.CLONE_NEWNET)
	ip(t, "link set n0 netns "+strconv.Itoa(n.cmd.Process.Pid))
	if got := n.ask(t, "up"); got != "ready" {
		t.Fatalf("neighbour says %q", got)
	}
	return n
}

// neighbour is a host on the same segment. For each address that it reads it
// says whether somebody answers an ARP request or neighbour solicitation.
func neighbour() error {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		answer := "ready"
		var err error
		if in.Text() == "up" {
			err = neighbourUp()
		} else {
			answer, err = resolve(in.Text())
		}
		if err != nil {
			return err
		}
		fmt.Println(answer)
	}
	return in.Err()
}

func neighbourUp() error {
	for _, args := range []string{"link set n0 up", "addr add 192.0.2.2/24 dev n0", "-6 addr add 2001:db8:10::2/64 dev n0 nodad"} {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", args, err, out)
		}
	}
	for _, family := range []string{"ipv4", "ipv6"} {
		for name, value := range map[string]string{"mcast_solicit": "3", "retrans_time_ms": "60"} {
			if err := os.WriteFile("/proc/sys/net/"+family+"/neigh/n0/"+name, []byte(value), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// resolve makes the kernel resolve an address afresh and waits for the outcome.
func resolve(addr string) (string, error) {
	_ = exec.Command("ip", "neigh", "del", addr, "dev", "n0").Run() // there may be none
	c, err := net.Dial("udp", net.JoinHostPort(addr, "9"))
	if err != nil {
		return "", err
	}
	defer c.Close()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		_, _ = c.Write([]byte{0}) // refused or unreachable is fine
		out, err := exec.Command("ip", "-j", "neigh", "show", addr, "dev", "n0").Output()
		if err != nil {
			return "", err
		}
		var entries []struct{ State []string }
		if err := json.Unmarshal(out, &entries); err != nil {
			return "", err
		}
		for _, e := range entries {
			switch strings.Join(e.State, " ") {
			case "FAILED":
				return "silent", nil
			case "REACHABLE", "STALE", "DELAY", "PROBE":
				return "answered", nil
			}
		}
	}
	return "", fmt.Errorf("%s is neither resolved nor failed", addr)
}
