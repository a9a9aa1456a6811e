package ipcmd

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// inside marks a process that has a network namespace of its own.
const inside = "IPCMD_TEST_INSIDE"

func TestMain(m *testing.M) {
	if os.Getenv(inside) != "" {
		os.Exit(m.Run())
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWNET | syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}},
	}
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		os.Exit(exit.ExitCode())
	case err != nil && os.Getenv("ANYVIP_REQUIRE_INTEGRATION") == "1":
		os.Stderr.WriteString("a network namespace is needed: " + err.Error() + "\n")
		os.Exit(1)
	case err != nil:
		os.Stderr.WriteString("skipped, a network namespace is needed: " + err.Error() + "\n")
	}
	os.Exit(0)
}

func TestRun(t *testing.T) {
	for _, line := range []string{
		"ip link set lo up",
		"ip link add br0 type bridge",
		"ip link add name br1 type bridge",
		"ip link set dev br0 up mtu 1400",
		"ip address add 10.0.0.1/24 dev br0",
		"ip addr add fd00::1/64 dev br0 nodad",
		"ip -4 a add 192.0.2.10 dev lo scope host",
		"ip -6 address add 2001:db8::10 dev lo preferred_lft 0",
		"ip address add 10.0.0.2/24 dev br0",
		"ip address del 10.0.0.2/24 dev br0",
		"ip route add default via 10.0.0.254",
		"ip -6 route add default via fd00::fe dev br0",
		"ip route replace 198.51.100.0/24 via 10.0.0.253",
		"ip route replace 198.51.100.0/24 via 10.0.0.252",
	} {
		if err := Run(strings.Fields(line)); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}

	br0, err := netlink.LinkByName("br0")
	if err != nil {
		t.Fatal(err)
	}
	if br0.Attrs().MTU != 1400 || br0.Attrs().OperState == netlink.OperDown && br0.Attrs().Flags == 0 {
		t.Errorf("br0: %+v", br0.Attrs())
	}
	addresses := make(map[string]netlink.Addr)
	all, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		addresses[a.IPNet.String()] = a
	}
	for _, want := range []string{"10.0.0.1/24", "fd00::1/64", "192.0.2.10/32", "2001:db8::10/128"} {
		if _, ok := addresses[want]; !ok {
			t.Errorf("no address %s", want)
		}
	}
	if _, ok := addresses["10.0.0.2/24"]; ok {
		t.Error("10.0.0.2/24 is still there")
	}
	if a := addresses["fd00::1/64"]; a.Flags&unix.IFA_F_NODAD == 0 {
		t.Errorf("flags of fd00::1: %x", a.Flags)
	}
	if a := addresses["192.0.2.10/32"]; a.Scope != unix.RT_SCOPE_HOST {
		t.Errorf("scope of 192.0.2.10: %d", a.Scope)
	}
	if a := addresses["2001:db8::10/128"]; a.Flags&unix.IFA_F_DEPRECATED == 0 {
		t.Errorf("2001:db8::10 is not deprecated: %x, %d, %d", a.Flags, a.PreferedLft, a.ValidLft)
	}
	routes, err := netlink.RouteList(br0, netlink.FAMILY_ALL)
	if err != nil {
		t.Fatal(err)
	}
	gateways := make(map[string]bool)
	for _, r := range routes {
		gateways[r.Gw.String()] = true
	}
	for want, there := range map[string]bool{"10.0.0.254": true, "fd00::fe": true, "10.0.0.252": true, "10.0.0.253": false} {
		if gateways[want] != there {
			t.Errorf("route via %s: %t", want, gateways[want])
		}
	}
}

func TestRunRefuses(t *testing.T) {
	for _, test := range []struct{ line, want string }{
		{"ip", "install iproute2"},
		{"ip rule add from all", "install iproute2"},
		{"ip address add 10.0.0.1/24", "install iproute2"},
		{"ip address add 10.0.0.1/24 dev lo peer 1.1.1.1", "install iproute2"},
		{"ip address add 10.0.0.300/24 dev lo", "10.0.0.300/24"},
		{"ip address add 10.0.0.1/24 dev nosuch", `interface "nosuch"`},
		{"ip link set lo mtu many", "mtu"},
		{"ip link add x type vlan", "install iproute2"},
		{"ip route add default", "install iproute2"},
		{"ip route add default via here", "here"},
	} {
		if err := Run(strings.Fields(test.line)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want one with %q", test.line, err, test.want)
		}
	}
}
