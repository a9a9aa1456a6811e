package bench

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/anyvip/anyvip/lab"
)

// keeper is a VRRP daemon: it keeps VIPs on one of two servers.
type keeper struct {
	name string
	// files writes what a server needs; its node sees dir as /etc/bench.
	files func(dir string, e election, priority int) error
	// node adds what runs the daemon, with its configuration in dir.
	node func(n *lab.Node, dir string)
}

// election is what two servers are configured with: virtual routers with the VRIDs from 1 on, each with so many VIPs.
type election struct {
	routers, vips int
	interval      time.Duration
}

// keptRange holds the VIPs, in the servers' network.
const keptRange = "10.78.128.0/17"

// mostAdvertised is how many VIPs of a router are in its advertisements, which count to 255; the others ride.
const mostAdvertised = 250

// all are the VIPs.
func (e election) all() int { return e.routers * e.vips }

// addresses are the VIPs of a virtual router.
func (e election) addresses(vrid int) (advertised, rides []netip.Addr) {
	next := netip.MustParsePrefix(keptRange).Addr()
	for range (vrid - 1) * e.vips {
		next = next.Next()
	}
	for i := range e.vips {
		next = next.Next()
		if i < mostAdvertised {
			advertised = append(advertised, next)
		} else {
			rides = append(rides, next)
		}
	}
	return advertised, rides
}

// cells describe an election in a table.
func (e election) cells() []string {
	return []string{count(e.routers), count(e.all()), e.interval.String()}
}

// The keepers that are compared. keepalived gets real-time priority only if its configuration asks for it; anyvip takes
// it where it may, which it may not without the capability.
var (
	anyvipKeeper  = keeper{name: "anyvip", files: anyvipRouters, node: anyvipNode}
	anyvipPlain   = keeper{name: "anyvip, no real-time priority", files: anyvipRouters, node: anyvipPlainNode}
	keepalived    = keeper{name: "keepalived", files: keepalivedFiles(""), node: keepalivedNode}
	keepalivedRTP = keeper{name: "keepalived, vrrp_rt_priority 50", files: keepalivedFiles("global_defs {\n vrrp_rt_priority 50\n}\n"), node: keepalivedNode}
)

const anyvipRouter = `  - name: vip%[1]d
    mode: vrrp
    require: none
    recovery_delay: 0s
    addresses: [%[2]s]
    vrrp: {interface: eth1, vrid: %[1]d, priority: %[3]d, advertisement_interval: %[4]s, unadvertised: [%[5]s]}
`

func anyvipRouters(dir string, e election, priority int) error {
	var b strings.Builder
	b.WriteString("version: 1\nservices:\n")
	for vrid := 1; vrid <= e.routers; vrid++ {
		advertised, rides := e.addresses(vrid)
		fmt.Fprintf(&b, anyvipRouter, vrid, list(append(advertised, rides...), ", "), priority, e.interval, list(rides, ", "))
	}
	return fill(filepath.Join(dir, "anyvip.yaml"), b.String())
}

func anyvipPlainNode(n *lab.Node, dir string) {
	anyvipNode(n, dir)
	n.Cmd = words("setpriv --bounding-set -sys_nice anyvip run -c /etc/anyvip/anyvip.yaml")
}

const keepalivedRouter = `vrrp_instance vip%[1]d {
 state BACKUP
 interface eth1
 virtual_router_id %[1]d
 priority %[2]d
 version 3
 advert_int %[3]s
 virtual_ipaddress {
 %[4]s
 }
 virtual_ipaddress_excluded {
 %[5]s
 }
}
`

func keepalivedFiles(global string) func(string, election, int) error {
	return func(dir string, e election, priority int) error {
		var b strings.Builder
		b.WriteString(global)
		for vrid := 1; vrid <= e.routers; vrid++ {
			advertised, rides := e.addresses(vrid)
			fmt.Fprintf(&b, keepalivedRouter, vrid, priority, strconv.FormatFloat(e.interval.Seconds(), 'f', -1, 64), list(advertised, "\n "), list(rides, "\n "))
		}
		return fill(filepath.Join(dir, "keepalived.conf"), b.String())
	}
}

// keepalivedNode runs it as kindly as it can be: nothing goes to syslog, and there is no line for each announcement.
func keepalivedNode(n *lab.Node, dir string) {
	n.Image = "keepalived"
	n.Cmd = words("keepalived -n -l -G -f /etc/keepalived/keepalived.conf")
	n.Binds = append(n.Binds, configuration(dir, "keepalived.conf", "/etc/keepalived/keepalived.conf"))
}

func list(addrs []netip.Addr, between string) string {
	texts := make([]string, len(addrs))
	for i, a := range addrs {
		texts[i] = a.String()
	}
	return strings.Join(texts, between)
}
