package bench

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/anyvip/anyvip/lab/feed"
	"github.com/anyvip/anyvip/lab/watch"
)

const (
	probeEvery = time.Millisecond
	// straggle is how long an answer is waited for before the probe counts as lost.
	straggle = 100 * time.Millisecond
)

// probed is one line of the prober: what became of the probes since the line before.
type probed struct {
	Asked int           `json:"asked"`
	Lost  int           `json:"lost"`
	Gap   time.Duration `json:"gap"` // the longest time without an answer, in ns
}

func decodeProbed(r io.Reader) iter.Seq2[probed, error] { return feed.Decode[probed](r, "probe") }

// probe sends an ICMP echo request to a VIP every millisecond, and says for each line on standard input what became of
// them, until that ends.
func probe(_ context.Context, args []string) error {
	flags := flag.NewFlagSet("probe", flag.ContinueOnError)
	target := flags.String("target", "", "`ADDRESS` to ask")
	if err := flags.Parse(args); err != nil {
		return err
	}
	vip, err := netip.ParseAddr(*target)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
	if err != nil {
		return fmt.Errorf("open a socket for ICMP: %w; it needs CAP_NET_RAW", err)
	}
	if err := errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1), unix.Connect(fd, &unix.SockaddrInet4{Addr: vip.As4()})); err != nil {
		return fmt.Errorf("prepare the socket: %w", err)
	}
	p := &prober{fd: fd, last: time.Now()}
	go p.ask() // both end with the process, and work in system calls
	go p.listen()
	said := json.NewEncoder(os.Stdout)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if err := said.Encode(p.sum()); err != nil {
			return err
		}
	}
	return nil
}

// prober counts probes and answers.
type prober struct {
	fd int

	mu       sync.Mutex
	first    uint64 // number of the first probe that was not summed up
	answered []bool // from that one on
	last     time.Time
	gap      time.Duration
}

// ask sends, on a thread of its own that sleeps in the kernel: timers of Go's are a millisecond late.
func (p *prober) ask() {
	runtime.LockOSThread()
	var next unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &next)
	for {
		next = unix.NsecToTimespec(next.Nano() + int64(probeEvery))
		for errors.Is(unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &next, nil), unix.EINTR) {
		}
		p.mu.Lock()
		number := p.first + uint64(len(p.answered))
		p.answered = append(p.answered, false)
		p.mu.Unlock()
		_, _ = unix.Write(p.fd, echoRequest(number)) // where nobody is, it fails: that is lost
	}
}

const icmpEchoReply, icmpEcho = 0, 8

// echoRequest is an ICMP message, RFC 792, with its number as data.
func echoRequest(number uint64) []byte {
	b := binary.BigEndian.AppendUint64([]byte{icmpEcho, 0, 0, 0, 0x78, 0x78, 0, 0}, number)
	sum := uint32(0)
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	sum = sum>>16 + sum&0xffff
	sum += sum >> 16
	binary.BigEndian.PutUint16(b[2:], ^uint16(sum))
	return b
}

func (p *prober) listen() {
	b, oob := make([]byte, 256), make([]byte, 256)
	for {
		n, oobn, _, _, err := unix.Recvmsg(p.fd, b, oob, 0)
		if err != nil {
			continue // an ICMP error about a probe: that one is lost
		}
		if header := int(b[0]&0xf) * 4; n >= header+16 && b[header] == icmpEchoReply {
			p.answer(binary.BigEndian.Uint64(b[header+8:]), watch.Stamp(oob[:oobn]))
		}
	}
}

func (p *prober) answer(number uint64, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gap, p.last = max(p.gap, at.Sub(p.last)), at
	if i := number - p.first; number >= p.first && i < uint64(len(p.answered)) {
		p.answered[i] = true
	}
}

// sum sums up the probes until now.
func (p *prober) sum() (sum probed) {
	p.mu.Lock()
	sum.Asked = len(p.answered)
	p.mu.Unlock()
	time.Sleep(straggle)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, answered := range p.answered[:sum.Asked] {
		if !answered {
			sum.Lost++
		}
	}
	p.first += uint64(sum.Asked)
	p.answered = append([]bool(nil), p.answered[sum.Asked:]...)
	sum.Gap = max(p.gap, time.Since(p.last))
	p.gap = 0
	return sum
}
