package hostile

import (
	"bytes"
	"net/netip"
	"testing"

	packet "github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

var us = netip.MustParseAddr("10.2.1.1")

func TestGoodMessagesAreGood(t *testing.T) {
	s := newSource(1, 0, 65002, us)
	good := map[string]func() []byte{"OPEN": s.open, "KEEPALIVE": keepalive, "UPDATE": s.update}
	for name, make := range good {
		for range 1000 {
			m := make()
			if _, err := packet.ParseBGPMessage(m); err != nil {
				t.Fatalf("%s: %v in %x", name, err, m)
			}
		}
	}
	for i, a := range others() {
		if _, err := packet.ParseBGPMessage(update(nil, append(mandatory(65002, us), a), routes[0])); err != nil {
			t.Errorf("attribute %d: %v in %x", i, err, a)
		}
	}
}

func TestBadMessagesAreBad(t *testing.T) {
	s := newSource(1, 0, 65002, us)
	const n = 10_000
	refused := 0
	for range n {
		m := s.badUpdate()
		if len(m) > maxLength {
			t.Fatalf("an UPDATE of %d octets", len(m))
		}
		if _, err := packet.ParseBGPMessage(m); err != nil {
			refused++
		}
	}
	if refused < n/2 || refused == n {
		t.Errorf("%d of %d are refused: what is worth sending is most, not all", refused, n)
	}
	t.Logf("%d of %d are refused", refused, n)
}

func TestOneSeedMakesTheSameMessages(t *testing.T) {
	a, b, other := newSource(7, 3, 65002, us), newSource(7, 3, 65002, us), newSource(8, 3, 65002, us)
	same := 0
	for range 1000 {
		m := a.bad()
		if !bytes.Equal(m, b.bad()) {
			t.Fatal("one seed makes two messages")
		}
		if bytes.Equal(m, other.bad()) {
			same++
		}
	}
	if same > 100 {
		t.Errorf("two seeds make %d equal messages of 1,000", same)
	}
}
