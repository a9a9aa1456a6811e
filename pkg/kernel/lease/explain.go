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

// explainLink is what an error of the kernel about a macvlan means, and what an
// operator can do.
func explainLink(a linkAct, p *perch, err error) string {
	detail := fmt.Sprintf("%s the macvlan %s over %s: %v", a, p.name(), p.link, err)
	switch {
	case errors.Is(err, unix.EPERM):
		return detail + "; " + howToPermit
	case errors.Is(err, unix.EROFS), errors.Is(err, unix.EACCES):
		return detail + "; the agent must be able to write there for links of its own: no ProtectKernelTunables in its systemd unit, no read-only /proc/sys in its container"
	case errors.Is(err, unix.EOPNOTSUPP):
		return detail + "; this kernel has no macvlan: load the module, or leave virtual_mac out"
	case errors.Is(err, unix.EBUSY):
		return detail + "; that link is part of a bridge or a bond, or has an ipvlan: use the bridge or the bond, or leave virtual_mac out"
	case errors.Is(err, unix.EADDRINUSE):
		return detail + "; another macvlan there is up with the MAC of this VRID: end the other VRRP daemon, or use another VRID"
	case errors.Is(err, unix.ENODEV):
		return detail + "; the link is gone, a new one of that name is taken once it is seen"
	}
	return detail
}
