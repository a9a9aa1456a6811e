package lease

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/anyvip/anyvip/pkg/durable"
)

const dumpTries = 3

// rtnetlink is the host as the kernel shows it. Run's goroutine owns it.
type rtnetlink struct {
	*socket
	handle *netlink.Handle
	life   durable.Life
}

func openKernel() (*rtnetlink, error) {
	l, err := durable.ThisLife()
	if err != nil {
		return nil, err
	}
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	if err := h.SetSocketTimeout(answerTimeout); err != nil {
		h.Close()
		return nil, fmt.Errorf("set netlink timeout: %w", err)
	}
	s, err := openSocket()
	if err != nil {
		h.Close()
		return nil, err
	}
	return &rtnetlink{s, h, l}, nil
}

func (k *rtnetlink) close() {
	k.handle.Close()
	k.socket.close()
}

// look lists the addresses of this host. When they change meanwhile it tries again, and
// in the end what any of the tries saw counts.
func (k *rtnetlink) look() (seen []place, complete bool, err error) {
	for range dumpTries {
		list, err := k.handle.AddrList(nil, netlink.FAMILY_ALL)
		if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
			return nil, false, fmt.Errorf("list addresses: %w", err)
		}
		if err == nil {
			return appendPlaces(nil, list), true, nil
		}
		seen = appendPlaces(seen, list)
	}
	return seen, false, nil
}

func appendPlaces(out []place, list []netlink.Addr) []place {
	for _, a := range list {
		ip, ok := netip.AddrFromSlice(a.IP)
		if !ok {
			continue
		}
		bits, _ := a.Mask.Size()
		out = append(out, place{
			spot:      spot{ip, a.LinkIndex},
			bits:      bits,
			permanent: a.Flags&unix.IFA_F_PERMANENT != 0,
			seconds:   uint32(min(max(a.ValidLft, 0), 1<<32-1)),
			tentative: a.Flags&unix.IFA_F_TENTATIVE != 0,
			duplicate: a.Flags&unix.IFA_F_DADFAILED != 0,
		})
	}
	return out
}

func (k *rtnetlink) linkName(index int) string {
	if l, err := k.handle.LinkByIndex(index); err == nil {
		return l.Attrs().Name
	}
	return "link " + strconv.Itoa(index) // gone meanwhile
}
