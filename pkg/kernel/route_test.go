package kernel

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/anyvip/anyvip/pkg/vip"
)

// A route is written as its metric and its next hops, each with the index of
// its link: "20 10.0.0.1@2 10.0.1.1@3", and !altered.
func parseRoute(t *testing.T, f vip.Family, text string) route {
	t.Helper()
	words := strings.Fields(text)
	metric, err := strconv.Atoi(words[0])
	if err != nil {
		t.Fatal(err)
	}
	r := route{family: f, metric: metric}
	for _, w := range words[1:] {
		if w == "!altered" {
			r.altered = true
		} else {
			r.hops = append(r.hops, parseHop(t, w))
		}
	}
	return r
}

func parseRoutes(t *testing.T, f vip.Family, text string) (out []route) {
	t.Helper()
	for line := range strings.SplitSeq(text, "\n") {
		if line != "" {
			out = append(out, parseRoute(t, f, line))
		}
	}
	return out
}

func parseHop(t *testing.T, text string) hop {
	t.Helper()
	via, link, _ := strings.Cut(text, "@")
	index, err := strconv.Atoi(link)
	if err != nil {
		t.Fatal(err)
	}
	ip, _ := netip.ParseAddr(via) // "@2" is a next hop without a gateway
	return hop{ip, index}
}

// parseWays reads wanted next hops: "10.0.0.1@2" is good, "!10.0.1.1@3" is not.
func parseWays(t *testing.T, text string) (out []way) {
	t.Helper()
	for w := range strings.FieldsSeq(text) {
		problem := ""
		if strings.HasPrefix(w, "!") {
			problem = "it is out of order"
		}
		h := parseHop(t, strings.TrimPrefix(w, "!"))
		a := h.via
		if a.IsLinkLocalUnicast() {
			a = a.WithZone(fmt.Sprintf("eth%d", h.link))
		}
		out = append(out, way{addr: a, hop: h, problem: problem})
	}
	return out
}

func (p routePlan) lines() (out []string) {
	for _, s := range p.steps {
		line := fmt.Sprintf("%s %d", s.verb, s.route.metric)
		for _, h := range s.route.hops {
			via := ""
			if h.via.IsValid() {
				via = h.via.String()
			}
			line += fmt.Sprintf(" %s@%d", via, h.link)
		}
		out = append(out, line)
	}
	return out
}

func TestRoutePlan(t *testing.T) {
	type side struct {
		ways string
		seen string // a route a line
		want []string
	}
	tests := []struct {
		name string
		four side
		six  side
	}{
		{"nothing wanted, nothing seen: nothing to do", side{}, side{}},
		{"what is wanted and nowhere is added",
			side{"10.0.0.1@2 10.0.1.1@3", "", []string{"add 20 10.0.0.1@2 10.0.1.1@3"}},
			side{"2001:db8::1@2 fe80::1@3", "", []string{"add 20 2001:db8::1@2 fe80::1@3"}}},
		{"what is right stays",
			side{"10.0.0.1@2 10.0.1.1@3", "20 10.0.0.1@2 10.0.1.1@3", nil},
			side{"2001:db8::1@2 fe80::1@3", "20 2001:db8::1@2 fe80::1@3", nil}},
		{"the order of next hops says nothing",
			side{"10.0.0.1@2 10.0.1.1@3", "20 10.0.1.1@3 10.0.0.1@2", nil},
			side{"2001:db8::1@2 fe80::1@3", "20 fe80::1@3 2001:db8::1@2", nil}},
		{"one more next hop",
			side{"10.0.0.1@2 10.0.1.1@3", "20 10.0.0.1@2", []string{"append 20 10.0.0.1@2 10.0.1.1@3", "remove 20 10.0.0.1@2"}},
			side{"2001:db8::1@2 fe80::1@3", "20 2001:db8::1@2", []string{"append 20 fe80::1@3"}}},
		{"one next hop less",
			side{"10.0.0.1@2", "20 10.0.0.1@2 10.0.1.1@3", []string{"append 20 10.0.0.1@2", "remove 20 10.0.0.1@2 10.0.1.1@3"}},
			side{"2001:db8::1@2", "20 2001:db8::1@2 fe80::1@3", []string{"remove 20 fe80::1@3"}}},
		{"other next hops: the new come before the old go",
			side{"10.0.2.1@4", "20 10.0.0.1@2 10.0.1.1@3", []string{"append 20 10.0.2.1@4", "remove 20 10.0.0.1@2 10.0.1.1@3"}},
			side{"2001:db8:2::1@4", "20 2001:db8::1@2 fe80::1@3", []string{"append 20 2001:db8:2::1@4", "remove 20 2001:db8::1@2 fe80::1@3"}}},
		{"the same router on another link is another next hop",
			side{"10.0.0.1@9", "20 10.0.0.1@2", []string{"append 20 10.0.0.1@9", "remove 20 10.0.0.1@2"}},
			side{"fe80::1@9", "20 fe80::1@2", []string{"append 20 fe80::1@9", "remove 20 fe80::1@2"}}},
		{"a next hop twice in a route is one too many",
			side{"10.0.0.1@2", "20 10.0.0.1@2 10.0.0.1@2", []string{"append 20 10.0.0.1@2", "remove 20 10.0.0.1@2 10.0.0.1@2"}},
			side{}},
		{"wanted twice under two names is one next hop",
			side{"10.0.0.1@2 10.0.0.1@2", "", []string{"add 20 10.0.0.1@2"}},
			side{"fe80::1@2 fe80::1@2", "", []string{"add 20 fe80::1@2"}}},
		{"a next hop that is out of order keeps no other out",
			side{"!10.0.0.1@2 10.0.1.1@3", "", []string{"add 20 10.0.1.1@3"}},
			side{"!2001:db8::1@2 fe80::1@3", "", []string{"add 20 fe80::1@3"}}},
		{"with no next hop in order there is no route",
			side{"!10.0.0.1@2", "20 10.0.0.1@2", []string{"remove 20 10.0.0.1@2"}},
			side{"!2001:db8::1@2", "20 2001:db8::1@2", []string{"remove 20 2001:db8::1@2"}}},
		{"what is not wanted is removed",
			side{"", "20 10.0.0.1@2 10.0.1.1@3", []string{"remove 20 10.0.0.1@2 10.0.1.1@3"}},
			side{"", "20 2001:db8::1@2 fe80::1@3", []string{"remove 20 2001:db8::1@2 fe80::1@3"}}},
		{"with another metric, as of another version: the right one first",
			side{"10.0.0.1@2", "50 10.0.0.1@2", []string{"add 20 10.0.0.1@2", "remove 50 10.0.0.1@2"}},
			side{"2001:db8::1@2", "50 2001:db8::1@2", []string{"add 20 2001:db8::1@2", "remove 50 2001:db8::1@2"}}},
		{"what a crash left half changed: the right one stays, the old one goes",
			side{"10.0.1.1@3", "20 10.0.0.1@2\n20 10.0.1.1@3", []string{"remove 20 10.0.0.1@2"}},
			side{"fe80::1@3", "20 2001:db8::1@2 fe80::1@3", []string{"remove 20 2001:db8::1@2"}}},
		{"with weights or an MTU that somebody set",
			side{"10.0.0.1@2", "20 10.0.0.1@2 !altered", []string{"append 20 10.0.0.1@2", "remove 20 10.0.0.1@2"}},
			side{"2001:db8::1@2", "20 2001:db8::1@2 !altered", []string{"replace 20 2001:db8::1@2"}}},
		{"without a gateway",
			side{"10.0.0.1@2", "20 @2", []string{"append 20 10.0.0.1@2", "remove 20 @2"}},
			side{"2001:db8::1@2", "20 @2", []string{"append 20 2001:db8::1@2", "remove 20 @2"}}},
		{"RFC 8950: IPv4 by way of IPv6 routers",
			side{"10.0.0.1@2 fe80::1@3", "20 10.0.0.1@2", []string{"append 20 10.0.0.1@2 fe80::1@3", "remove 20 10.0.0.1@2"}},
			side{}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for f, s := range map[vip.Family]side{vip.IPv4: test.four, vip.IPv6: test.six} {
				p := planRoute(f, parseWays(t, s.ways), parseRoutes(t, f, s.seen))
				if diff := cmp.Diff(s.want, p.lines()); diff != "" {
					t.Errorf("%s (-want +got):\n%s", f, diff)
				}
			}
		})
	}
}

func TestRouteFact(t *testing.T) {
	links := parseScene(t, "lo\neth2\neth3")
	tests := []struct {
		name    string
		ways    string
		seen    string
		failure string
		want    vip.DefaultRoute
	}{
		{"next hops are named as they are wanted, sorted", "fe80::1@3 2001:db8::1@2", "20 fe80::1@3 2001:db8::1@2", "",
			vip.DefaultRoute{NextHops: []netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("fe80::1%eth3")}}},
		{"a link-local one that is not wanted has its link's name", "", "20 fe80::1@3 2001:db8::1@2", "",
			vip.DefaultRoute{NextHops: []netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("fe80::1%eth3")}}},
		{"what is left out is named, after what stopped the rest", "!2001:db8::1@2 !fe80::1@3", "", "no buffer space",
			vip.DefaultRoute{Detail: "no buffer space; next hop 2001:db8::1 is left out: it is out of order; next hop fe80::1%eth3 is left out: it is out of order"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := routePlan{family: vip.IPv6, ways: parseWays(t, test.ways)}
			got := p.fact(parseRoutes(t, vip.IPv6, test.seen), links, test.failure)
			test.want.Family = vip.IPv6
			if !got.Equal(test.want) {
				t.Errorf("fact is %+v, want %+v", got, test.want)
			}
		})
	}
}
