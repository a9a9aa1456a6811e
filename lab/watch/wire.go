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
	wireBuffer = 8 << 20
	// maxPacket holds what a link with segmentation offload hands over at once.
	maxPacket = 128 << 10
	// lossInterval is how often the kernel is asked whether it dropped packets.
	lossInterval = time.Second
)

// wire reads the BGP packets of one link, both directions.
type wire struct {
	link string
	file *os.File
	conn syscall.RawConn
	buf  []byte
	oob  []byte
}

func openWire(link string) (*wire, error) {
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
	w := &wire{link: link, file: file, buf: make([]byte, maxPacket), oob: make([]byte, 256)}
	if err := w.setUp(fd, ifi.Index); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("watch %s: %w", link, err)
	}
	return w, nil
}

func (w *wire) setUp(fd, index int) error {
	if err := attachFilter(fd); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		return fmt.Errorf("ask for time stamps: %w", err)
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, wireBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, wireBuffer)
	}
	// Only a socket for all protocols sees what this host sends.
	all := uint16(unix.ETH_P_ALL)<<8 | uint16(unix.ETH_P_ALL)>>8
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: index}); err != nil {
		return fmt.Errorf("bind packet socket: %w", err)
	}
	conn, err := w.file.SyscallConn()
	w.conn = conn
	return err
}

// run reports until ctx ends and wake is called.
func (w *wire) run(ctx context.Context, emit func(Event)) error {
	t := newTracker(w.link, emit)
	nextLook := time.Now().Add(lossInterval)
	for {
		_ = w.file.SetReadDeadline(nextLook) // before the look at ctx, so that it cannot undo wake
		if ctx.Err() != nil {
			w.reportDrops(emit)
			return nil
		}
		n, at, err := w.read()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, unix.ENETDOWN):
			// The second: the link is down. The socket goes on when it is up again.
		case err != nil:
			return fmt.Errorf("watch %s: %w", w.link, err)
		default:
			t.packet(at, w.buf[:n])
		}
		if now := time.Now(); now.After(nextLook) {
			w.reportDrops(emit)
			nextLook = now.Add(lossInterval)
		}
	}
}

// wake makes run look at its context.
func (w *wire) wake() { _ = w.file.SetReadDeadline(time.Now()) }

func (w *wire) close() { _ = w.file.Close() }

func (w *wire) read() (n int, at time.Time, err error) {
	var oobn int
	waitErr := w.conn.Read(func(fd uintptr) bool {
		for {
			n, oobn, _, _, err = unix.Recvmsg(int(fd), w.buf, w.oob, 0)
			if err != unix.EINTR {
				return err != unix.EAGAIN
			}
		}
	})
	if waitErr != nil {
		return 0, time.Time{}, waitErr
	}
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("read packet: %w", err)
	}
	return n, stamp(w.oob[:oobn]), nil
}

// stamp is the kernel's time of a packet. Without one, which does not happen, it is now.
func stamp(oob []byte) time.Time {
	messages, _ := unix.ParseSocketControlMessage(oob)
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) >= int(unsafe.Sizeof(unix.Timespec{})) {
			ts := (*unix.Timespec)(unsafe.Pointer(&m.Data[0]))
			return time.Unix(ts.Unix())
		}
	}
	return time.Now()
}

// reportDrops says how many packets the kernel could not keep for us since the last time.
func (w *wire) reportDrops(emit func(Event)) {
	var stats *unix.TpacketStats
	_ = w.conn.Control(func(fd uintptr) {
		stats, _ = unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS)
	})
	if stats != nil && stats.Drops > 0 {
		e := newEvent(time.Now(), Lost)
		e.Lost = fmt.Sprintf("%d packets on %s: the watcher was too slow", stats.Drops, w.link)
		emit(e)
	}
}
