package kernel

import (
	"errors"
	"fmt"
	"math"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/anyvip/anyvip/pkg/vip"
)

const howToPermit = "CAP_NET_ADMIN is missing; run anyvip as root, or put AmbientCapabilities=CAP_NET_ADMIN into its systemd unit"

// Check says whether this process may change addresses, for use before
// anything is started. Capabilities can be there and not count, as in a
// container that shares the host's network, so it asks the kernel: it removes an
// address from a link that cannot exist.
func Check() error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open netlink socket: %w", err)
	}
	defer h.Close()
	err = h.AddrDel(nil, hostAddress(netip.AddrFrom4([4]byte{127, 0, 0, 1}), link{index: math.MaxInt32}))
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("change addresses of this host: %w: %s", err, howToPermit)
	}
	return nil
}

// explain turns an error of the kernel into a state and what an operator can do.
func explain(v verb, c change, err error) (vip.AddressState, string) {
	detail := fmt.Sprintf("%s %s on %s: %v", v, c.ip, c.link.name, err)
	switch {
	case errors.Is(err, unix.EPERM):
		return vip.AddressRefused, detail + "; " + howToPermit
	case errors.Is(err, unix.EACCES) && c.ip.Is6():
		return vip.AddressRefused, fmt.Sprintf("%s; IPv6 is disabled there, run: sysctl -w net.ipv6.conf.%s.disable_ipv6=0", detail, c.link.name)
	}
	return vip.AddressAbsent, detail
}

// explainRoute is why a step failed, and what an operator can do.
func explainRoute(s routeStep, hops []netip.Addr, err error) string {
	detail := fmt.Sprintf("%s default route by way of %v: %v", s.verb, hops, err)
	switch {
	case errors.Is(err, errStuckRoute):
		return err.Error()
	case errors.Is(err, unix.EPERM):
		return detail + "; " + howToPermit
	case errors.Is(err, unix.EEXIST):
		return fmt.Sprintf("somebody else's default route has metric %d as well and is left alone; give that another metric, or remove it", s.route.metric)
	case errors.Is(err, unix.ESRCH) && s.route.family == vip.IPv6:
		return detail + "; somebody else added these to ours, remove them by hand"
	}
	return detail
}

// explainHop is why the kernel refuses a next hop, and what an operator can do.
func explainHop(l link, err error) string {
	if errors.Is(err, unix.EACCES) {
		return fmt.Sprintf("%v; IPv6 is disabled there, run: sysctl -w net.ipv6.conf.%s.disable_ipv6=0", err, l.name)
	}
	return err.Error()
}
