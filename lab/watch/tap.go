package watch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	tapBuffer = 8 << 20
	// maxPacket holds what a link with segmentation offload hands over at once.
	maxPacket = 128 << 10
	// lossInterval is how often the kernel is asked whether it dropped packets.
	lossInterval = time.Second
)

// Tap reads the packets of one link, both directions.
type Tap struct {
	link string
	file *os.File
	conn syscall.RawConn
	buf  []byte
	oob  []byte
}

// Packet is a packet on a link. Data begins with the network header, and is valid until the next packet.
type Packet struct {
	Time time.Time // by the kernel
	MAC  [6]byte   // the sender's
	Data []byte
}

// OpenTap opens a link of this network namespace. Only what the filter passes is read; a filter sees packets from their
// network header on. It needs CAP_NET_RAW.
func OpenTap(link string, filter []unix.SockFilter) (*Tap, error) {
	ifi, err := net.InterfaceByName(link)
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w; the links of this namespace are listed by `ip link`", link, err)
	}
	// Protocol 0 receives nothing until the filter is there and bind names the link.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("watch %s: open packet socket: %w; it needs CAP_NET_RAW", link, err)
	}
	file := os.NewFile(uintptr(fd), "packet") // the poller's now: Close wakes a read
	t := &Tap{link: link, file: file, buf: make([]byte, maxPacket), oob: make([]byte, 256)}
	if err := t.setUp(fd, ifi.Index, filter); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("watch %s: %w", link, err)
	}
	return t, nil
}

func (t *Tap) setUp(fd, index int, filter []unix.SockFilter) error {
	if err := attachFilter(fd, filter); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		return fmt.Errorf("ask for time stamps: %w", err)
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, tapBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, tapBuffer)
	}
	// Only a socket for all protocols sees what this host sends.
	all := uint16(unix.ETH_P_ALL)<<8 | uint16(unix.ETH_P_ALL)>>8
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: index}); err != nil {
		return fmt.Errorf("bind packet socket: %w", err)
	}
	conn, err := t.file.SyscallConn()
	t.conn = conn
	return err
}

// Close gives the link up.
func (t *Tap) Close() { _ = t.file.Close() }

// Run calls take for each packet until ctx ends, and lost with how many the kernel could not keep for us since the last
// time. Both should be quick: while they work, the kernel's buffer fills.
func (t *Tap) Run(ctx context.Context, take func(Packet), lost func(packets uint32)) error {
	defer context.AfterFunc(ctx, func() { _ = t.file.SetReadDeadline(time.Now()) })()
	nextLook := time.Now().Add(lossInterval)
	for {
		_ = t.file.SetReadDeadline(nextLook) // before the look at ctx, so that it cannot undo the one that wakes us
		if ctx.Err() != nil {
			t.tellLost(lost)
			return nil
		}
		p, err := t.read()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, unix.ENETDOWN):
			// The second: the link is down. The socket goes on when it is up again.
		case err != nil:
			return fmt.Errorf("watch %s: %w", t.link, err)
		default:
			take(p)
		}
		if now := time.Now(); now.After(nextLook) {
			t.tellLost(lost)
			nextLook = now.Add(lossInterval)
		}
	}
}

func (t *Tap) read() (Packet, error) {
	var n, oobn int
	var from unix.Sockaddr
	var err error
	waitErr := t.conn.Read(func(fd uintptr) bool {
		for {
			n, oobn, _, from, err = unix.Recvmsg(int(fd), t.buf, t.oob, 0)
			if err != unix.EINTR {
				return err != unix.EAGAIN
			}
		}
	})
	if waitErr != nil {
		return Packet{}, waitErr
	}
	if err != nil {
		return Packet{}, fmt.Errorf("read packet: %w", err)
	}
	p := Packet{Time: Stamp(t.oob[:oobn]), Data: t.buf[:n]}
	if sender, ok := from.(*unix.SockaddrLinklayer); ok {
		p.MAC = [6]byte(sender.Addr[:6])
	}
	return p, nil
}

// Stamp is the kernel's time of a packet, in what came with it on a socket with SO_TIMESTAMPNS. Without one, which does not happen, it is now.
func Stamp(oob []byte) time.Time {
	messages, _ := unix.ParseSocketControlMessage(oob)
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) >= int(unsafe.Sizeof(unix.Timespec{})) {
			ts := (*unix.Timespec)(unsafe.Pointer(&m.Data[0]))
			return time.Unix(ts.Unix())
		}
	}
	return time.Now()
}

func (t *Tap) tellLost(lost func(uint32)) {
	var stats *unix.TpacketStats
	_ = t.conn.Control(func(fd uintptr) {
		stats, _ = unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS)
	})
	if stats != nil && stats.Drops > 0 {
		lost(stats.Drops)
	}
}
