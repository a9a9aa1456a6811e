package lease

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/anyvip/anyvip/pkg/vip"
)

const (
	howToPermit = "CAP_NET_ADMIN is missing; run anyvip as root, or put AmbientCapabilities=CAP_NET_ADMIN into its systemd unit"
	stuck       = "the agent is stuck; the address is added once it runs again"
	notYet      = "it is being written down as ours, and added then"
)

// explain turns an error of the kernel into a state and what an operator can do.
func explain(v verb, l Lease, err error) trouble {
	detail := fmt.Sprintf("%s %s on %s: %v", v, l.Addr, l.Link, err)
	switch {
	case errors.Is(err, unix.EPERM):
		return trouble{vip.AddressRefused, detail + "; " + howToPermit}
	case errors.Is(err, unix.EACCES) && l.Addr.Is6():
		// With slashes: sysctl takes them too, and a VLAN's name has a dot.
		return trouble{vip.AddressRefused, fmt.Sprintf("%s; IPv6 is disabled there, run: sysctl -w net/ipv6/conf/%s/disable_ipv6=0", detail, l.Link)}
	case errors.Is(err, unix.ENODEV):
		return trouble{vip.AddressAbsent, fmt.Sprintf("%s; the link with index %d is gone, a new one of that name is taken once it is seen", detail, l.Index)}
	case errors.Is(err, unix.EINVAL) && l.Addr.Is6():
		return trouble{vip.AddressAbsent, detail + "; the link has no IPv6, which needs an MTU of 1280 at least"}
	}
	return trouble{vip.AddressAbsent, detail}
}

// explainDisk is why an address is not added whose place in the ledger is not sure.
func explainDisk(err error) string {
	return fmt.Sprintf("an address is added only once it is written down as ours: %v; make the state directory work, it is tried every second", err)
}
