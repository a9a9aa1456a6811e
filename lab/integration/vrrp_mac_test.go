package integration

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/anyvip/anyvip/lab/labtest"
	"github.com/anyvip/anyvip/lab/load"
)

// macs is what the segment and its client see of MACs.
type macs struct {
	*rig
	ports      *instrument[macFrame]
	neighbours *instrument[neighbour]
	virtual    map[netip.Addr]string // of each VIP: its virtual router MAC
}

func (r *rig) seeMACs(virtual map[string]string, ports ...string) *macs {
	r.t.Helper()
	m := &macs{r, r.watchMACs("sw", ports...), r.watchNeighbours("client"), map[netip.Addr]string{}}
	for addr, mac := range virtual {
		m.virtual[netip.MustParseAddr(addr)] = mac
	}
	return m
}

// from are the frames that came in on a port from a virtual router's MAC.
func (m *macs) from(port string, since, until time.Time) []macFrame {
	return m.ports.all(func(f macFrame) bool {
		return f.Port == port && f.virtual() && f.At.After(since) && f.At.Before(until)
	})
}

// quiet sees for a while that nobody behind a port sends from a virtual router's MAC,
// and that somebody behind another does.
func (m *macs) quiet(port, busy string) {
	m.t.Helper()
	const settled, while = 300 * time.Millisecond, 3 * time.Second // Backup still answers for 100 ms
	time.Sleep(settled)
	since := time.Now()
	time.Sleep(while)
	for _, f := range m.from(port, since, time.Now()) {
		m.t.Errorf("from behind port %s, where no router is Active: %s %s", port, f.From, f.Frame)
	}
	if n := len(m.from(busy, since, time.Now())); n < 2 {
		m.t.Errorf("only %d frames from behind port %s", n, busy)
	}
}

// tells logs which requests failed, and the frames from virtual MACs around them.
func (m *macs) tells(loads map[string]client, since time.Time) {
	m.t.Helper()
	var first, last time.Time
	for host, c := range loads {
		for _, e := range c.all(func(e load.Event) bool { return e.Kind == load.Result && !fine(e.Request) }) {
			at := e.Request.Started
			m.t.Logf("%s: the request of %s failed", host, ms(at.Sub(since)))
			if first.IsZero() || at.Before(first) {
				first = at
			}
			if at.After(last) {
				last = at
			}
		}
	}
	const around = 200 * time.Millisecond
	for _, f := range m.ports.all(func(f macFrame) bool {
		return f.virtual() && f.At.After(first.Add(-around)) && f.At.Before(last.Add(around))
	}) {
		m.t.Logf("%s from %s on port %s: %s", ms(f.At.Sub(since)), f.From, f.Port, f.Frame)
	}
}

// judge fails the test for each other MAC that a VIP had.
func (m *macs) judge() {
	m.t.Helper()
	learned := map[netip.Addr]int{}
	for _, n := range m.neighbours.all(func(n neighbour) bool { return m.virtual[n.Address] != "" && n.MAC != "" }) {
		learned[n.Address]++
		if n.MAC != m.virtual[n.Address] {
			m.t.Errorf("the client believed that %s is at %s", n.Address, n.MAC)
		}
	}
	claims := map[netip.Addr]int{}
	for _, f := range m.ports.all(func(f macFrame) bool { return m.virtual[f.Claim] != "" }) {
		claims[f.Claim]++
		if want := m.virtual[f.Claim]; f.ClaimMAC != want || f.From != want {
			m.t.Errorf("%s was said to be at %s, in a frame from %s on port %s", f.Claim, f.ClaimMAC, f.From, f.Port)
		}
	}
	for addr := range m.virtual {
		m.t.Logf("%s: the client's entry changed %d times, %d claims on the wire, always at %s", addr, learned[addr], claims[addr], m.virtual[addr])
		if claims[addr] == 0 {
			m.t.Errorf("nobody ever said where %s is", addr)
		}
	}
}

// knows waits until the client has a VIP's virtual router MAC.
func (m *macs) knows() {
	m.t.Helper()
	for addr, mac := range m.virtual {
		if addr.IsLinkLocalUnicast() {
			continue
		}
		eventually(m.t, patience, func() error {
			text := m.sh("client", "ip neigh show "+addr.String()+" dev eth1")
			if !strings.Contains(text, "lladdr "+mac) {
				return fmt.Errorf("the client has %q for %s", text, addr)
			}
			return nil
		})
	}
}

// macvlans are the macvlans of a node: their index by name.
func (r *rig) macvlans(node string) map[string]int {
	r.t.Helper()
	var list []struct {
		Ifindex int
		Ifname  string
	}
	if err := json.Unmarshal([]byte(r.sh(node, "ip -json link show type macvlan")), &list); err != nil {
		r.t.Fatal(err)
	}
	out := map[string]int{}
	for _, l := range list {
		if l.Ifname != "" {
			out[l.Ifname] = l.Ifindex
		}
	}
	return out
}

// TestVRRPVirtualMAC: the addresses of examples/vrrp-pair have one MAC, whoever answers
// for them, and a client notices nothing of a takeover.
func TestVRRPVirtualMAC(t *testing.T) {
	t.Parallel()
	edit := func(text string) string {
		return strings.Replace(text, "      vrid: 51", "      virtual_mac: true\n      vrid: 51", 1)
	}
	p := pair{up(t, "../../../examples/vrrp-pair/vrrp-pair.clab.yml", options{edits: map[string]func(string) string{"s1": edit, "s2": edit}})}
	for _, node := range []string{"s1", "s2"} {
		p.statusShows(node, "which sysctls are missing", func(s agentStatus) bool {
			return strings.Contains(asJSON(s), "run: sysctl -w net.ipv4.conf.eth1.arp_ignore=1 net.ipv4.conf.eth1.arp_announce=2")
		})
		p.sh(node, "sysctl -qw net.ipv4.conf.eth1.arp_ignore=1 net.ipv4.conf.eth1.arp_announce=2")
	}
	p.is("s1", "ACTIVE")
	p.is("s2", "BACKUP")
	const four, six = "00:00:5e:00:01:33", "00:00:5e:00:02:33"
	m := p.seeMACs(map[string]string{pairVIP4: four, pairVIP6: six, "fe80::5:100": six}, "eth1", "eth2")
	made := p.macvlans("s1")
	if len(made) != 2 || len(p.macvlans("s2")) != 2 {
		t.Errorf("macvlans: %v, %v", made, p.macvlans("s2"))
	}
	smoothly := func(loads map[string]client, since time.Time, server string) {
		t.Helper()
		gap, failed := p.moves(loads, since, server)
		if gap > time.Second {
			t.Errorf("nobody answered for %s", ms(gap))
		}
		if failed > 0 { // a switch that moves the MAC may cost some: who sent what then
			m.tells(loads, since)
		}
	}
	loads := p.loads()
	at := time.Now()
	m.quiet("eth2", "eth1")
	smoothly(loads, at, "s1")
	m.knows()
	if got := p.sh("client", `bash -c 'exec 3<>/dev/tcp/fe80::5:100%eth1/80 && printf "GET / HTTP/1.0\r\n\r\n" >&3 && tail -1 <&3'`); got != "s1\n" {
		t.Errorf("the link-local address answers %q", got)
	}

	t.Log("a drain")
	loads, at = p.loads(), time.Now()
	p.sh("s1", "anyvip drain web --reason test")
	smoothly(loads, at, "s2")
	p.statusShows("s1", "the drain", func(s agentStatus) bool { return s.Services[0].Disposition == "DRAINED" })
	m.quiet("eth1", "eth2")
	m.knows()

	t.Log("it is taken back")
	loads, at = p.loads(), time.Now()
	p.sh("s1", "anyvip undrain web")
	smoothly(loads, at, "s1")
	p.is("s2", "BACKUP")
	m.quiet("eth2", "eth1")

	t.Log("kill -9 of the agent")
	loads, at = p.loads(), time.Now()
	p.kill("s1")
	smoothly(loads, at, "s2")
	p.gone("s1", at, 7*time.Second)
	time.Sleep(time.Second) // the kernel says that it leaves a group of multicast
	dead := m.from("eth1", at, time.Now())
	t.Logf("%d frames from the virtual MAC of a dead agent", len(dead))
	m.quiet("eth1", "eth2")
	m.knows()
	loads, at = p.loads(), time.Now()
	p.start("s1")
	p.is("s1", "ACTIVE")
	smoothly(loads, at, "s1")
	if now := p.macvlans("s1"); !maps.Equal(now, made) {
		t.Errorf("macvlans were %v, and are %v", made, now)
	}
	p.is("s2", "BACKUP")

	t.Log("the link of the Active server is cut")
	loads, at = p.loads(), time.Now()
	if err := p.SetLink("s1:eth1", false); err != nil {
		t.Fatal(err)
	}
	if gap, _ := p.moves(loads, at, "s2"); gap > 5*time.Second {
		t.Errorf("nobody answered for %s", ms(gap)) // Active_Down_Interval is 3.61 s
	}
	if err := p.SetLink("s1:eth1", true); err != nil {
		t.Fatal(err)
	}
	p.is("s1", "ACTIVE")
	p.is("s2", "BACKUP")
	m.quiet("eth2", "eth1")

	t.Log("a polite stop")
	loads, at = p.loads(), time.Now()
	p.signal("s1", syscall.SIGTERM)
	smoothly(loads, at, "s2")
	if state, err := p.Daemon("s1").Wait(t.Context()); err != nil || state.Ended != "anyvip: exit status 0" {
		t.Errorf("s1 ended as %q, %v", state.Ended, err)
	}
	p.gone("s1", at, 10*time.Second)
	m.quiet("eth1", "eth2")
	m.judge()
}

// TestVRRPVirtualMACBesideKeepalivedAndFRR: whichever of the three answers, it is one
// MAC for all who ask, and nobody finds fault with anybody.
func TestVRRPVirtualMACBesideKeepalivedAndFRR(t *testing.T) {
	t.Parallel()
	labtest.Need(t, "keepalived")
	r := up(t, "mac.clab.yml", options{})
	p := pair{r}
	vips := map[string]string{"10.0.5.100": "keepalived", "[2001:db8:5::100]": "keepalived", "10.0.5.200": "frr", "[2001:db8:5::200]": "frr"}
	routers := func(state string) {
		t.Helper()
		r.statusShows("s1", "four routers that are "+state, func(s agentStatus) bool {
			n := 0
			for _, x := range s.Routers {
				if x.State == state {
					n++
				}
			}
			return n == 4 && len(s.Routers) == 4
		})
	}
	routers("ACTIVE")
	m := r.seeMACs(map[string]string{"10.0.5.100": "00:00:5e:00:01:33", "2001:db8:5::100": "00:00:5e:00:02:33", "fe80::5:100": "00:00:5e:00:02:33",
		"10.0.5.200": "00:00:5e:00:01:34", "2001:db8:5::200": "00:00:5e:00:02:34", "fe80::5:200": "00:00:5e:00:02:34"}, "eth1", "eth2", "eth3")
	answers := func(what string, within time.Duration, act func(), by func(partner string) string) {
		t.Helper()
		t.Log(what)
		loads := map[string]client{}
		for host := range vips {
			c := client{follow(r, load.Decode, "client", "anyvip-lab", "load", "--target", "http://"+host+"/", "--rate", "100", "--each")}
			c.wait(patience, "the client is ready", func(e load.Event) bool { return e.Kind == load.Ready })
			loads[host] = c
		}
		at := time.Now()
		act()
		for _, host := range slices.Sorted(maps.Keys(vips)) {
			one := map[string]client{host: loads[host]}
			if gap, _ := p.moves(one, at, by(vips[host])); gap > within {
				t.Errorf("%s: nobody answered for %s", what, ms(gap))
				m.tells(one, at)
			}
		}
		m.knows()
	}
	// Where a frame of the router that yielded moves the MAC back, it takes the other one's
	// next advertisement: some 0.9 s.
	const smooth = 750 * time.Millisecond
	ours := func(string) string { return "s1" }
	theirs := func(partner string) string { return partner }
	answers("we answer", smooth, func() {}, ours)
	m.quiet("eth2", "eth1")
	m.quiet("eth3", "eth1")

	answers("we hand over: a drain", smooth, func() { r.sh("s1", "anyvip drain --node --reason test") }, theirs)
	m.quiet("eth1", "eth2")
	answers("we take over: we preempt them", smooth, func() { r.sh("s1", "anyvip undrain --node") }, ours)
	routers("ACTIVE")

	answers("they preempt us", smooth, func() {
		r.replace("s1", "priority: 150", "priority: 50")
		r.signal("s1", syscall.SIGHUP)
	}, theirs)
	routers("BACKUP")
	m.quiet("eth1", "eth2")
	if text := asJSON(r.mustStatus("s1").Services); strings.Contains(text, `"RIVAL"`) {
		t.Errorf("they are at odds with us: %s", text)
	}

	answers("we replace those that are silent", 5*time.Second, func() {
		for _, end := range []string{"keepalived:eth1", "frr:eth1"} {
			if err := r.SetLink(end, false); err != nil {
				t.Fatal(err)
			}
		}
	}, ours)
	m.judge()
}
