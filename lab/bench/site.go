package bench

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/anyvip/anyvip/lab"
	"github.com/anyvip/anyvip/lab/feed"
)

// plan is a site to bring up: servers s1, s2, ... that all run the same speaker, each with a link to the ToR.
type plan struct {
	speaker speaker
	tor     router
	vips    int
	servers int  // 0 stands for 1
	client  bool // a client behind the ToR, and the VIPs on every server's lo
}

// vipRange holds the VIPs.
const vipRange = "10.200.0.0/16"

// addresses are the first n VIPs.
func addresses(n int) []netip.Prefix {
	out := make([]netip.Prefix, n)
	for i := range out {
		out[i] = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 200, byte((i + 1) >> 8), byte(i + 1)}), 32)
	}
	return out
}

// server is one server of a site; its number begins with 1.
type server int

// servers are the first n.
func servers(n int) []server {
	list := make([]server, n)
	for i := range list {
		list[i] = server(i + 1)
	}
	return list
}

func (s server) name() string    { return fmt.Sprintf("s%d", s) }
func (s server) link() string    { return fmt.Sprintf("eth%d", s) } // the ToR's; its own is eth1
func (s server) address() string { return fmt.Sprintf("10.0.%d.2", s) }
func (s server) gateway() string { return fmt.Sprintf("10.0.%d.1", s) }
func (s server) asn() string     { return strconv.Itoa(65100 + int(s)) }

const torASN = "65000"

// pairs are the values that every configuration of the server's speaker needs, for fill.
func (s server) pairs(more ...string) []string {
	return append(more, "SERVER-AS", s.asn(), "TOR-AS", torASN, "SERVER", s.address(), "TOR", s.gateway(), "RANGE", vipRange)
}

// soon bounds what takes seconds where it works at all.
const soon = time.Minute

// site is a stage with the instrument at the ToR and a shell in s1.
type site struct {
	plan
	stage
	gauge *feed.Feed[reading]
	shell *shell
}

// up brings a site up, with the instrument, and with nothing announced where the speaker has no check of its own.
func (b *bench) up(ctx context.Context, p plan) (s *site, err error) {
	ctx, cancel := context.WithCancel(ctx)
	s = &site{plan: p, stage: stage{cancel: cancel}}
	defer func() {
		if err != nil {
			s.down(&err)
		}
	}()
	if err = s.start(ctx, b.Binaries, s.topology); err != nil {
		return s, err
	}
	if err = s.startGauge(ctx); err != nil {
		return s, err
	}
	s.shell, err = s.startShell(ctx, server(1).name())
	return s, err
}

// topology writes the site's files and describes its lab.
func (s *site) topology() (*lab.Topology, error) {
	s.servers = max(s.servers, 1)
	all := servers(s.servers)
	tor := lab.Node{Name: "tor", Kind: "linux", Hostname: "tor", Sysctls: map[string]string{
		"net.ipv4.ip_forward": "1", "net.ipv4.fib_multipath_hash_policy": "1"}}
	config := filepath.Join(s.dir, "tor")
	s.tor.node(&tor, config)
	topo := &lab.Topology{Name: filepath.Base(s.dir)}
	errs := []error{fill(config, s.tor.config(all))}
	for _, sv := range all {
		tor.Exec = append(tor.Exec, words("ip address add "+sv.gateway()+"/24 dev "+sv.link()))
		node, err := s.serverNode(sv)
		errs = append(errs, err)
		topo.Nodes = append(topo.Nodes, node)
		topo.Links = append(topo.Links, link("tor", sv.link(), sv.name()))
	}
	if s.client {
		tor.Exec = append(tor.Exec, words("ip address add 10.0.99.1/24 dev eth99"))
		topo.Nodes = append(topo.Nodes, lab.Node{Name: "client", Kind: "linux", Hostname: "client", Image: "debian", Exec: [][]string{
			words("ip address add 10.0.99.2/24 dev eth1"), words("ip route add default via 10.0.99.1")}})
		topo.Links = append(topo.Links, link("tor", "eth99", "client"))
	}
	topo.Nodes = append(topo.Nodes, tor)
	return topo, errors.Join(errs...)
}

func (s *site) serverNode(sv server) (lab.Node, error) {
	dir := filepath.Join(s.dir, sv.name())
	node := lab.Node{Name: sv.name(), Kind: "linux", Hostname: sv.name(),
		Binds: []lab.Bind{{Source: dir, Target: "/etc/bench", ReadOnly: true}},
		Exec:  [][]string{words("ip address add " + sv.address() + "/24 dev eth1")}}
	if s.client {
		node.Exec = append(node.Exec, words("ip route add default via "+sv.gateway()))
		for _, p := range addresses(s.vips) {
			node.Exec = append(node.Exec, words("ip address add "+p.String()+" dev lo scope host"))
		}
	}
	s.speaker.node(&node, dir)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return node, err
	}
	return node, s.speaker.files(dir, sv, addresses(s.vips))
}

// link is one from the named end to eth1 of the node at the other.
func link(node, end, other string) lab.Link {
	return lab.Link{A: lab.Endpoint{Node: node, Interface: end}, B: lab.Endpoint{Node: other, Interface: "eth1"}}
}

func words(line string) []string { return strings.Fields(line) }

// startGauge watches s1 from the ToR.
func (s *site) startGauge(ctx context.Context) (err error) {
	first := server(1)
	cmd := s.lab.Command(ctx, "tor", "anyvip-lab", "bench", "gauge", "--link", first.link(), "--from", first.address(),
		"--within", vipRange, "--count", strconv.Itoa(s.vips))
	if s.gauge, err = feed.Follow(cmd, &cmd.Stdout, decodeReadings); err != nil {
		return err
	}
	s.follow(s.gauge.Done())
	_, err = s.gauge.Wait(ctx, soon, "the instrument is ready", func(r reading) bool { return r.Where == atStart })
	return err
}

// settle waits until all VIPs of s1 are there, or gone, not before since.
func (s *site) settle(ctx context.Context, where string, up bool, since time.Time, limit time.Duration) (reading, error) {
	what := "gone"
	if up {
		what = "there"
	}
	r, err := s.gauge.Wait(ctx, limit, fmt.Sprintf("%s: all VIPs of s1 %s", where, what), func(r reading) bool {
		return !r.Time.Before(since) && (r.Where == where && r.Up == up || r.Where == sessionEnd && where == onWire)
	})
	if err == nil && r.Where == sessionEnd {
		err = errors.New("the BGP session ended")
	}
	if err != nil && ctx.Err() == nil {
		err = s.explain(err)
	}
	return r, err
}

// turn is one change of all VIPs.
type turn struct {
	issued  time.Time // when the line was issued
	verdict time.Time // when the decision was made; for most the same
	wire    reading
	route   reading
}

// turn makes all VIPs of s1 announced or withdrawn and waits until the ToR's kernel has it.
func (s *site) turn(ctx context.Context, up bool, limit time.Duration) (t turn, err error) {
	if t.issued, err = s.shell.say(s.speaker.turn(up, addresses(s.vips))); err != nil {
		return t, err
	}
	if t.wire, err = s.settle(ctx, onWire, up, t.issued, limit); err != nil {
		return t, err
	}
	if t.route, err = s.settle(ctx, inFIB, up, t.issued, limit); err != nil {
		return t, err
	}
	t.verdict = t.issued
	if s.speaker.verdict != nil {
		if t.verdict, err = s.speaker.verdict(ctx, s, up); err != nil {
			return t, err
		}
	}
	return t, s.intact()
}

// intact fails if the instrument has missed something.
func (s *site) intact() error {
	for _, r := range s.gauge.All(func(r reading) bool { return r.Where == missed }) {
		return fmt.Errorf("the instrument missed something, the measurement is void: %s", r.Detail)
	}
	return nil
}

// explain adds what the nodes logged last.
func (s *site) explain(err error) error {
	return fmt.Errorf("%w\n%s%s", err, s.lastLogged(server(1).name(), "tor"), s.shell.complaint())
}
