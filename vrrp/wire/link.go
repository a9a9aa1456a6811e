package wire

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/anyvip/anyvip/vrrp"
)

const (
	longest = 40 + 8 + 255*16 // bytes of an advertisement, with its IPv6 header and all addresses that it can count
	room    = 4 << 20         // bytes of advertisements that may wait: some thousands

	// control is CS6, internetwork control, as keepalived and FRR mark theirs.
	control = 0xc0

	icmpv6                = 58
	neighborAdvertisement = 136
)

// link is a link with its sockets.
type link struct {
	vrrp.Link
	receiver  int // a packet socket for advertisements
	claims    int // and one for who says that it has an address
	four, six int // raw IP sockets that send; they hold the memberships, too
	frames    int // a packet socket that sends what comes from a virtual MAC
	mac       [6]byte
	id        uint16             // identification of the latest IPv4 packet of frames
	frame     []byte             // the latest of frames
	buffers   [2][perWait][]byte // of receiver, and of claims
	control   [128]byte
}

// open opens the sockets of a link. In every case close may be called.
func open(want vrrp.Link) (*link, error) {
	l := &link{Link: want, receiver: -1, claims: -1, four: -1, six: -1, frames: -1}
	for _, step := range []func() error{l.findMAC, l.openReceivers, l.openFour, l.openSix, l.openFrames} {
		if err := step(); err != nil {
			return l, explain(want.Name, err)
		}
	}
	return l, nil
}

// findMAC looks which MAC is ours: a switch may send our own frames back.
func (l *link) findMAC() error {
	ifi, err := net.InterfaceByIndex(l.Index)
	if err != nil || len(ifi.HardwareAddr) != 6 {
		return unix.ENODEV
	}
	l.mac = [6]byte(ifi.HardwareAddr)
	return nil
}

// explain says what to do about an error of opening.
func explain(name string, err error) error {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("open sockets for VRRP on %s: %w: give the agent the capability CAP_NET_RAW", name, err)
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return fmt.Errorf("there is no Ethernet link %s, or it was just made anew", name)
	}
	return fmt.Errorf("open sockets for VRRP on %s: %w", name, err)
}

func (l *link) close() {
	for _, fd := range []*int{&l.receiver, &l.claims, &l.four, &l.six, &l.frames} {
		if *fd >= 0 {
			_ = unix.Close(*fd)
			*fd = -1
		}
	}
}

// openReceivers opens the packet sockets. Advertisements have one of their own, with
// room for many: a storm of ARP must not take their place.
func (l *link) openReceivers() (err error) {
	if l.receiver, err = l.openReceiver(advertisements); err != nil {
		return err
	}
	// Beyond net.core.rmem_max it takes CAP_NET_ADMIN, without which the most there is must do.
	if err := unix.SetsockoptInt(l.receiver, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, room); err != nil {
		_ = unix.SetsockoptInt(l.receiver, unix.SOL_SOCKET, unix.SO_RCVBUF, room)
	}
	l.claims, err = l.openReceiver(claims)
	return err
}

// openReceiver opens a packet socket. Its filter is there before the link is, so that
// nothing comes through that was not asked for.
func (l *link) openReceiver(program []bpf.Instruction) (fd int, err error) {
	if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
		return -1, err
	}
	if err := prepareReceiver(fd, l.Index, program); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func prepareReceiver(fd, index int, program []bpf.Instruction) error {
	if err := filter(fd, program); err != nil {
		return err
	}
	for _, option := range [...][2]int{{unix.SOL_SOCKET, unix.SO_TIMESTAMPNS}, {unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING}} {
		if err := unix.SetsockoptInt(fd, option[0], option[1], 1); err != nil {
			return err
		}
	}
	return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: bigEndian(unix.ETH_P_ALL), Ifindex: index})
}

func bigEndian(v uint16) uint16 { return v<<8 | v>>8 }

// untagged drops what belongs to a VLAN: the kernel shows it to the link below, too,
// with the tag taken off. What is behind it sees packets from the network header on.
func untagged(program ...bpf.Instruction) []bpf.Instruction {
	return append([]bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtVLANTag},
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0xfff}, // the VLAN; 0 is a priority alone
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
		bpf.LoadExtension{Num: bpf.ExtProto},
	}, program...)
}

// advertisements are VRRP over IPv4 and IPv6.
var advertisements = untagged(
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.ETH_P_IP, SkipFalse: 2},
	bpf.LoadAbsolute{Off: 9, Size: 1}, // protocol
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: vrrp.Protocol, SkipTrue: 3, SkipFalse: 4},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.ETH_P_IPV6, SkipFalse: 3},
	bpf.LoadAbsolute{Off: 6, Size: 1}, // next header
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: vrrp.Protocol, SkipFalse: 1},
	bpf.RetConstant{Val: longest},
	bpf.RetConstant{Val: 0},
)

// claims are ARP, and neighbor advertisements.
var claims = untagged(
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.ETH_P_ARP, SkipTrue: 5},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.ETH_P_IPV6, SkipFalse: 5},
	bpf.LoadAbsolute{Off: 6, Size: 1}, // next header
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: icmpv6, SkipFalse: 3},
	bpf.LoadAbsolute{Off: 40, Size: 1}, // type
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: neighborAdvertisement, SkipFalse: 1},
	bpf.RetConstant{Val: longest},
	bpf.RetConstant{Val: 0},
)

// nothing is for the sockets that only send.
var nothing = []bpf.Instruction{bpf.RetConstant{Val: 0}}

func filter(fd int, program []bpf.Instruction) error {
	raw, err := bpf.Assemble(program)
	if err != nil {
		return err
	}
	code := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		code[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]})
}

func (l *link) openFour() (err error) {
	if l.four, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, vrrp.Protocol); err != nil {
		return err
	}
	if err := l.sendsOnly(l.four); err != nil {
		return err
	}
	for _, option := range [...][2]int{
		{unix.IP_TTL, vrrp.HopLimit}, {unix.IP_MULTICAST_TTL, vrrp.HopLimit}, {unix.IP_MULTICAST_LOOP, 0},
		{unix.IP_TOS, control}, {unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT},
	} {
		if err := unix.SetsockoptInt(l.four, unix.IPPROTO_IP, option[0], option[1]); err != nil {
			return err
		}
	}
	group := &unix.IPMreqn{Multiaddr: vrrp.Group4.As4(), Ifindex: int32(l.Index)}
	if err := unix.SetsockoptIPMreqn(l.four, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, group); err != nil {
		return err
	}
	return unix.SetsockoptIPMreqn(l.four, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, group)
}

func (l *link) openSix() (err error) {
	if l.six, err = unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, vrrp.Protocol); err != nil {
		if errors.Is(err, unix.EAFNOSUPPORT) { // a kernel without IPv6 has no router for it either
			l.six = -1
			return nil
		}
		return err
	}
	if err := l.sendsOnly(l.six); err != nil {
		return err
	}
	for _, option := range [...][2]int{
		{unix.IPV6_UNICAST_HOPS, vrrp.HopLimit}, {unix.IPV6_MULTICAST_HOPS, vrrp.HopLimit}, {unix.IPV6_MULTICAST_LOOP, 0},
		{unix.IPV6_TCLASS, control}, {unix.IPV6_MULTICAST_IF, l.Index},
	} {
		if err := unix.SetsockoptInt(l.six, unix.IPPROTO_IPV6, option[0], option[1]); err != nil {
			return err
		}
	}
	group := &unix.IPv6Mreq{Multiaddr: vrrp.Group6.As16(), Interface: uint32(l.Index)}
	err = unix.SetsockoptIPv6Mreq(l.six, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, group)
	if errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EADDRNOTAVAIL) {
		return nil // IPv6 is off on this link: no router there has a source to send from
	}
	return err
}

func (l *link) openFrames() (err error) {
	if l.frames, err = openFrames(); err != nil {
		return err
	}
	return unix.SetsockoptInt(l.frames, unix.SOL_SOCKET, unix.SO_PRIORITY, 7)
}

func (l *link) sendsOnly(fd int) error {
	if err := filter(fd, nothing); err != nil {
		return err
	}
	if err := unix.BindToDevice(fd, l.Name); err != nil {
		return err
	}
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PRIORITY, 7)
}

// read reads one packet from a receiver into buffer.
func (l *link) read(fd int, buffer []byte) (n int, control []byte, from *unix.SockaddrLinklayer, err error) {
	n, oobn, _, sa, err := unix.Recvmsg(fd, buffer, l.control[:], 0)
	if err != nil {
		return 0, nil, nil, err
	}
	from, ok := sa.(*unix.SockaddrLinklayer)
	if !ok {
		return 0, nil, nil, fmt.Errorf("from %T", sa)
	}
	return n, l.control[:oobn], from, nil
}

// send sends a packet out of this link, from src.
func (l *link) send(src, dst netip.Addr, packet []byte) error {
	if src.Is4() {
		control := unix.PktInfo4(&unix.Inet4Pktinfo{Ifindex: int32(l.Index), Spec_dst: src.As4()})
		return explainSend(unix.Sendmsg(l.four, packet, control, &unix.SockaddrInet4{Addr: dst.As4()}, 0))
	}
	if l.six < 0 {
		return errors.New("this kernel has no IPv6")
	}
	control := unix.PktInfo6(&unix.Inet6Pktinfo{Ifindex: uint32(l.Index), Addr: src.As16()})
	return explainSend(unix.Sendmsg(l.six, packet, control, &unix.SockaddrInet6{Addr: dst.As16(), ZoneId: uint32(l.Index)}, 0))
}

// sendFrom sends a packet to a group, out of this link, from a MAC that is not the
// link's. It needs no link that has that MAC: where the addresses are is somebody else's
// affair, and they may come later.
func (l *link) sendFrom(mac [6]byte, src, dst netip.Addr, packet []byte) error {
	l.id++
	l.frame = appendAdvertisement(l.frame[:0], mac, src, dst, l.id, packet)
	return explainSend(sendFrame(l.frames, l.Index, l.frame))
}

func explainSend(err error) error {
	switch {
	case errors.Is(err, unix.EPERM):
		return errors.New("a firewall of this host forbids it: let IP protocol 112 out there")
	case errors.Is(err, unix.ENETDOWN):
		return errors.New("the link is down")
	}
	return err
}
