package watch

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	finFlag = 0x01
	synFlag = 0x02
	rstFlag = 0x04
	ackFlag = 0x10
)

// tcpPacket makes a packet from the network header on; checksums are left out.
func tcpPacket(src, dst string, seq uint32, flags byte, payload []byte) []byte {
	from, to := netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
	tcp := make([]byte, 24, 24+len(payload)) // with four bytes of options
	binary.BigEndian.PutUint16(tcp[0:], from.Port())
	binary.BigEndian.PutUint16(tcp[2:], to.Port())
	binary.BigEndian.PutUint32(tcp[4:], seq)
	tcp[12], tcp[13] = 6<<4, flags
	tcp = append(tcp, payload...)
	var ip []byte
	if from.Addr().Is4() {
		ip = make([]byte, 20)
		ip[0], ip[9] = 0x45, 6
		binary.BigEndian.PutUint16(ip[2:], uint16(20+len(tcp)))
		copy(ip[12:], from.Addr().AsSlice())
		copy(ip[16:], to.Addr().AsSlice())
	} else {
		ip = make([]byte, 40)
		ip[0], ip[6] = 0x60, 6
		binary.BigEndian.PutUint16(ip[4:], uint16(len(tcp)))
		copy(ip[8:], from.Addr().AsSlice())
		copy(ip[24:], to.Addr().AsSlice())
	}
	return append(ip, tcp...)
}

func TestTrackerFollowsAConnection(t *testing.T) {
	for _, ends := range [][2]string{{"10.0.1.2:40000", "10.0.1.1:179"}, {"[fd00:1::2]:40000", "[fd00:1::1]:179"}} {
		server, tor := ends[0], ends[1]
		var got []Event
		track := newTracker("eth1", func(e Event) { got = append(got, e) })
		now := time.Unix(1000, 0)
		send := func(from, to string, seq uint32, flags byte, payload []byte) {
			now = now.Add(time.Millisecond)
			track.packet(now, append(tcpPacket(from, to, seq, flags, payload), 0, 0)) // a link may pad
		}
		open, update := unhex(t, goldenOpen), unhex(t, goldenUpdate)
		send(server, tor, 100, synFlag, nil)
		send(tor, server, 900, synFlag|ackFlag, nil)
		send(server, tor, 101, ackFlag, nil)
		send(server, tor, 101, ackFlag, open)
		send(tor, server, 901, ackFlag, open)
		send(server, tor, 101, ackFlag, open) // retransmitted
		next := 101 + uint32(len(open))
		send(server, tor, next+50, ackFlag, update[50:])
		send(server, tor, next, ackFlag, update[:50])
		send(server, tor, next+uint32(len(update)), finFlag|ackFlag, nil)
		send(server, tor, next+uint32(len(update)), finFlag|ackFlag, nil) // retransmitted
		send(tor, server, 901+uint32(len(open)), rstFlag, nil)

		var types []Type
		for _, e := range got {
			types = append(types, e.Message.Type)
		}
		if want := []Type{Open, Open, Update, FIN, RST}; !slices.Equal(types, want) {
			t.Fatalf("%s: %v, want %v", server, types, want)
		}
		if m := got[2].Message; m.Src.String() != server || m.Dst.String() != tor || m.Interface != "eth1" || len(m.Announced) != 2 {
			t.Errorf("UPDATE: %+v", m)
		}
		if at := got[2].Time; !at.Equal(time.Unix(1000, 0).Add(8 * time.Millisecond)) {
			t.Errorf("the UPDATE's time is that of the segment that completed it, not %v", at)
		}
	}
}

func TestTrackerIgnoresWhatIsNotBGP(t *testing.T) {
	track := newTracker("eth1", func(e Event) { t.Errorf("event %+v", e) })
	good := tcpPacket("10.0.1.2:40000", "10.0.1.1:179", 1, ackFlag, unhex(t, goldenKeepalive))
	udp := slices.Clone(good)
	udp[9] = 17
	fragment := slices.Clone(good)
	fragment[6] = 0x20
	shortTCP := slices.Clone(good)
	shortTCP[20+12] = 0xf0
	for _, packet := range [][]byte{nil, {0x45}, good[:30], udp, fragment, shortTCP, {0x60, 1, 2}, {0x10},
		tcpPacket("10.0.1.2:40000", "10.0.1.1:80", 1, ackFlag, unhex(t, goldenKeepalive))} {
		track.packet(time.Time{}, packet)
	}
}

func TestFilterPassesBGPOnly(t *testing.T) {
	// The kernel runs a filter on any datagram socket.
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ends[0])
	defer unix.Close(ends[1])
	if err := attachFilter(ends[1], bgpFilter[:]); err != nil {
		t.Fatal(err)
	}
	mutate := func(p []byte, at int, to byte) []byte {
		p = slices.Clone(p)
		p[at] = to
		return p
	}
	v4 := tcpPacket("10.0.1.2:40000", "10.0.1.1:179", 1, ackFlag, nil)
	v6 := tcpPacket("[fd00::2]:40000", "[fd00::1]:179", 1, ackFlag, nil)
	for _, test := range []struct {
		name   string
		packet []byte
		want   bool
	}{
		{"IPv4 to 179", v4, true},
		{"IPv4 from 179", tcpPacket("10.0.1.1:179", "10.0.1.2:40000", 1, ackFlag, nil), true},
		{"IPv4 between other ports", tcpPacket("10.0.1.1:1179", "10.0.1.2:80", 1, ackFlag, nil), false},
		{"IPv4 UDP", mutate(v4, 9, 17), false},
		{"a later IPv4 fragment", mutate(v4, 7, 1), false},
		{"IPv6 to 179", v6, true},
		{"IPv6 from 179", tcpPacket("[fd00::1]:179", "[fd00::2]:40000", 1, ackFlag, nil), true},
		{"IPv6 between other ports", tcpPacket("[fd00::1]:180", "[fd00::2]:40000", 1, ackFlag, nil), false},
		{"IPv6 ICMP", mutate(v6, 6, 58), false},
		{"ARP", mutate(v4, 0, 0), false},
	} {
		// A datagram that the filter drops is an error for its sender.
		sendErr := unix.Send(ends[0], test.packet, 0)
		n, err := unix.Read(ends[1], make([]byte, 100))
		if passed := err == nil; passed != test.want || passed && n != len(test.packet) {
			t.Errorf("%s: passed is %v (%v, %v), want %v", test.name, passed, sendErr, err, test.want)
		}
	}
}
