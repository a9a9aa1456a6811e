package integration

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anyvip/anyvip/lab/labtest"
	"github.com/anyvip/anyvip/vrrp"
	"github.com/anyvip/anyvip/vrrp/wire"
)

// mixed is vrrp-peers.clab.yml, up and settled, with what looks at it.
type mixed struct {
	*rig
	nodes map[string]string // by MAC: who has it
	wire  *instrument[sighting]
	cache *instrument[neighbor]
}

// shared is a virtual router that s1 shares with one other node. Its addresses end in
// its VRID.
type shared struct {
	service string
	peer    string
	vrid    int
	ours    bool // s1 is the better one
}

var sharedRouters = []shared{
	{"ka-ours", "ka", 51, true}, {"ka-theirs", "ka", 52, false},
	{"fr-ours", "fr", 53, true}, {"fr-theirs", "fr", 54, false},
	{"s2-ours", "s2", 55, true}, {"s2-theirs", "s2", 56, false},
}

// half is one family of a shared router.
type half struct {
	shared
	name string // of s1's virtual router
	six  bool
	vip  string
}

// halves are both families of all shared routers that ok likes.
func halves(ok func(h half) bool) (list []half) {
	for _, s := range sharedRouters {
		for _, h := range []half{{s, s.service + "/ipv4", false, fmt.Sprintf("10.0.5.%d", s.vrid)}, {s, s.service + "/ipv6", true, fmt.Sprintf("fd05::%d", s.vrid)}} {
			if ok(h) {
				list = append(list, h)
			}
		}
	}
	return list
}

func every(half) bool    { return true }
func ours(h half) bool   { return h.ours }
func theirs(h half) bool { return !h.ours }
func (h half) best() string {
	if h.ours {
		return "s1"
	}
	return h.peer
}

func upMixed(t *testing.T) mixed {
	t.Helper()
	labtest.Need(t, "keepalived", "nft")
	s := mixed{rig: up(t, "vrrp-peers.clab.yml", options{}), nodes: map[string]string{}}
	for _, node := range []string{"s1", "s2", "ka", "fr"} {
		for _, mac := range strings.Fields(s.sh(node, "ip -oneline link show | sed -n 's,.*link/ether \\([^ ]*\\).*,\\1,p'")) {
			s.nodes[mac] = node
		}
	}
	s.wire = s.sights("client")
	s.cache = follow(s.rig, decodeNeighbors, "client", "ip", "-tshort", "-oneline", "monitor", "neigh")
	begin := time.Now()
	s.ruled(begin, 20*time.Second)
	s.known()
	return s
}

// sights begins to look at the segment from a node.
func (r *rig) sights(node string) *instrument[sighting] {
	r.t.Helper()
	i := follow(r, decodeLines[sighting], node, roleArgv(r.t, sightName, "eth1")...)
	i.wait(patience, "that it looks", func(x sighting) bool { return x.MAC == "" })
	return i
}

// known has the client ask for every address, so that its cache holds them all.
func (s mixed) known() {
	s.t.Helper()
	line := ""
	for _, h := range halves(every) {
		line += "echo > /dev/udp/" + h.vip + "/9; "
	}
	s.sh("client", "bash -c '"+line+"' 2>/dev/null; true")
	for _, h := range halves(every) {
		s.cache.wait(patience, h.vip+" in the cache of the client", func(n neighbor) bool { return n.Addr == h.vip && s.nodes[n.MAC] == h.best() })
	}
}

// advertisements are those of a router since then, of the best one or of the others.
func (s mixed) advertisements(h half, best bool, since time.Time) []sighting {
	return s.wire.all(func(x sighting) bool {
		return x.VRID == h.vrid && x.Six == h.six && x.Priority > 0 && x.At.After(since) && (s.nodes[x.MAC] == h.best()) == best
	})
}

// claims are what a node said in ARP or neighbour discovery about an address since then.
func (s mixed) claims(node, addr string, since time.Time) []sighting {
	return s.wire.all(func(x sighting) bool { return x.Addr == addr && s.nodes[x.MAC] == node && x.At.After(since) })
}

// ruled waits until the best router of each is Active, and nobody else: it says so, and
// no other has for two seconds. The last word of another one may come no later than
// limit after since.
func (s mixed) ruled(since time.Time, limit time.Duration) {
	s.t.Helper()
	const silence = 2 * time.Second
	for _, h := range halves(every) {
		last := since
		eventually(s.t, limit+2*silence, func() error {
			now := time.Now()
			last = since
			if others := s.advertisements(h, false, since); len(others) > 0 {
				last = others[len(others)-1].At
			}
			if len(s.advertisements(h, true, now.Add(-1500*time.Millisecond))) == 0 || now.Sub(last) < silence {
				return fmt.Errorf("%s: %s is not Active alone; another one was %s ago", h.name, h.best(), now.Sub(last))
			}
			return nil
		})
		if d := last.Sub(since); d > limit {
			s.t.Errorf("%s: another router was Active for %s", h.name, ms(d))
		}
	}
}

// mended checks that the client has the right MAC for each address at the latest limit
// after healing, and keeps it.
func (s mixed) mended(healed time.Time, limit time.Duration, list []half) {
	s.t.Helper()
	const watched = 5 * time.Second
	<-time.After(time.Until(healed.Add(watched)))
	for _, h := range list {
		node, right := "", time.Time{}
		for _, n := range s.cache.all(func(n neighbor) bool { return n.Addr == h.vip && n.MAC != "" }) {
			if is := s.nodes[n.MAC]; is != node {
				node, right = is, n.At
			}
		}
		switch d := right.Sub(healed); {
		case node != h.best():
			s.t.Errorf("%s: after %s the client has the MAC of %s, not of %s", h.name, watched, node, h.best())
		case d > limit:
			s.t.Errorf("%s: the client had the MAC of another one for %s", h.name, ms(d))
		case d > 0:
			s.t.Logf("%s: the client has the right MAC %s after healing", h.name, ms(d))
		}
	}
}

// told waits until s1 has said that somebody is at odds with its router h, in one of the
// words, within 2 s of when that could be heard first.
func (s mixed) told(h half, heard time.Time, words ...string) {
	s.t.Helper()
	s.says(h, heard, func(l routerLine) bool {
		return l.To == "at odds" && slices.ContainsFunc(words, func(w string) bool { return strings.HasPrefix(l.Reason, w+":") })
	})
}

// yielded waits until s1 has said that it yields to each better router, within 2 s of when
// that one could be heard.
func (s mixed) yielded(since time.Time) {
	s.t.Helper()
	for _, h := range halves(theirs) {
		s.says(h, s.firstAdvertisement(h, h.peer, since), func(l routerLine) bool {
			return l.From == "Active" && l.To == "Backup" && strings.HasPrefix(l.Reason, "higher_priority by ")
		})
	}
}

// says waits until s1 has said something about its router h, at the latest 2 s after it
// could be heard.
func (s mixed) says(h half, heard time.Time, match func(l routerLine) bool) {
	s.t.Helper()
	const limit = 2 * time.Second
	eventually(s.t, patience, func() error {
		for _, l := range s.routerLines("s1") {
			if l.Router != h.name || l.Time.Before(heard) || !match(l) {
				continue
			}
			if d := l.Time.Sub(heard); d > limit {
				s.t.Fatalf("%s: %q was told after %s", h.name, l.Reason, ms(d))
			}
			return nil
		}
		return fmt.Errorf("%s: nothing is told", h.name)
	})
}

// first waits for the first sighting that match likes.
func (s mixed) first(what string, match func(x sighting) bool) time.Time {
	s.t.Helper()
	return s.wire.wait(patience, what, match).At
}

// routerLine is a line of an agent's log about a virtual router.
type routerLine struct {
	Time           time.Time
	Msg, From, To  string
	Router, Reason string
}

func (r *rig) routerLines(node string) (list []routerLine) {
	r.t.Helper()
	for line := range strings.Lines(r.Logs(node)) {
		var l routerLine
		if i := strings.IndexByte(line, '{'); i >= 0 && json.Unmarshal([]byte(line[i:]), &l) == nil && l.Msg == "router changed" {
			list = append(list, l)
		}
	}
	return list
}

// odds are the lines about somebody at odds with a virtual router.
func (r *rig) odds(node string) []routerLine {
	r.t.Helper()
	return slices.DeleteFunc(r.routerLines(node), func(l routerLine) bool { return l.To != "at odds" })
}

// sightName is this binary as what looks at a segment.
const sightName = "integration-segment"

// sighting is an advertisement, or somebody who says that he has an address.
type sighting struct {
	At       time.Time
	MAC      string // none: it has begun to look
	VRID     int    // of an advertisement
	Priority int
	Six      bool
	Addr     string // of a claim
}

// seeSegment writes a line for each sighting on a link.
func seeSegment(args []string) error {
	ifi, err := net.InterfaceByName(args[0])
	if err != nil {
		return err
	}
	conn, err := wire.Open()
	if err != nil {
		return err
	}
	if faults := conn.Listen([]vrrp.Link{{Name: args[0], Index: ifi.Index}}); len(faults) > 0 {
		return faults[args[0]]
	}
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(sighting{At: time.Now()}); err != nil {
		return err
	}
	var ad vrrp.Advertisement
	for {
		list, _, err := conn.Wait(time.Time{})
		if err != nil {
			return err
		}
		for _, a := range list {
			x := sighting{At: a.At, MAC: net.HardwareAddr(a.MAC[:]).String()}
			if a.Claim.IsValid() {
				x.Addr, x.Six = a.Claim.String(), a.Claim.Is6()
			} else if ad.Parse(a.Packet, a.Src, a.Dst) == vrrp.Accepted {
				x.VRID, x.Priority, x.Six = int(ad.VRID), int(ad.Priority), a.Src.Is6()
			}
			if err := out.Encode(x); err != nil {
				return err
			}
		}
	}
}

// decodeLines reads one value after the other.
func decodeLines[E any](r io.Reader) iter.Seq2[E, error] {
	return func(yield func(E, error) bool) {
		for lines := json.NewDecoder(r); ; {
			var e E
			err := lines.Decode(&e)
			if errors.Is(err, io.EOF) || !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// neighbor is a line of `ip monitor neigh`: what a host has in its cache now.
type neighbor struct {
	At        time.Time
	Addr, MAC string // no MAC: it asks, or the entry is gone
}

// decodeNeighbors reads lines like
//
//	[2026-11-22T18:52:07.318009] 10.0.5.51 dev eth1 lladdr 02:00:00:00:00:01 REACHABLE
func decodeNeighbors(r io.Reader) iter.Seq2[neighbor, error] {
	return func(yield func(neighbor, error) bool) {
		for lines := bufio.NewScanner(r); lines.Scan(); {
			stamp, rest, _ := strings.Cut(strings.TrimPrefix(lines.Text(), "["), "] ")
			at, err := time.ParseInLocation("2006-01-02T15:04:05.999999", stamp, time.Local)
			fields := strings.Fields(rest)
			if err != nil || len(fields) == 0 {
				yield(neighbor{}, fmt.Errorf("ip monitor: %q: %w", lines.Text(), err))
				return
			}
			n := neighbor{At: at, Addr: fields[0]}
			if i := slices.Index(fields, "lladdr"); i >= 0 && i+1 < len(fields) {
				n.MAC = fields[i+1]
			}
			if !yield(n, nil) {
				return
			}
		}
	}
}
