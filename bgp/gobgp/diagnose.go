package gobgp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"time"

	packet "github.com/osrg/gobgp/v4/pkg/packet/bgp"
	"golang.org/x/sys/unix"

	"github.com/anyvip/anyvip/bgp"
	"github.com/anyvip/anyvip/pkg/vip"
)

const (
	diagnosisGap   = 10 * time.Second // a peer is asked at most this often
	diagnosisLimit = 3 * time.Second  // for one handshake
	findOutLimit   = 4 * time.Second  // the kernel gives up ARP and neighbour discovery after 3 s
	askGap         = 2 * time.Second
	askLimit       = 75 * time.Second // BIRD does not talk for 60 s after an error
)

// GoBGP does not pass on the OPENs and NOTIFICATIONs of a handshake. A peer
// that refuses us is therefore asked in a handshake of our own, up to its
// verdict on our OPEN, and then closed. That disturbs no session, since there
// is none. Passive peers are not asked: they may not listen.

// diagnose asks once, beside GoBGP's attempts, the next of which is more than a
// second away.
func (s *Speaker) diagnose(ctx context.Context, p *peer) {
	now := time.Now()
	if p.want.Passive || now.Before(p.diagnosable) || !p.closing.IsZero() {
		return
	}
	p.diagnosable = now.Add(diagnosisGap)
	h, sig := s.handshake(p), signal{kind: diagnosed, generation: s.generation, peer: p.want.Address}
	s.diagnoses.Go(func() {
		if f, verdict := h.hold(ctx); verdict {
			sig.failure, sig.at = f, time.Now()
			s.signals.put(sig)
		}
	})
}

// findOut tells a host that is not there from one that does not answer: GoBGP
// gives up a dial before the kernel has given up looking for the host.
func (s *Speaker) findOut(ctx context.Context, p *peer) {
	now := time.Now()
	if now.Before(p.diagnosable) {
		return
	}
	p.diagnosable = now.Add(diagnosisGap)
	h, sig := s.handshake(p), signal{kind: diagnosed, generation: s.generation, peer: p.want.Address}
	s.diagnoses.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, findOutLimit)
		defer cancel()
		conn, err := h.dial(ctx)
		if err == nil {
			_ = conn.Close()
			return
		}
		sig.failure, sig.at = dialFailure(err.Error(), h.peer), time.Now()
		s.signals.put(sig)
	})
}

// ask takes GoBGP's neighbour away and asks in its place until the peer gives
// its verdict: a peer that has just refused us may close connections unheard
// for a while, and would spend its next verdict on GoBGP. The neighbour returns
// with the answer.
func (s *Speaker) ask(ctx context.Context, p *peer) {
	s.close(p)
	ctx, p.asking = context.WithTimeout(ctx, askLimit)
	h, sig := s.handshake(p), signal{kind: answered, generation: s.generation, peer: p.want.Address}
	s.diagnoses.Go(func() {
		tick := time.NewTicker(askGap)
		defer tick.Stop()
		for ctx.Err() == nil {
			var verdict bool
			if sig.failure, verdict = h.hold(ctx); verdict {
				break
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
		if !errors.Is(ctx.Err(), context.Canceled) {
			sig.at = time.Now()
			s.signals.put(sig)
		}
	})
}

// handshake is what our end of a handshake says.
type handshake struct {
	peer bgp.Peer
	asn  uint32
	id   netip.Addr
	any  bool // the peer may say another AS than it did before
}

func (s *Speaker) handshake(p *peer) handshake {
	h := handshake{peer: p.want, asn: s.shared.asn, id: s.shared.routerID, any: p.want.ASN == 0}
	h.peer.ASN = p.as()
	return h
}

// hold dials, sends OPEN and reads up to the peer's verdict. A verdict without
// a failure is that it likes us, or cannot be reached any more.
func (h handshake) hold(ctx context.Context) (f failure, verdict bool) {
	ctx, cancel := context.WithTimeout(ctx, diagnosisLimit)
	defer cancel()
	conn, err := h.dial(ctx)
	if err != nil {
		return failure{}, true
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })()
	open, err := h.open()
	if err != nil {
		return failure{}, true
	}
	if _, err := conn.Write(open); err != nil {
		return failure{}, false
	}
	for {
		m, err := readMessage(conn)
		if err != nil {
			return failure{}, false
		}
		if f, verdict := h.judge(m); verdict {
			return f, true
		}
	}
}

// judge says what one message of the peer means for our session.
func (h handshake) judge(m *packet.BGPMessage) (f failure, verdict bool) {
	switch body := m.Body.(type) {
	case *packet.BGPOpen:
		if as := asOf(body); as != h.peer.ASN && !h.any {
			return failure{vip.CauseWrongAS, fmt.Sprintf("the peer says AS %d, and asn here is %d: correct one of them", as, h.peer.ASN)}, true
		}
		if body.ID == h.id && h.peer.ASN == h.asn || body.ID.IsUnspecified() {
			return failure{vip.CauseWrongID, fmt.Sprintf("the peer's router id is %s, ours is %s: they must differ and not be 0.0.0.0", body.ID, h.id)}, true
		}
		return failure{}, false
	case *packet.BGPNotification:
		if body.ErrorCode == packet.BGP_ERROR_CEASE && body.ErrorSubcode == packet.BGP_ERROR_SUB_CONNECTION_COLLISION_RESOLUTION {
			return failure{}, false // with GoBGP's own attempt
		}
		f := notificationFailure(false, body.ErrorCode, body.ErrorSubcode, asText(body.Data), h.peer)
		if f.cause == vip.CauseWrongAS {
			f.detail = fmt.Sprintf("the peer refuses our AS %d (NOTIFICATION 2/2): correct asn here, or the neighbour's AS there", h.asn)
		}
		return f, true
	}
	return failure{}, true // KEEPALIVE
}

// dial connects as GoBGP would: same source, password and TTL.
func (h handshake) dial(ctx context.Context) (net.Conn, error) {
	p := h.peer
	d := net.Dialer{KeepAlive: -1, Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if cerr := c.Control(func(fd uintptr) { err = h.setOptions(int(fd)) }); cerr != nil {
			return cerr
		}
		return err
	}}
	d.SetMultipathTCP(false) // MD5 does not work with it
	if p.LocalAddress.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(p.LocalAddress, 0))
	}
	if p.Address.Zone() != "" {
		lookAtLinks()
	}
	return d.DialContext(ctx, "tcp", netip.AddrPortFrom(p.Address, p.Port).String())
}

// lookAtLinks makes package net look at this host's links. It remembers the
// index of a link's name for up to 60 s, for which nobody could be dialled over
// a link that was made anew; a name that it does not know makes it look at once.
// Nothing is sent: there is no such link.
func lookAtLinks() {
	conn, err := net.DialUDP("udp6", nil, &net.UDPAddr{IP: net.IPv6linklocalallnodes, Port: 1, Zone: "?"})
	if err == nil {
		_ = conn.Close()
	}
}

func (h handshake) setOptions(fd int) error {
	p := h.peer
	level, minTTL := unix.IPPROTO_IP, unix.IP_MINTTL
	ttl := unix.IP_TTL
	if p.Address.Is6() {
		level, minTTL, ttl = unix.IPPROTO_IPV6, unix.IPV6_MINHOPCOUNT, unix.IPV6_UNICAST_HOPS
	}
	var errs []error
	if p.TTLSecurity {
		errs = append(errs, unix.SetsockoptInt(fd, level, ttl, 255), unix.SetsockoptInt(fd, level, minTTL, 255))
	} else if p.ASN != h.asn { // on iBGP GoBGP leaves the system's
		errs = append(errs, unix.SetsockoptInt(fd, level, ttl, int(max(p.Multihop, 1))))
	}
	if p.Password != "" {
		sig := unix.TCPMD5Sig{}
		sig.Keylen = uint16(copy(sig.Key[:], p.Password))
		if p.Address.Is4() {
			a := p.Address.As4()
			sig.Addr.Family = unix.AF_INET
			copy(sig.Addr.Data[2:], a[:])
		} else {
			a := p.Address.As16()
			sig.Addr.Family = unix.AF_INET6
			copy(sig.Addr.Data[6:], a[:])
		}
		errs = append(errs, unix.SetsockoptTCPMD5Sig(fd, unix.IPPROTO_TCP, unix.TCP_MD5SIG, &sig))
	}
	return errors.Join(errs...)
}

// open is our OPEN as octets.
func (h handshake) open() ([]byte, error) {
	as := uint16(packet.AS_TRANS)
	if h.asn < 1<<16 {
		as = uint16(h.asn)
	}
	caps := packet.NewOptionParameterCapability([]packet.ParameterCapabilityInterface{
		packet.NewCapMultiProtocol(packet.RF_IPv4_UC), packet.NewCapMultiProtocol(packet.RF_IPv6_UC), packet.NewCapFourOctetASNumber(h.asn)})
	m, err := packet.NewBGPOpenMessage(as, uint16(h.peer.HoldTime/time.Second), h.id, []packet.OptionParameterInterface{caps})
	if err != nil {
		return nil, err
	}
	return m.Serialize()
}

func readMessage(r io.Reader) (*packet.BGPMessage, error) {
	header := make([]byte, packet.BGP_HEADER_LENGTH)
	if _, err := io.ReadFull(r, header); err != nil {
		return nil, err
	}
	h := &packet.BGPHeader{}
	if err := h.DecodeFromBytes(header); err != nil {
		return nil, err
	}
	if h.Len < packet.BGP_HEADER_LENGTH || h.Len > packet.BGP_MAX_MESSAGE_LENGTH {
		return nil, fmt.Errorf("message of %d octets", h.Len)
	}
	body := make([]byte, int(h.Len)-packet.BGP_HEADER_LENGTH)
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, err
	}
	return packet.ParseBGPBody(h, body)
}

// asOf is the AS number of an OPEN: the four-octet one where there is one (RFC 6793).
func asOf(o *packet.BGPOpen) uint32 {
	as := uint32(o.MyAS)
	for _, p := range o.OptParams {
		caps, ok := p.(*packet.OptionParameterCapability)
		if !ok {
			continue
		}
		for _, c := range caps.Capability {
			if four, ok := c.(*packet.CapFourOctetASNumber); ok {
				as = four.CapValue
			}
		}
	}
	return as
}
