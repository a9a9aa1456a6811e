package bench

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/anyvip/anyvip/lab/feed"
)

// keptServers is how many servers share the connections. The last one leaves and returns.
const keptServers = 3

// spreading is a way in which a ToR's kernel spreads over servers: the lines of shell that begin anew, and the one
// that changes the servers while connections are there.
type spreading struct {
	name   string
	begin  func(some []server) string
	change func(some []server) string
}

var spreadings = []spreading{
	{name: "multipath route", begin: multipath, change: multipath},
	{name: "resilient group", begin: beginResilient, change: resilient},
}

func multipath(some []server) string {
	line := "ip route replace " + keptVIP
	for _, s := range some {
		line += " nexthop via " + s.address()
	}
	return line
}

// keptVIP is what the client connects to.
var keptVIP = addresses(1)[0].Addr().String()

const groupID = 100

// resilient puts a group in place of the one before. A bucket moves only when its server left, or when it was quiet
// for two minutes.
func resilient(some []server) string {
	var ids []string
	for _, s := range some {
		ids = append(ids, strconv.Itoa(int(s)))
	}
	return fmt.Sprintf("ip nexthop replace id %d group %s type resilient buckets 512 idle_timer 120 unbalanced_timer 0", groupID, strings.Join(ids, "/"))
}

// beginResilient makes next hops and a group in which no bucket has a past.
func beginResilient(some []server) string {
	lines := []string{"ip nexthop flush", resilientHops(), resilient(some), fmt.Sprintf("ip route replace %s nhid %d", keptVIP, groupID)}
	return strings.Join(lines, " && ")
}

func resilientHops() string {
	var lines []string
	for _, s := range servers(keptServers) {
		lines = append(lines, fmt.Sprintf("ip nexthop add id %d via %s dev %s", s, s.address(), s.link()))
	}
	return strings.Join(lines, " && ")
}

// kept measures what becomes of established connections when the set of servers changes.
func (b *bench) kept(ctx context.Context) ([]table, error) {
	t := table{
		title: "Established connections when a server leaves and returns",
		method: fmt.Sprintf("A client holds %d connections over a ToR that is a Linux kernel (hash over addresses and ports) to %d servers. One server leaves, each in its turn: its next hop is taken out; later it is put back. "+
			"After each change every connection is used once. What a BGP speaker does plays no part. Multipath route: `ip route replace`, as BIRD and FRR do. Resilient group: `ip nexthop replace ... type "+
			"resilient` with 512 buckets, in place. Broken are connections to the servers that stayed; those of the server that leaves always break.", b.Size.flows, keptServers),
		columns: []string{"ToR's kernel", "Change", "times", "connections on servers that stayed", "broken", "share %"},
	}
	var errs failures
	for _, sp := range spreadings {
		var leaves, returns broken
		err := b.twice(ctx, fmt.Sprintf("kept: %s, a server leaves and returns %d times", sp.name, b.Size.changes), func() (err error) {
			leaves, returns, err = b.keep(ctx, sp)
			return err
		})
		if errs.stop(ctx, err) {
			return nil, err
		}
		if err == nil {
			t.add(sp.name, "a server leaves", count(b.Size.changes), count(leaves.stayed), count(leaves.broken), leaves.share())
			t.add(sp.name, "it returns", count(b.Size.changes), count(returns.stayed), count(returns.broken), returns.share())
		}
	}
	return []table{t}, errs.join()
}

// broken counts connections to servers that stayed.
type broken struct{ stayed, broken int }

func (b broken) share() string {
	if b.stayed == 0 {
		return none
	}
	return fmt.Sprintf("%.1f", float64(b.broken)/float64(b.stayed)*100)
}

func (b *bench) keep(ctx context.Context, sp spreading) (leaves, returns broken, err error) {
	s, err := b.upBare(ctx, plan{vips: 1, servers: keptServers, client: true}, words("anyvip-lab bench echo"))
	if err != nil {
		return leaves, returns, err
	}
	defer s.down(&err)
	all := servers(keptServers)
	port := 20_000
	for i := range b.Size.changes {
		gone := i % keptServers // how many break depends on its place
		stay := slices.Delete(slices.Clone(all), gone, gone+1)
		for _, step := range []struct {
			before, after []server
			count         *broken
		}{{all, stay, &leaves}, {stay, all, &returns}} {
			if _, err = output(ctx, s.lab, "tor", sp.begin(step.before)); err != nil {
				return leaves, returns, err
			}
			if err = b.change(ctx, s, sp.change(step.after), port, stay, step.count); err != nil {
				return leaves, returns, err
			}
			port += b.Size.flows
		}
	}
	return leaves, returns, nil
}

// change opens connections from port on, changes the ToR with a line of shell, and counts what is left of those to
// servers that stay.
func (b *bench) change(ctx context.Context, s *site, line string, port int, stay []server, total *broken) error {
	ask, asked := io.Pipe()
	client := s.lab.Command(ctx, "client", "anyvip-lab", "bench", "hold", "--target", keptVIP, "--count", strconv.Itoa(b.Size.flows), "--port", strconv.Itoa(port))
	client.Stdin = ask
	f, err := feed.Follow(client, &client.Stdout, decodeTally)
	if err != nil {
		return err
	}
	defer func() {
		_ = asked.Close()
		<-f.Done()
	}()
	before, err := f.Wait(ctx, soon, "the connections", func(tally) bool { return true })
	if err != nil {
		return err
	}
	if _, err := output(ctx, s.lab, "tor", line); err != nil {
		return err
	}
	if _, err := io.WriteString(asked, "what is left?\n"); err != nil {
		return err
	}
	n := 0
	after, err := f.Wait(ctx, soon, "what is left of the connections", func(tally) bool { n++; return n == 2 })
	if err != nil {
		return err
	}
	for _, sv := range stay {
		total.stayed += before.Servers[sv.name()]
		total.broken += before.Servers[sv.name()] - after.Servers[sv.name()]
	}
	return nil
}
