package integration

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestVRRPForeignHost: a host that is no router has an address of ours before we are
// there, and takes another one later. Each is told once, with its MAC, wherever an
// operator may look.
func TestVRRPForeignHost(t *testing.T) {
	t.Parallel()
	r := up(t, "vrrp-foreign.clab.yml", options{})
	seen := r.sights("stranger")
	mac := strings.TrimSpace(r.sh("stranger", "ip -oneline link show eth1 | sed -n 's,.*link/ether \\([^ ]*\\).*,\\1,p'"))

	t.Log("it was there before: the probe tells")
	for router, addr := range map[string]string{"web/ipv4": "10.0.5.60", "web/ipv6": "fd05::60"} {
		asked := seen.wait(2*patience, "the announcement of "+addr, func(x sighting) bool { return x.Addr == addr }).At
		r.toldOf(router, addr, mac, asked)
	}

	t.Log("it takes one later, and insists")
	announced := func() []sighting { return seen.all(func(x sighting) bool { return x.Addr == "10.0.5.61" }) }
	eventually(t, patience, func() error {
		if n := len(announced()); n < 5 {
			return fmt.Errorf("s1 has announced %d times, and will five times", n)
		}
		return nil
	})
	const insists = 12 * time.Second
	claims := follow(r, decodeLines[sighting], "stranger", roleArgv(t, claimName, "eth1", "10.0.5.61", insists.String())...)
	took := claims.wait(patience, "the first claim", func(sighting) bool { return true }).At
	r.toldOf("db", "10.0.5.61", mac, took)
	<-time.After(time.Until(took.Add(insists)))
	if n := len(r.odds("s1")); n != 3 {
		t.Errorf("told %d times, want once for each address: %+v", n, r.odds("s1"))
	}
	defences := func(until time.Duration) (n int) {
		for _, x := range announced() {
			if x.At.After(took) && x.At.Before(took.Add(until)) {
				n++
			}
		}
		return n
	}
	// An announcement is five frames, in 5 s.
	if early, all := defences(9*time.Second), defences(insists); early != 5 || all <= early || all > 10 {
		t.Errorf("s1 sent %d announcements in 9 s, %d in %s; it announces once in 10 s, five times", early, all, insists)
	}
	if s := r.mustStatus("s1"); s.router("db").State != "ACTIVE" || !s.router("db").Answers {
		t.Errorf("a claim took the address away: %+v", s.router("db"))
	}
}

// toldOf waits until s1 tells of a foreign claim in its status, its events, its metrics
// and its log, and checks that it took no longer than 2 s.
func (r *rig) toldOf(router, addr, mac string, since time.Time) {
	r.t.Helper()
	const limit = 2 * time.Second
	s := r.statusShows("s1", "a foreign claim of "+mac+" to "+addr, func(s agentStatus) bool {
		for _, o := range s.router(router).Others {
			if o.MAC == mac && o.Address == addr && len(o.Trouble) == 1 && o.Trouble[0] == "FOREIGN_CLAIM" {
				return true
			}
		}
		return false
	})
	text := fmt.Sprintf("foreign_claim: %s, MAC %s", addr, mac)
	found := false
	for _, e := range s.Events {
		if e.Kind == "ROUTER" && e.Name == router && e.To == "at odds" && e.Reason == text {
			found = true
			if d := e.At.Sub(since); d > limit {
				r.t.Errorf("%s: told after %s", router, ms(d))
			} else {
				r.t.Logf("%s: told after %s", router, ms(d))
			}
		}
	}
	if !found {
		r.t.Errorf("no event of router %s says %q: %+v", router, text, s.Events)
	}
	if v := r.metric(r.http("s1", "/metrics"), fmt.Sprintf("anyvip_router_trouble{router=%q,trouble=\"foreign_claim\"}", router)); v != 1 {
		r.t.Errorf("anyvip_router_trouble of %s is %v", router, v)
	}
	logged := 0
	for _, o := range r.odds("s1") {
		if o.Router == router && o.Reason == text {
			logged++
		}
	}
	if logged != 1 {
		r.t.Errorf("%d lines in the log say that of %s", logged, router)
	}
}

// claimName is this binary as a host that says that an address is its own.
const claimName = "integration-claim"

// claim announces an IPv4 address on a link in ARP, four times a second, for a while. It
// says when it begins.
func claim(args []string) error {
	ifi, err := net.InterfaceByName(args[0])
	if err != nil {
		return err
	}
	addr, err := netip.ParseAddr(args[1])
	if err != nil {
		return err
	}
	lasting, err := time.ParseDuration(args[2])
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	broadcast, ip := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, addr.AsSlice()
	var frame []byte
	for _, part := range [][]byte{
		broadcast, ifi.HardwareAddr, {8, 6}, // Ethernet
		{0, 1, 8, 0, 6, 4, 0, 1},            // ARP request, IPv4 over Ethernet
		ifi.HardwareAddr, ip, broadcast, ip, // sender, target
	} {
		frame = append(frame, part...)
	}
	if err := json.NewEncoder(os.Stdout).Encode(sighting{At: time.Now()}); err != nil {
		return err
	}
	tick := time.NewTicker(250 * time.Millisecond)
	for end := time.After(lasting); ; {
		if err := unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: ifi.Index, Halen: 6}); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-end:
			return nil
		}
	}
}
