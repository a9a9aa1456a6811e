package hostile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Config says whom to be hostile to.
type Config struct {
	Seed uint64 `json:"seed"`
	// ASN is ours, at every address.
	ASN uint32 `json:"asn"`
	// Listen are addresses where the speaker connects to, port 179.
	Listen []netip.Addr `json:"listen"`
	// Dial are addresses from which we connect to Speaker, port 179: its passive peers, and addresses that it does not know.
	Dial    []netip.Addr `json:"dial"`
	Speaker netip.Addr   `json:"speaker"`
	// Polite makes us keep every rule, and announce nothing.
	Polite bool `json:"polite"`
}

// Summary says what was done.
type Summary struct {
	Connections   int            `json:"connections"`
	Established   int            `json:"established"` // connections on which the speaker sent KEEPALIVE after our OPEN
	Messages      int            `json:"messages"`    // sent, good and bad
	Bytes         int            `json:"bytes"`
	Notifications map[string]int `json:"notifications"` // by code and subcode
	Closed        int            `json:"closed"`        // connections that the speaker ended without one
}

const (
	port = "179"
	// patience is how long we wait for a message, and for the speaker to end a connection.
	patience = 2 * time.Second
	// dialEvery is how often each address connects.
	dialEvery = 20 * time.Millisecond
)

// Run is hostile until ctx ends. It blocks until its last goroutine has returned. An error means that it could not listen.
func Run(ctx context.Context, c Config) (Summary, error) {
	r := &run{Config: c, summary: Summary{Notifications: map[string]int{}}}
	var listeners []net.Listener
	defer func() {
		for _, l := range listeners {
			_ = l.Close()
		}
	}()
	for _, a := range c.Listen {
		l, err := net.Listen("tcp", net.JoinHostPort(a.String(), port))
		if err != nil {
			return Summary{}, err
		}
		listeners = append(listeners, l)
	}
	var all sync.WaitGroup
	for i, l := range listeners {
		all.Go(func() { r.serve(ctx, l, newSource(c.Seed, uint64(i), c.ASN, c.Listen[i])) })
	}
	for i, a := range c.Dial {
		all.Go(func() { r.call(ctx, newSource(c.Seed, uint64(len(listeners)+i), c.ASN, a)) })
	}
	<-ctx.Done()
	for _, l := range listeners {
		_ = l.Close() // ends serve
	}
	all.Wait()
	return r.summary, nil
}

type run struct {
	Config

	mu      sync.Mutex
	summary Summary
}

func (r *run) count(f func(*Summary)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.summary)
}

// serve takes one connection after the other.
func (r *run) serve(ctx context.Context, l net.Listener, s *source) {
	for {
		c, err := l.Accept()
		if err != nil {
			return // closed
		}
		r.converse(ctx, c, s)
	}
}

// call connects again and again.
func (r *run) call(ctx context.Context, s *source) {
	tick := time.NewTicker(dialEvery)
	defer tick.Stop()
	dialer := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: s.address.AsSlice()}}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		c, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(r.Speaker.String(), port))
		if err != nil {
			continue // refused while the speaker is busy with us
		}
		r.converse(ctx, c, s)
	}
}

// converse uses one connection up.
func (r *run) converse(ctx context.Context, c net.Conn, s *source) {
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	r.count(func(s *Summary) { s.Connections++ })
	v := &conversation{run: r, conn: c, source: s, ended: make(chan struct{}), confirmed: make(chan struct{})}
	go v.listen()
	defer func() {
		c.Close()
		<-v.ended
	}()
	switch {
	case r.Polite:
		v.polite(ctx)
	case s.chance(8):
		v.hangUp()
	case s.chance(4):
		v.badOpen()
	default:
		v.badUpdates()
	}
}

// conversation is one connection.
type conversation struct {
	*run
	*source
	conn      net.Conn
	confirmed chan struct{} // closed with the speaker's first KEEPALIVE
	ended     chan struct{} // closed when the speaker has said its last
}

// listen reads what the speaker says, to its end.
func (v *conversation) listen() {
	defer close(v.ended)
	confirmed := false
	for {
		kind, body, err := readMessage(v.conn)
		switch {
		case err != nil:
			if !errors.Is(err, net.ErrClosed) {
				v.count(func(s *Summary) { s.Closed++ })
			}
			return
		case kind == typeKeepalive && !confirmed:
			confirmed = true
			v.count(func(s *Summary) { s.Established++ })
			close(v.confirmed)
		case kind == typeNotification && len(body) >= 2:
			v.count(func(s *Summary) { s.Notifications[fmt.Sprintf("%d/%d", body[0], body[1])]++ })
			return
		}
	}
}

// readMessage reads one message of a speaker that keeps the rules.
func readMessage(r io.Reader) (kind byte, body []byte, err error) {
	header := make([]byte, headerLength)
	if _, err := io.ReadFull(r, header); err != nil {
		return 0, nil, err
	}
	length := int(header[16])<<8 | int(header[17])
	if length < headerLength {
		return 0, nil, fmt.Errorf("the speaker sends a message of %d octets", length)
	}
	body = make([]byte, length-headerLength)
	_, err = io.ReadFull(r, body)
	return header[18], body, err
}

// send is false when the connection is over.
func (v *conversation) send(m []byte) bool {
	_ = v.conn.SetWriteDeadline(time.Now().Add(patience))
	n, err := v.conn.Write(m)
	v.count(func(s *Summary) { s.Messages++; s.Bytes += n })
	return err == nil
}

// wait is false when the connection ended before what, or nothing came in time.
func (v *conversation) wait(what <-chan struct{}) bool {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case <-what:
		return true
	case <-v.ended:
	case <-limit.C:
	}
	return false
}

// polite keeps the session up.
func (v *conversation) polite(ctx context.Context) {
	tick := time.NewTicker(3 * time.Second) // a third of the hold time
	defer tick.Stop()
	if !v.send(v.open()) {
		return
	}
	for v.send(keepalive()) {
		select {
		case <-ctx.Done():
			return
		case <-v.ended:
			return
		case <-tick.C:
		}
	}
}

// hangUp ends the connection before it was one.
func (v *conversation) hangUp() {
	switch v.IntN(4) {
	case 0: // with a reset
		_ = v.conn.(*net.TCPConn).SetLinger(0)
	case 1: // in the middle of a message
		m := v.open()
		v.send(m[:v.IntN(len(m))])
	case 2: // after saying nothing
		v.wait(v.ended)
	default: // at once
	}
}

// badOpen begins with what is no OPEN.
func (v *conversation) badOpen() {
	switch v.IntN(4) {
	case 0:
		v.send(v.bytes(1 + v.IntN(2*maxLength)))
	case 1:
		v.send(v.bad())
	case 2: // octet by octet
		for _, b := range v.reframe(typeOpen, v.damage(v.open()[headerLength:])) {
			if !v.send([]byte{b}) {
				return
			}
		}
	default:
		v.send(v.reframe(typeOpen, v.damage(v.open()[headerLength:])))
	}
	v.send(keepalive())
	v.wait(v.ended)
}

// badUpdates comes to be Established, and goes on until the speaker has had enough.
func (v *conversation) badUpdates() {
	if !v.send(v.open()) {
		return
	}
	if v.chance(10) && !v.send(v.bad()) { // in OpenConfirm
		return
	}
	if !v.send(keepalive()) || !v.wait(v.confirmed) {
		return
	}
	for range v.IntN(300) {
		m := v.update()
		switch {
		case v.chance(20):
			m = v.bad()
		case !v.chance(3):
			m = v.badUpdate()
		}
		if !v.send(m) {
			return
		}
		select {
		case <-v.ended:
			return
		default:
		}
	}
	if v.chance(2) {
		v.wait(v.ended)
	}
}
