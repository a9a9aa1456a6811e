package neighbor

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"

	"github.com/mdlayher/ndp"
	"golang.org/x/net/ipv6"

	"github.com/anyvip/anyvip/pkg/vip"
)

// sendLimit bounds how long a link whose queue is stuck can hold up the others.
const sendLimit = 100 * time.Millisecond

var (
	allNodes   = netip.MustParseAddr("ff02::1")
	allRouters = netip.MustParseAddr("ff02::2")
)

// socket is a raw ICMPv6 socket on one link.
type socket struct {
	link   string
	mac    net.HardwareAddr
	conn   *ndp.Conn
	buffer []byte
}

// openSocket listens on a link, and returns our own address there. Its errors
// are written for the operator.
func openSocket(l vip.Link) (conn, netip.Addr, error) {
	ifi, err := net.InterfaceByIndex(l.Index)
	if err != nil {
		return nil, netip.Addr{}, fmt.Errorf("look for link %s: %w", l.Name, err)
	}
	// Packages net and x/net remember for a minute which index a name had, so the
	// name of a link that was made anew would lead to the one that is gone.
	ifi.Name = strconv.Itoa(ifi.Index)
	c, address, err := ndp.Listen(ifi, ndp.LinkLocal)
	if err != nil {
		return nil, netip.Addr{}, explain(l.Name, err)
	}
	if err := prepare(c); err != nil {
		return nil, netip.Addr{}, errors.Join(fmt.Errorf("prepare the ICMPv6 socket on %s: %w", l.Name, err), c.Close())
	}
	return &socket{link: l.Name, mac: ifi.HardwareAddr, conn: c, buffer: make([]byte, ifi.MTU)}, address.WithZone(l.Name), nil
}

func prepare(c *ndp.Conn) error {
	var filter ipv6.ICMPFilter
	filter.SetAll(true)
	filter.Accept(ipv6.ICMPTypeRouterSolicitation)
	filter.Accept(ipv6.ICMPTypeRouterAdvertisement)
	if err := c.SetICMPFilter(&filter); err != nil {
		return err
	}
	if err := c.SetControlMessage(ipv6.FlagHopLimit, true); err != nil {
		return err
	}
	return c.JoinGroup(allRouters)
}

// errTentative is that our own address is not usable yet, which ends by itself.
var errTentative = errors.New("cannot be used yet: it is tentative for a second or two after the link came up")

// explain says why there is no socket, and what to do.
func explain(link string, err error) error {
	var errno syscall.Errno
	switch {
	case errors.Is(err, syscall.EPERM):
		return fmt.Errorf("open an ICMPv6 socket on %s: %w: give the agent the capability CAP_NET_RAW", link, err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("the link-local address of %s %w; if that lasts, look for \"dadfailed\" in `ip -6 addr show dev %s`", link, errTentative, link)
	case !errors.As(err, &errno):
		return fmt.Errorf("%s has no IPv6 link-local address: enable IPv6 there (sysctl net.ipv6.conf.%s.disable_ipv6=0, and addr_gen_mode not 1)", link, link)
	}
	return fmt.Errorf("open an ICMPv6 socket on %s: %w", link, err)
}

func (s *socket) receive() (packet, error) {
	n, cm, from, err := s.conn.ReadRaw(s.buffer)
	if err != nil {
		return packet{}, err
	}
	p := packet{from: from.WithZone(s.link), data: s.buffer[:n]}
	if cm != nil {
		p.hopLimit = cm.HopLimit
	}
	return p, nil
}

func (s *socket) send(k kind) error {
	to := allNodes
	if k == solicitation {
		to = allRouters
	}
	if err := s.conn.SetWriteDeadline(time.Now().Add(sendLimit)); err != nil {
		return err
	}
	err := s.conn.WriteTo(compose(k, s.mac), nil, to)
	if errors.Is(err, syscall.EPERM) {
		return errors.New("a firewall of this host forbids it: let ICMPv6 types 133 and 134 in and out there")
	}
	return err
}

func (s *socket) close() error { return s.conn.Close() }
