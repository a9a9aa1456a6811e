package integration

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// seen is what a router shows of a path, in words that do not depend on its make.
type seen struct {
	NextHop, ASPath, Origin, MED, LocalPref, Communities, Large string
}

func TestRoutersShowEveryAttribute(t *testing.T) {
	t.Parallel()
	r := up(t, "attributes.clab.yml", options{})
	frr := func(node string) func(netip.Prefix) []seen {
		return func(p netip.Prefix) (paths []seen) {
			for _, x := range r.frr(node, p) {
				paths = append(paths, seen{x.NextHops[0].IP, x.ASPath.String, x.Origin, x.MED.String(), x.LocalPref.String(), x.Community.String, x.Large.String})
			}
			return paths
		}
	}
	bird := func(node string) func(netip.Prefix) []seen {
		return func(p netip.Prefix) (paths []seen) {
			for _, x := range r.bird(node, p) {
				paths = append(paths, seen{x["via"], x["BGP.as_path"], x["BGP.origin"], x["BGP.med"], x["BGP.local_pref"],
					x["BGP.community"], x["BGP.large_community"]})
			}
			return paths
		}
	}
	const (
		frrCommunities, frrLarge   = "65000:100 65000:200", "65000:1:2 4200000000:3:4"
		birdCommunities, birdLarge = "(65000,100) (65000,200)", "(65000, 1, 2) (4200000000, 3, 4)"
		prepended                  = "65101 65101"
	)
	tests := []struct {
		name   string
		paths  func(netip.Prefix) []seen
		prefix netip.Prefix
		want   seen
	}{
		{"eBGP to FRR", frr("tor-a"), vip4, seen{"10.1.1.2", prepended, "IGP", "30", "", frrCommunities, frrLarge}},
		{"eBGP to FRR, IPv6 over the IPv4 session by the link's address", frr("tor-a"), vip6,
			seen{"fd00:1:1::2", prepended, "IGP", "30", "", frrCommunities, frrLarge}},
		{"eBGP to BIRD", bird("tor-b"), vip4, seen{"10.2.1.2", prepended, "IGP", "30", "100", birdCommunities, birdLarge}},
		{"eBGP to BIRD, IPv6 over the IPv4 session with next_hop6", bird("tor-b"), vip6,
			seen{"fd00:2:1::22", prepended, "IGP", "30", "100", birdCommunities, birdLarge}},
		{"eBGP to FRR over IPv6", frr("tor-c"), vip6, seen{"fd00:3:1::2", prepended, "IGP", "30", "", frrCommunities, frrLarge}},
		{"iBGP to BIRD with local_pref and no prepend", bird("reflector"), vip4,
			seen{"10.4.1.2", "", "IGP", "30", "250", birdCommunities, birdLarge}},
		{"iBGP to BIRD, IPv6", bird("reflector"), vip6, seen{"fd00:4:1::2", "", "IGP", "30", "250", birdCommunities, birdLarge}},
	}
	r.statusShows("s1", "four sessions", agentStatus.established)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			eventually(t, patience, func() error {
				if diff := cmp.Diff([]seen{test.want}, test.paths(test.prefix)); diff != "" {
					return fmt.Errorf("(-want +got)\n%s", diff)
				}
				return nil
			})
		})
	}

	// IPv4 over an IPv6 session needs RFC 8950, which this FRR was not asked to
	// negotiate: nothing is sent, and the status says so.
	if paths := r.frr("tor-c", vip4); len(paths) != 0 {
		t.Errorf("FRR has %s over IPv6: %s", vip4, asJSON(paths))
	}
	if s := r.mustStatus("s1"); !s.codes()["FAMILY_MISSING"] {
		t.Errorf("the status does not say that tor-c lacks a family: %s", asJSON(s.Services))
	}
}
