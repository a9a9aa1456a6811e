package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/anyvip/anyvip/vrrp"
)

// perWait bounds what one Wait reads from a link: a flood must not keep the engine from
// its timers.
const perWait = 512

// Conn is the links of this host. Open makes one.
type Conn struct {
	epoll, timer, wake int
	mu                 sync.Mutex // guards closed and wake's use after it
	closed             bool
	links              map[int]*link // by the descriptor that receives
	arrivals           []vrrp.Arrival
	drained            time.Time // when all sockets were empty last
	events             [64]unix.EpollEvent
	ready              int // how many of events were ready when they were asked last
}

var _ vrrp.Conn = (*Conn)(nil)

// Open makes a Conn without links.
func Open() (c *Conn, err error) {
	c = &Conn{epoll: -1, timer: -1, wake: -1, links: map[int]*link{}, drained: time.Now()}
	defer func() {
		if err != nil {
			_ = c.Close()
		}
	}()
	if c.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("make an epoll descriptor: %w", err)
	}
	if c.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK); err != nil {
		return nil, fmt.Errorf("make a timer descriptor: %w", err)
	}
	if c.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, fmt.Errorf("make an event descriptor: %w", err)
	}
	for _, fd := range []int{c.timer, c.wake} {
		if err = c.watch(fd); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *Conn) watch(fd int) error {
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
	if err := unix.EpollCtl(c.epoll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		return fmt.Errorf("watch a descriptor: %w", err)
	}
	return nil
}

// Close gives everything back. No Wait may be under way.
func (c *Conn) Close() error {
	for _, l := range c.links {
		l.close()
	}
	clear(c.links)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, fd := range []*int{&c.epoll, &c.timer, &c.wake} {
		if *fd >= 0 {
			_ = unix.Close(*fd)
			*fd = -1
		}
	}
	return nil
}

// Wake ends a Wait, the present one or the next. Any goroutine may call it, after Close
// too.
func (c *Conn) Wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	one := [8]byte{1} // host order, and any number but 0 will do
	// It fails when the counter is full: then Wait ends without this one.
	_, _ = unix.Write(c.wake, one[:])
}

// Listen is vrrp.Conn's.
func (c *Conn) Listen(links []vrrp.Link) map[string]error {
	for fd, l := range c.links {
		if !slices.Contains(links, l.Link) {
			l.close()           // which ends the watch, too
			delete(c.links, fd) // once for each of its two
		}
	}
	faults := map[string]error{}
	for _, want := range links {
		if l := c.link(want.Name); l != nil && l.Link == want {
			continue
		}
		l, err := open(want)
		for _, fd := range []int{l.receiver, l.claims} {
			if err == nil {
				err = c.watch(fd)
			}
		}
		if err != nil {
			l.close()
			faults[want.Name] = err
			continue
		}
		c.links[l.receiver], c.links[l.claims] = l, l
	}
	return faults
}

func (c *Conn) link(name string) *link {
	for _, l := range c.links {
		if l.Name == name {
			return l
		}
	}
	return nil
}

// Send is vrrp.Conn's.
func (c *Conn) Send(name string, mac [6]byte, src, dst netip.Addr, packet []byte) error {
	l := c.link(name)
	if l == nil {
		return fmt.Errorf("%s is not open", name)
	}
	if mac != ([6]byte{}) && dst.IsMulticast() {
		return l.sendFrom(mac, src, dst, packet)
	}
	return l.send(src, dst, packet)
}

// Wait is vrrp.Conn's.
func (c *Conn) Wait(until time.Time) (list []vrrp.Arrival, now time.Time, err error) {
	c.arrivals = c.arrivals[:0]
	timeout, err := c.setTimer(until)
	if err != nil {
		return nil, time.Now(), err
	}
	// A stopped process that goes on finds its waiting interrupted, and whatever it knew is
	// old: so what there is to read is asked for once more, from a known moment on.
	if err := c.poll(timeout); err != nil {
		return nil, time.Now(), err
	}
	now = time.Now()
	if err := c.poll(0); err != nil {
		return nil, now, err
	}
	n := c.ready
	full := n == len(c.events)
	var failed error
	for _, event := range c.events[:n] {
		switch fd := int(event.Fd); fd {
		case c.timer, c.wake:
			var counter [8]byte
			_, _ = unix.Read(fd, counter[:])
		default:
			l := c.links[fd]
			if l == nil {
				continue // closed here, and held open by a child that is about to begin
			}
			more, err := c.receive(l, fd)
			full = full || more
			if err != nil {
				failed = fmt.Errorf("receive on %s: %w", l.Name, err)
			}
		}
	}
	if full {
		now = time.Now() // a flood does not keep timers waiting
	} else {
		c.drained = now
	}
	slices.SortStableFunc(c.arrivals, func(a, b vrrp.Arrival) int { return a.At.Compare(b.At) })
	return c.arrivals, now, failed
}

// poll waits so many milliseconds at most for descriptors that are ready.
func (c *Conn) poll(timeout int) (err error) {
	for {
		c.ready, err = unix.EpollWait(c.epoll, c.events[:], timeout)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, unix.EINTR):
			return fmt.Errorf("wait for packets: %w", err)
		}
		timeout = 0
	}
}

// setTimer arms the timer, and returns for how many milliseconds EpollWait may block.
func (c *Conn) setTimer(until time.Time) (timeout int, err error) {
	var spec unix.ItimerSpec
	if !until.IsZero() {
		d := time.Until(until)
		if d <= 0 {
			return 0, nil
		}
		spec.Value = unix.NsecToTimespec(int64(d))
	}
	if err := unix.TimerfdSettime(c.timer, 0, &spec, nil); err != nil {
		return 0, fmt.Errorf("set a timer: %w", err)
	}
	return -1, nil
}

// receive reads what a link has, and says whether there may be more.
func (c *Conn) receive(l *link, fd int) (more bool, err error) {
	buffers := &l.buffers[0]
	if fd == l.claims {
		buffers = &l.buffers[1]
	}
	for i := range buffers {
		if buffers[i] == nil {
			buffers[i] = make([]byte, longest)
		}
		n, control, from, err := l.read(fd, buffers[i])
		switch {
		case errors.Is(err, unix.EAGAIN):
			return false, nil
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ENETDOWN): // told once when a link goes down; there is no more of it
			continue
		case err != nil:
			return false, err
		}
		if a, ok := parse(buffers[i][:n], from); ok && a.MAC != l.mac {
			a.Link, a.At = l.Name, c.cameAt(control, time.Now())
			c.arrivals = append(c.arrivals, a)
		}
	}
	return true, nil
}

// cameAt is when a packet came, by the kernel's wall clock; but not before all sockets
// were empty last, nor after it was read, whatever happened to that clock.
func (c *Conn) cameAt(control []byte, now time.Time) time.Time {
	stamp, ok := timestamp(control)
	if !ok {
		return now
	}
	at := now.Add(stamp.Sub(now.Round(0)))
	switch {
	case at.After(now):
		return now
	case at.Before(c.drained):
		return c.drained
	}
	return at
}

// timestamp is the SO_TIMESTAMPNS of a control message.
func timestamp(control []byte) (time.Time, bool) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return time.Time{}, false
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) >= 16 {
			return time.Unix(int64(binary.NativeEndian.Uint64(m.Data)), int64(binary.NativeEndian.Uint64(m.Data[8:]))), true
		}
	}
	return time.Time{}, false
}
