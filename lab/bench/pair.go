package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/anyvip/anyvip/lab"
	"github.com/anyvip/anyvip/lab/feed"
)

// pairPlan is a pair to bring up: two servers with the same keeper, s1 with priority 150 and s2 with 100, and a client,
// on one switch.
type pairPlan struct {
	keeper keeper
	election
	name string // the nodes' names begin with it; upPairs gives one
}

// pair is one that runs. What happens is sighted where the client is, by one clock.
type pair struct {
	pairPlan
	*stage
	sightings *feed.Feed[sighting]
	s1, sw    *shell

	probes *feed.Feed[probed]
	ask    io.Writer
	asked  int
}

const (
	mac1, mac2           = "02:00:00:00:00:01", "02:00:00:00:00:02"
	priority1, priority2 = 150, 100
)

func (p pairPlan) node(name string) string { return p.name + "-" + name }

// upPairs brings pairs up that have nothing to do with each other, in one lab, and waits until all is well.
func (b *bench) upPairs(ctx context.Context, plans ...pairPlan) (s *stage, pairs []*pair, err error) {
	ctx, cancel := context.WithCancel(ctx)
	s = &stage{cancel: cancel}
	defer func() {
		if err != nil {
			s.down(&err)
		}
	}()
	err = s.start(ctx, b.Binaries, func() (*lab.Topology, error) {
		topo := &lab.Topology{Name: filepath.Base(s.dir)}
		var errs []error
		for i := range plans {
			plans[i].name = fmt.Sprintf("p%d", i+1)
			errs = append(errs, plans[i].describe(topo, s.dir))
		}
		return topo, errors.Join(errs...)
	})
	if err != nil {
		return s, nil, err
	}
	for _, plan := range plans {
		p := &pair{pairPlan: plan, stage: s}
		if err := p.watch(ctx); err != nil {
			return s, nil, err
		}
		pairs = append(pairs, p)
	}
	for _, p := range pairs {
		if err := p.settle(ctx, time.Time{}); err != nil {
			return s, nil, err
		}
	}
	return s, pairs, nil
}

// describe adds the pair to a lab, and writes its files below dir.
func (p pairPlan) describe(topo *lab.Topology, dir string) error {
	sw := lab.Node{Name: p.node("sw"), Kind: "linux", Hostname: "sw", Image: "debian", Exec: [][]string{
		words("ip link add br0 type bridge mcast_snooping 0"), words("ip link set br0 up")}}
	hosts := []struct {
		name, address, mac string
		priority           int
	}{{"s1", "10.78.0.1", mac1, priority1}, {"s2", "10.78.0.2", mac2, priority2}, {"client", "10.78.0.9", "02:00:00:00:00:09", 0}}
	for i, h := range hosts {
		port := fmt.Sprintf("eth%d", i+1)
		sw.Exec = append(sw.Exec, words("ip link set "+port+" master br0"))
		node := lab.Node{Name: p.node(h.name), Kind: "linux", Hostname: h.name, Image: "debian", Exec: [][]string{words("ip address add " + h.address + "/16 dev eth1")}}
		if h.priority > 0 {
			config := filepath.Join(dir, node.Name)
			if err := errors.Join(os.Mkdir(config, 0o755), p.keeper.files(config, p.election, h.priority)); err != nil {
				return err
			}
			p.keeper.node(&node, config)
		}
		topo.Nodes = append(topo.Nodes, node)
		topo.Links = append(topo.Links, lab.Link{A: lab.Endpoint{Node: sw.Name, Interface: port}, B: lab.Endpoint{Node: node.Name, Interface: "eth1", MAC: h.mac}})
	}
	topo.Nodes = append(topo.Nodes, sw)
	return nil
}

// watch starts the shells, and the sniffer at the client.
func (p *pair) watch(ctx context.Context) (err error) {
	if p.s1, err = p.startShell(ctx, p.node("s1")); err != nil {
		return err
	}
	if p.sw, err = p.startShell(ctx, p.node("sw")); err != nil {
		return err
	}
	sniffer := p.lab.Command(ctx, p.node("client"), "anyvip-lab", "bench", "sniff", "--link", "eth1", "--within", keptRange, "--count", strconv.Itoa(p.all()))
	if p.sightings, err = feed.Follow(sniffer, &sniffer.Stdout, decodeSightings); err != nil {
		return err
	}
	p.follow(p.sightings.Done())
	_, err = p.sighted(ctx, "the sniffer is ready", func(s sighting) bool { return s.What == atStart })
	return err
}

// startProbes starts to ask the first VIP.
func (p *pair) startProbes(ctx context.Context) error {
	vip, _ := p.addresses(1)
	theirs, ours, err := os.Pipe()
	if err != nil {
		return err
	}
	defer theirs.Close()
	p.ask, p.inputs = ours, append(p.inputs, ours)
	prober := p.lab.Command(ctx, p.node("client"), "anyvip-lab", "bench", "probe", "--target", vip[0].String())
	prober.Stdin = theirs
	if p.probes, err = feed.Follow(prober, &prober.Stdout, decodeProbed); err != nil {
		return err
	}
	p.follow(p.probes.Done())
	return nil
}

// sumProbes is what became of the probes since it was asked the last time.
func (p *pair) sumProbes(ctx context.Context) (probed, error) {
	if _, err := io.WriteString(p.ask, "\n"); err != nil {
		return probed{}, err
	}
	p.asked++
	n := 0
	return p.probes.Wait(ctx, soon, "a sum of probes", func(probed) bool { n++; return n == p.asked })
}

func (p *pair) sighted(ctx context.Context, what string, match func(sighting) bool) (sighting, error) {
	s, err := p.sightings.Wait(ctx, soon, p.keeper.name+": "+what, match)
	if err != nil && ctx.Err() == nil {
		err = p.explain(err)
	}
	return s, err
}

// active says that an Active router of a server advertises.
func (s sighting) active(mac string) bool {
	return s.What == advertised && s.From == mac && s.Priority > 0
}

// settle waits until s1 alone is Active, not before since, for all routers, and answers the client's probes.
func (p *pair) settle(ctx context.Context, since time.Time) error {
	heard := map[uint8]bool{}
	_, err := p.sighted(ctx, "s1 is Active for all routers", func(s sighting) bool {
		if s.active(mac1) && s.Time.After(since) {
			heard[s.VRID] = true
		}
		return len(heard) == p.routers
	})
	for limit := time.Now().Add(soon); err == nil; {
		if err = wait(ctx, handedOver); err != nil {
			return err
		}
		if p.alone() && p.answers(ctx) {
			return p.intact()
		}
		if time.Now().After(limit) {
			err = p.explain(fmt.Errorf("%s: s1 is not Active alone, or does not answer, for %s", p.keeper.name, soon))
		}
	}
	return err
}

// handedOver is longer than a router that yields goes on answering.
const handedOver = 250 * time.Millisecond

// alone says whether s1 advertised last, for each router.
func (p *pair) alone() bool {
	last := map[uint8]string{}
	for _, s := range p.sightings.All(func(s sighting) bool { return s.What == advertised }) {
		last[s.VRID] = s.From
	}
	for _, from := range last {
		if from != mac1 {
			return false
		}
	}
	return len(last) == p.routers
}

// answers says whether no probe is lost now, where there are any. The client forgets MACs before: the winner of two
// Active routers may not announce, as with keepalived, and the client would ask the wrong server for some seconds.
func (p *pair) answers(ctx context.Context) bool {
	if p.probes == nil {
		return true
	}
	_, forgot := output(ctx, p.lab, p.node("client"), "ip neigh flush dev eth1")
	_, begun := p.sumProbes(ctx)
	now, err := p.sumProbes(ctx)
	return errors.Join(forgot, begun, err) == nil && now.Asked > 0 && now.Lost == 0
}

// intact fails if the sniffer has missed something.
func (p *pair) intact() error {
	for _, s := range p.sightings.All(func(s sighting) bool { return s.What == missed }) {
		return fmt.Errorf("the instrument missed something, the measurement is void: %s", s.Detail)
	}
	return nil
}

// explain adds what the servers logged last.
func (p *pair) explain(err error) error {
	return fmt.Errorf("%w\n%s%s%s", err, p.lastLogged(p.node("s1"), p.node("s2")), p.s1.complaint(), p.sw.complaint())
}
