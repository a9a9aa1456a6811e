package bench

import (
	"fmt"
	"strings"

	"github.com/anyvip/anyvip/lab"
)

// router is what a ToR runs.
type router struct {
	name   string
	config func(servers []server) string
	node   func(n *lab.Node, config string) // config: the file on the host
}

var tors = []router{torBIRD, torFRR}

const torBIRDConfig = `log stderr { warning, error, fatal, bug };
router id 10.0.0.1;
protocol device {}
protocol kernel { merge paths limit 8; ipv4 { import none; export all; }; }
`

var torBIRD = router{
	name: "BIRD",
	config: func(servers []server) string {
		var b strings.Builder
		b.WriteString(torBIRDConfig)
		for _, s := range servers {
			fmt.Fprintf(&b, "protocol bgp %s {\n\tlocal as %s;\n\tneighbor %s as %s;\n\thold time 9;\n\tconnect delay time 1;\n\tipv4 { import all; export none; };\n}\n",
				s.name(), torASN, s.address(), s.asn())
		}
		return b.String()
	},
	node: func(n *lab.Node, config string) {
		n.Image = "bird"
		n.Binds = append(n.Binds, lab.Bind{Source: config, Target: "/etc/bird/bird.conf", ReadOnly: true})
	},
}

const torFRRConfig = `hostname tor
no zebra nexthop kernel enable
route-map to-servers deny 10
exit
router bgp ` + torASN + `
 bgp router-id 10.0.0.1
 no bgp ebgp-requires-policy
 bgp bestpath as-path multipath-relax
 address-family ipv4 unicast
  maximum-paths 8
 exit-address-family
`

var torFRR = router{
	name: "FRR",
	config: func(servers []server) string {
		var b strings.Builder
		b.WriteString(torFRRConfig)
		for _, s := range servers {
			fmt.Fprintf(&b, " neighbor %[1]s remote-as %[2]s\n neighbor %[1]s timers connect 1\n neighbor %[1]s advertisement-interval 0\n neighbor %[1]s route-map to-servers out\n", s.address(), s.asn())
		}
		return b.String()
	},
	node: func(n *lab.Node, config string) {
		n.Image = "quay.io/frrouting/frr"
		n.Binds = append(n.Binds, lab.Bind{Source: config, Target: "/etc/frr/frr.conf", ReadOnly: true})
	},
}
