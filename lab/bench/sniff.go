package bench

import (
	"context"
	"flag"
	"fmt"
	"io"
	"iter"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/anyvip/anyvip/lab/feed"
	"github.com/anyvip/anyvip/lab/watch"
)

// What is sighted on a segment, besides atStart and missed.
const (
	advertised = "advertisement"
	firstClaim = "first claim" // a server announces its first VIP, by ARP
	lastClaim  = "last claim"  // it has announced all
)

// sighting is one line of the sniffer.
type sighting struct {
	Time     time.Time `json:"time"`
	What     string    `json:"what"`
	From     string    `json:"from,omitempty"` // the sender's MAC
	VRID     uint8     `json:"vrid,omitempty"`
	Priority uint8     `json:"priority,omitempty"` // 0: it leaves
	Detail   string    `json:"detail,omitempty"`
}

// sniff tells of the VRRP advertisements and the ARP announcements that come in on a link. Announcements are counted at
// the source, as the gauge does: 1,000 VIPs make two lines.
func sniff(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("sniff", flag.ContinueOnError)
	link := flags.String("link", "", "`LINK` to the segment")
	within := flags.String("within", "", "`PREFIX` that holds the VIPs")
	count := flags.Int("count", 1, "number of VIPs")
	if err := flags.Parse(args); err != nil {
		return err
	}
	prefix, err := netip.ParsePrefix(*within)
	if err != nil {
		return err
	}
	tap, err := watch.OpenTap(*link, vrrpFilter[:])
	if err != nil {
		return err
	}
	defer tap.Close()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	s := spotter{within: prefix, count: *count, claims: map[[6]byte]*presence{}, emit: feed.Print[sighting](os.Stdout, "sniff", fail)}
	s.emit(sighting{Time: time.Now(), What: atStart})
	return tap.Run(ctx, s.take, func(packets uint32) {
		s.emit(sighting{Time: time.Now(), What: missed, Detail: fmt.Sprintf("%d packets: the sniffer was too slow", packets)})
	})
}

func decodeSightings(r io.Reader) iter.Seq2[sighting, error] {
	return feed.Decode[sighting](r, "sniff")
}

const vrrpProtocol = 112

// vrrpFilter passes ARP, and VRRP over IPv4. Jt and Jf say how many instructions to skip.
var vrrpFilter = [...]unix.SockFilter{
	0: {Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: skbProtocol},
	1: {Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.ETH_P_ARP, Jt: 3}, // to 5
	2: {Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.ETH_P_IP, Jf: 3},  // to 6
	3: {Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 9},                      // protocol
	4: {Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: vrrpProtocol, Jf: 1},   // to 6
	5: {Code: unix.BPF_RET | unix.BPF_K, K: 4096},
	6: {Code: unix.BPF_RET | unix.BPF_K, K: 0},
}

// skbProtocol is where a filter finds the Ethernet type of a packet without its header: SKF_AD_OFF + SKF_AD_PROTOCOL.
const skbProtocol = 0xffff_f000

// spotter turns packets into sightings.
type spotter struct {
	within netip.Prefix
	count  int
	claims map[[6]byte]*presence // by MAC
	emit   func(sighting)
}

func (s *spotter) take(p watch.Packet) {
	switch vip, claimed := announcement(p.Data); {
	case claimed && s.within.Contains(vip):
		s.claim(p, vip)
	case len(p.Data) > 0 && p.Data[0]>>4 == 4:
		s.advertisement(p)
	}
}

// announcement is the address in an ARP announcement, RFC 5227, section 3: the sender's is the target's.
func announcement(b []byte) (netip.Addr, bool) {
	ethernetIPv4 := [6]byte{0, 1, 8, 0, 6, 4}
	if len(b) < 28 || [6]byte(b) != ethernetIPv4 || [4]byte(b[14:]) != [4]byte(b[24:]) {
		return netip.Addr{}, false
	}
	return netip.AddrFrom4([4]byte(b[14:])), true
}

func (s *spotter) claim(p watch.Packet, vip netip.Addr) {
	claims := s.claims[p.MAC]
	if claims == nil {
		claims = &presence{n: s.count}
		s.claims[p.MAC] = claims
		s.tell(p, sighting{What: firstClaim})
	}
	claims.set(vip, true)
	if _, turned := claims.turned(); turned {
		s.tell(p, sighting{What: lastClaim})
	}
}

// advertisement is RFC 9568, section 5.1 and 5.2. An Active router makes what the others announced void: when they
// announce again, that is another takeover.
func (s *spotter) advertisement(p watch.Packet) {
	header := int(p.Data[0]&0xf) * 4
	if len(p.Data) < header+8 {
		return
	}
	vrrp := p.Data[header:]
	if vrrp[2] > 0 {
		for mac := range s.claims {
			if mac != p.MAC {
				delete(s.claims, mac)
			}
		}
	}
	s.tell(p, sighting{What: advertised, VRID: vrrp[1], Priority: vrrp[2]})
}

func (s *spotter) tell(p watch.Packet, what sighting) {
	what.Time, what.From = p.Time, net.HardwareAddr(p.MAC[:]).String()
	s.emit(what)
}
