package kernel

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/anyvip/anyvip/pkg/kernel/sysctl"
	"github.com/anyvip/anyvip/pkg/vip"
)

// Situations are written as text: links with their addresses, one per line.
//
//	lo 192.0.2.10/32=right
//	eth0 !enabled 192.0.2.1/24 2001:db8::1/64=tentative
//
// An address is ordinary (permanent, preferred, global) but for its marks.
func parseScene(t *testing.T, text string) scene {
	t.Helper()
	var s scene
	for i, line := range strings.Split(strings.TrimSpace(text), "\n") {
		words := strings.Fields(line)
		l := link{name: words[0], index: i + 1, enabled: true, up: true, arp: words[0] != "lo"}
		for _, w := range words[1:] {
			switch w {
			case "!enabled":
				l.enabled, l.up = false, false
			case "!arp":
				l.arp = false
			default:
				l.addresses = append(l.addresses, parseAddress(t, w))
			}
		}
		s = append(s, l)
	}
	return s
}

func parseAddress(t *testing.T, word string) address {
	t.Helper()
	text, marks, _ := strings.Cut(word, "=")
	p := netip.MustParsePrefix(text)
	a := address{prefix: p, subnet: p.Masked(), permanent: true}
	for m := range strings.SplitSeq(marks, ",") {
		switch m {
		case "":
		case "right":
			a.hostScope, a.deprecated = p.Addr().Is4(), p.Addr().Is6()
		case "leased":
			a.permanent = false
		case "tentative":
			a.tentative = true
		case "duplicate":
			a.tentative, a.duplicate = true, true
		default:
			t.Fatalf("unknown mark %q", m)
		}
	}
	return a
}

// lines renders a plan: facts, then actions.
func (p plan) lines() (out []string) {
	for _, f := range p.facts {
		line := fmt.Sprintf("%s %s", f.Addr, f.State)
		if f.Ours {
			line += " ours"
		}
		if f.Link != "" {
			line += " on " + f.Link
		}
		out = append(out, line)
	}
	for v, list := range map[verb][]change{add: p.add, mend: p.mend, remove: p.remove} {
		for _, c := range list {
			out = append(out, fmt.Sprintf("-> %s %s on %s", v, c.ip, c.link.name))
		}
	}
	for _, ip := range p.forget {
		out = append(out, fmt.Sprintf("-> forget %s", ip))
	}
	slices.Sort(out)
	return out
}

func TestPlan(t *testing.T) {
	good := sysctl.ARP{IgnoreAll: 1, Announce: 2}
	tests := []struct {
		name   string
		scene  string
		wanted string
		owned  string // addresses on lo
		leased string // on eth0
		arp    map[string]sysctl.ARP
		want   []string // sorted
		detail string   // part of the first fact's detail
	}{
		{name: "nothing wanted, nothing owned: nothing to do", scene: "lo 127.0.0.1/8"},
		{name: "a VIP that is nowhere is added to lo", scene: "lo 127.0.0.1/8\neth0 10.0.0.1/24", wanted: "192.0.2.10",
			want: []string{"-> add 192.0.2.10 on lo", "192.0.2.10 absent"}},
		{name: "without lo there is nowhere to add it", scene: "eth0 10.0.0.1/24", wanted: "192.0.2.10",
			want: []string{"192.0.2.10 absent"}, detail: "no link lo"},
		{name: "ours with right attributes stays", scene: "lo 192.0.2.10/32=right 2001:db8::10/128=right", wanted: "192.0.2.10 2001:db8::10", owned: "192.0.2.10 2001:db8::10",
			want: []string{"192.0.2.10 present ours on lo", "2001:db8::10 present ours on lo"}},
		{name: "ours with wrong scope or preferred lifetime is mended", scene: "lo 192.0.2.10/32 2001:db8::10/128", wanted: "192.0.2.10 2001:db8::10", owned: "192.0.2.10 2001:db8::10",
			want: []string{"-> mend 192.0.2.10 on lo", "-> mend 2001:db8::10 on lo", "192.0.2.10 present ours on lo", "2001:db8::10 present ours on lo"}},
		{name: "ours with a lifetime that runs is mended", scene: "lo 192.0.2.10/32=right,leased", wanted: "192.0.2.10", owned: "192.0.2.10",
			want: []string{"-> mend 192.0.2.10 on lo", "192.0.2.10 present ours on lo"}},
		{name: "an administrator's address on lo is used as it is", scene: "lo 192.0.2.10/32", wanted: "192.0.2.10",
			want: []string{"192.0.2.10 present on lo"}},
		{name: "an administrator's address on another link is used as it is", scene: "lo\neth0 192.0.2.10/24", wanted: "192.0.2.10",
			want: []string{"192.0.2.10 present on eth0"}},
		{name: "ours and an administrator's: ours counts", scene: "eth0 2001:db8::10/64\nlo 2001:db8::10/128=right", wanted: "2001:db8::10", owned: "2001:db8::10",
			want: []string{"2001:db8::10 present ours on lo"}},
		{name: "an address with a prefix in place of ours is somebody else's", scene: "lo 192.0.2.10/24", wanted: "192.0.2.10", owned: "192.0.2.10",
			want: []string{"-> forget 192.0.2.10", "192.0.2.10 present on lo"}},
		{name: "on a link that is down an address does not work", scene: "lo !enabled 192.0.2.10/32=right", wanted: "192.0.2.10", owned: "192.0.2.10",
			want: []string{"192.0.2.10 absent ours on lo"}, detail: "ip link set lo up"},
		{name: "ours on a link that is down, an administrator's on one that is up", scene: "lo !enabled 192.0.2.10/32=right\neth0 192.0.2.10/32", wanted: "192.0.2.10", owned: "192.0.2.10",
			want: []string{"192.0.2.10 present ours on eth0"}},
		{name: "duplicate address detection is not over", scene: "lo\neth0 2001:db8::10/64=tentative", wanted: "2001:db8::10",
			want: []string{"2001:db8::10 tentative on eth0"}, detail: "not over"},
		{name: "duplicate address detection failed", scene: "lo\neth0 2001:db8::10/64=duplicate", wanted: "2001:db8::10",
			want: []string{"2001:db8::10 tentative on eth0"}, detail: "another host"},

		{name: "a leftover that is not wanted is removed", scene: "lo 192.0.2.10/32=right", owned: "192.0.2.10",
			want: []string{"-> remove 192.0.2.10 on lo", "192.0.2.10 present ours on lo"}},
		{name: "a leftover that is gone is forgotten", scene: "lo", owned: "192.0.2.10", want: []string{"-> forget 192.0.2.10"}},
		{name: "it may come to a link that would answer for it anyway: refused", scene: "lo\neth0 10.0.0.1/24", wanted: "192.0.2.10", leased: "192.0.2.10",
			want: []string{"192.0.2.10 refused"}, detail: "has its fallback on link eth0"},
		{name: "it is there, and will go again: refused all the same", scene: "lo\neth0 10.0.0.1/24 192.0.2.10/32=leased", wanted: "192.0.2.10", leased: "192.0.2.10",
			want: []string{"192.0.2.10 refused"}, detail: "has its fallback on link eth0"},
		{name: "it may come to a link that does not: added", scene: "lo\neth0 10.0.0.1/24", wanted: "192.0.2.10", leased: "192.0.2.10", arp: map[string]sysctl.ARP{"eth0": good},
			want: []string{"-> add 192.0.2.10 on lo", "192.0.2.10 absent"}},
		{name: "leased on a link and nowhere else: added", scene: "lo\neth0 192.0.2.10/32=leased", wanted: "192.0.2.10", leased: "192.0.2.10", arp: map[string]sysctl.ARP{"eth0": good},
			want: []string{"-> add 192.0.2.10 on lo", "192.0.2.10 absent"}},
		{name: "leased on a link besides: ours stays", scene: "lo 192.0.2.10/32=right\neth0 192.0.2.10/32=leased", wanted: "192.0.2.10", owned: "192.0.2.10", leased: "192.0.2.10", arp: map[string]sysctl.ARP{"eth0": good},
			want: []string{"192.0.2.10 present ours on lo"}},
		{name: "an administrator's address in place of a leftover stays", scene: "lo\neth0 192.0.2.10/24", owned: "192.0.2.10", want: []string{"-> forget 192.0.2.10"}},

		{name: "inside a link's subnet with the kernel's defaults: refused", scene: "lo\neth0 192.0.2.1/24", wanted: "192.0.2.10",
			want: []string{"192.0.2.10 refused"}, detail: "192.0.2.0/24 of link eth0"},
		{name: "inside a link's subnet with the sysctls set: added", scene: "lo\neth0 192.0.2.1/24", wanted: "192.0.2.10", arp: map[string]sysctl.ARP{"eth0": good},
			want: []string{"-> add 192.0.2.10 on lo", "192.0.2.10 absent"}},
		{name: "one of two links is enough to refuse", scene: "lo\neth0 192.0.2.1/24\neth1 192.0.0.1/16", wanted: "192.0.2.10", arp: map[string]sysctl.ARP{"eth0": good},
			want: []string{"192.0.2.10 refused"}, detail: "192.0.0.0/16 of link eth1"},
		{name: "ours that came to be exposed is removed", scene: "lo 192.0.2.10/32=right\neth0 192.0.2.1/24", wanted: "192.0.2.10", owned: "192.0.2.10",
			want: []string{"-> remove 192.0.2.10 on lo", "192.0.2.10 refused ours on lo"}},
		{name: "an administrator's on lo that is exposed is refused and stays", scene: "lo 192.0.2.10/32\neth0 192.0.2.1/24", wanted: "192.0.2.10",
			want: []string{"192.0.2.10 refused"}},
		{name: "exposed, written down and gone: forgotten", scene: "lo\neth0 192.0.2.1/24", wanted: "192.0.2.10", owned: "192.0.2.10",
			want: []string{"-> forget 192.0.2.10", "192.0.2.10 refused"}},
		{name: "a link that has the VIP itself is right to answer", scene: "lo\neth0 192.0.2.1/24 192.0.2.10/32", wanted: "192.0.2.10",
			want: []string{"192.0.2.10 present on eth0"}},
		{name: "a link without ARP does not answer", scene: "lo\ntun0 !arp 192.0.2.1/24", wanted: "192.0.2.10",
			want: []string{"-> add 192.0.2.10 on lo", "192.0.2.10 absent"}},
		{name: "a host address makes no subnet", scene: "lo\neth0 192.0.2.10/32 192.0.2.1/32", wanted: "192.0.2.11",
			want: []string{"-> add 192.0.2.11 on lo", "192.0.2.11 absent"}},
		{name: "IPv6 inside a link's subnet is no danger", scene: "lo\neth0 2001:db8::1/64", wanted: "2001:db8::10",
			want: []string{"-> add 2001:db8::10 on lo", "2001:db8::10 absent"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := situation{home: "lo", seen: parseScene(t, test.scene), arp: test.arp, wanted: map[netip.Addr]bool{}, owned: map[netip.Addr]string{}, leased: map[netip.Addr]string{}}
			for _, w := range strings.Fields(test.leased) {
				s.leased[netip.MustParseAddr(w)] = "eth0"
			}
			for _, w := range strings.Fields(test.wanted) {
				s.wanted[netip.MustParseAddr(w)] = true
			}
			for _, w := range strings.Fields(test.owned) {
				s.owned[netip.MustParseAddr(w)] = "lo"
			}
			p := makePlan(s)
			if diff := cmp.Diff(test.want, p.lines()); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
			for _, f := range p.facts {
				if !strings.Contains(f.Detail, test.detail) {
					t.Errorf("detail %q lacks %q", f.Detail, test.detail)
				}
				if f.State != vip.AddressPresent && f.Detail == "" {
					t.Errorf("%s is %s without a detail", f.Addr, f.State)
				}
			}
		})
	}
}

func TestARPProblemNamesWhatIsWrongAndTheCommands(t *testing.T) {
	tests := []struct {
		name     string
		link     string
		settings sysctl.ARP
		want     []string // parts; none: no problem
	}{
		{"both right on the link", "eth0", sysctl.ARP{Ignore: 1, Announce: 2}, nil},
		{"both right for all", "eth0", sysctl.ARP{IgnoreAll: 1, AnnounceAll: 2}, nil},
		{"the larger counts", "eth0", sysctl.ARP{IgnoreAll: 2, Ignore: 0, AnnounceAll: 1, Announce: 2}, nil},
		{"arp_ignore missing", "eth0", sysctl.ARP{Announce: 2}, []string{"arp_ignore is 0", "run: sysctl -w net.ipv4.conf.eth0.arp_ignore=1, and"}},
		{"arp_announce 1 is not enough", "eth0", sysctl.ARP{Ignore: 1, Announce: 1},
			[]string{"arp_announce is 1 (all 0, eth0 1; must be 2)", "run: sysctl -w net.ipv4.conf.eth0.arp_announce=2, and"}},
		{"a dot in the link's name", "eth0.100", sysctl.ARP{}, []string{"net.ipv4.conf.eth0/100.arp_ignore=1 net.ipv4.conf.eth0/100.arp_announce=2"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			g := segment{link{name: test.link}, netip.MustParsePrefix("192.0.2.0/24")}
			got := g.problem(v4, test.settings)
			if (got == "") != (test.want == nil) {
				t.Errorf("problem: %q", got)
			}
			for _, w := range test.want {
				if !strings.Contains(got, w) {
					t.Errorf("%q lacks %q", got, w)
				}
			}
		})
	}
}
