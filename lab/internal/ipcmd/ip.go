// Package ipcmd is the small part of iproute2's `ip` that topology files use, for
// machines that have none. It changes the network namespace of its caller.
package ipcmd

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Usage lists what Run understands.
const Usage = `ip [-4|-6] address add PREFIX dev IF [nodad] [scope host|link|global] [preferred_lft 0]
ip [-4|-6] address del PREFIX dev IF
ip link set [dev] IF [up|down] [mtu N] [master BRIDGE]
ip link add [name] IF type bridge
ip [-4|-6] route add|replace PREFIX|default [via ADDRESS] [dev IF]`

// Run executes one command line; argv[0] is "ip".
func Run(argv []string) error {
	words := argv[1:]
	for len(words) > 0 && slices.Contains([]string{"-4", "-6"}, words[0]) {
		words = words[1:]
	}
	err := errUnknown
	if len(words) >= 3 {
		args := &arguments{words: words[2:]}
		switch object, verb := words[0], words[1]; {
		case isPrefix(object, "address") && isPrefix(verb, "add"):
			err = addressAdd(args)
		case isPrefix(object, "address") && isPrefix(verb, "delete"):
			err = addressDel(args)
		case isPrefix(object, "link") && isPrefix(verb, "set"):
			err = linkSet(args)
		case isPrefix(object, "link") && isPrefix(verb, "add"):
			err = linkAdd(args)
		case isPrefix(object, "route") && isPrefix(verb, "add"):
			err = route(args, netlink.RouteAdd)
		case isPrefix(object, "route") && isPrefix(verb, "replace"):
			err = route(args, netlink.RouteReplace)
		}
	}
	if errors.Is(err, errUnknown) {
		return fmt.Errorf("the built-in ip knows only the following; install iproute2 for more:\n%s", Usage)
	}
	return err
}

var errUnknown = errors.New("unknown words")

// isPrefix tells whether word abbreviates full, as iproute2 allows.
func isPrefix(word, full string) bool { return word != "" && strings.HasPrefix(full, word) }

// arguments is read word by word; a missing one is empty.
type arguments struct{ words []string }

func (a *arguments) next() string {
	if len(a.words) == 0 {
		return ""
	}
	w := a.words[0]
	a.words = a.words[1:]
	return w
}

func (a *arguments) more() bool { return len(a.words) > 0 }

func addressAdd(args *arguments) error {
	addr, link, err := address(args)
	if err != nil {
		return err
	}
	return netlink.AddrAdd(link, addr)
}

func addressDel(args *arguments) error {
	addr, link, err := address(args)
	if err != nil {
		return err
	}
	return netlink.AddrDel(link, addr)
}

func address(args *arguments) (*netlink.Addr, netlink.Link, error) {
	ipnet, err := parseNet(args.next())
	if err != nil {
		return nil, nil, err
	}
	addr := &netlink.Addr{IPNet: ipnet}
	var link netlink.Link
	for args.more() {
		switch args.next() {
		case "dev":
			if link, err = find(args.next()); err != nil {
				return nil, nil, err
			}
		case "nodad":
			addr.Flags |= unix.IFA_F_NODAD
		case "scope":
			scope, ok := map[string]int{"global": unix.RT_SCOPE_UNIVERSE, "link": unix.RT_SCOPE_LINK, "host": unix.RT_SCOPE_HOST}[args.next()]
			if !ok {
				return nil, nil, errUnknown
			}
			addr.Scope = scope
		case "preferred_lft":
			if args.next() != "0" {
				return nil, nil, errUnknown
			}
			addr.PreferedLft, addr.ValidLft = 0, int(^uint32(0))
		default:
			return nil, nil, errUnknown
		}
	}
	if link == nil {
		return nil, nil, errUnknown
	}
	return addr, link, nil
}

func linkSet(args *arguments) error {
	name := args.next()
	if name == "dev" {
		name = args.next()
	}
	link, err := find(name)
	if err != nil {
		return err
	}
	for args.more() {
		switch args.next() {
		case "up":
			err = netlink.LinkSetUp(link)
		case "down":
			err = netlink.LinkSetDown(link)
		case "mtu":
			mtu, convErr := strconv.Atoi(args.next())
			if convErr != nil {
				return fmt.Errorf("mtu: %w", convErr)
			}
			err = netlink.LinkSetMTU(link, mtu)
		case "master":
			var master netlink.Link
			if master, err = find(args.next()); err == nil {
				err = netlink.LinkSetMaster(link, master)
			}
		default:
			err = errUnknown
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func linkAdd(args *arguments) error {
	name := args.next()
	if name == "name" {
		name = args.next()
	}
	if args.next() != "type" || args.next() != "bridge" || args.more() {
		return errUnknown
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	return netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs})
}

func route(args *arguments, do func(*netlink.Route) error) error {
	r := &netlink.Route{}
	to := args.next()
	if to != "default" {
		dst, err := parseNet(to)
		if err != nil {
			return err
		}
		r.Dst = dst
	}
	for args.more() {
		switch args.next() {
		case "via":
			addr, err := netip.ParseAddr(args.next())
			if err != nil {
				return err
			}
			r.Gw = addr.AsSlice()
		case "dev":
			link, err := find(args.next())
			if err != nil {
				return err
			}
			r.LinkIndex = link.Attrs().Index
		default:
			return errUnknown
		}
	}
	if r.Gw == nil && r.LinkIndex == 0 {
		return errUnknown
	}
	return do(r)
}

// parseNet reads a prefix or a bare address, which stands for its host prefix.
func parseNet(s string) (*net.IPNet, error) {
	if !strings.Contains(s, "/") {
		addr, err := netip.ParseAddr(s)
		if err != nil {
			return nil, err
		}
		return ipNet(netip.PrefixFrom(addr, addr.BitLen())), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return nil, err
	}
	return ipNet(p), nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func find(name string) (netlink.Link, error) {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("interface %q: %w", name, err)
	}
	return link, nil
}
