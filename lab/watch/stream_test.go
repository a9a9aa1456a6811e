package watch

import (
	"bytes"
	"math/rand"
	"slices"
	"testing"
)

// conversation is what one side of a session says.
func conversation(t testing.TB) (all []byte, messages [][]byte) {
	for _, text := range []string{goldenOpen, goldenKeepalive, goldenUpdate, goldenEndOfRIB, goldenWithdraw6, goldenKeepalive, goldenShutdown} {
		m := unhex(t, text)
		messages, all = append(messages, m), append(all, m...)
	}
	return all, messages
}

// collect is a message callback that keeps copies.
func collect(into *[][]byte) func([]byte) {
	return func(m []byte) { *into = append(*into, bytes.Clone(m)) }
}

func wantMessages(t *testing.T, got, want [][]byte) {
	t.Helper()
	if !slices.EqualFunc(got, want, bytes.Equal) {
		t.Errorf("%d messages, want %d:\n%x\nwant\n%x", len(got), len(want), got, want)
	}
}

const isn = 1<<32 - 100 // the sequence numbers wrap within the conversation

func TestStreamInTwoSegmentsSplitAnywhere(t *testing.T) {
	all, want := conversation(t)
	for at := range all {
		var s stream
		var got [][]byte
		s.begin(isn)
		skipped := s.add(isn+1, all[:at], collect(&got))
		skipped += s.add(isn+1+uint32(at), all[at:], collect(&got))
		if skipped != 0 {
			t.Errorf("split at %d: skipped %d bytes", at, skipped)
		}
		wantMessages(t, got, want)
	}
}

func TestStreamByteByByte(t *testing.T) {
	all, want := conversation(t)
	var s stream
	var got [][]byte
	s.begin(isn)
	for i := range all {
		s.add(isn+1+uint32(i), all[i:i+1], collect(&got))
	}
	wantMessages(t, got, want)
}

func TestStreamOutOfOrderRepeatedAndOverlapping(t *testing.T) {
	all, want := conversation(t)
	for seed := range int64(50) {
		random := rand.New(rand.NewSource(seed))
		type piece struct{ from, to int }
		var pieces []piece
		for from := 0; from < len(all); {
			to := min(len(all), from+1+random.Intn(60))
			pieces = append(pieces, piece{from, to}, piece{max(0, from-random.Intn(30)), to}) // the second repeats and overlaps
			from = to
		}
		random.Shuffle(len(pieces), func(i, j int) { pieces[i], pieces[j] = pieces[j], pieces[i] })
		var s stream
		var got [][]byte
		s.begin(isn)
		for _, p := range pieces {
			s.add(isn+1+uint32(p.from), all[p.from:p.to], collect(&got))
		}
		wantMessages(t, got, want)
		if s.heldLen != 0 || len(s.held) != 0 {
			t.Errorf("seed %d: %d bytes are still held", seed, s.heldLen)
		}
	}
}

func TestStreamBegunInTheMiddle(t *testing.T) {
	all, messages := conversation(t)
	for from := range all {
		var s stream
		var got [][]byte
		s.add(12345+uint32(from), all[from:], collect(&got))
		// Every message that begins at or behind the cut is found.
		begins, complete := 0, 0
		for i, m := range messages {
			if begins >= from {
				complete = len(messages) - i
				break
			}
			begins += len(m)
		}
		if len(got) < complete {
			t.Fatalf("cut at %d: %d messages, want %d", from, len(got), complete)
		}
		wantMessages(t, got[len(got)-complete:], messages[len(messages)-complete:])
	}
}

func TestStreamWithGarbageBetweenMessages(t *testing.T) {
	keepalive, withdraw := unhex(t, goldenKeepalive), unhex(t, goldenWithdraw6)
	for _, garbage := range [][]byte{
		[]byte("GET / HTTP/1.0\r\n\r\n and more than a header"),
		bytes.Repeat([]byte{0xff}, 7),
		bytes.Repeat([]byte{0xff}, 60),
		append(bytes.Repeat([]byte{0xff}, 16), 0, 5, 2),  // a marker, but too short
		append(bytes.Repeat([]byte{0xff}, 16), 0, 19, 9), // a type that does not exist
	} {
		var s stream
		var got [][]byte
		s.begin(isn)
		skipped := s.add(isn+1, slices.Concat(keepalive, garbage, withdraw, keepalive), collect(&got))
		wantMessages(t, got, [][]byte{keepalive, withdraw, keepalive})
		if skipped != len(garbage) {
			t.Errorf("%x: skipped %d bytes of %d", garbage, skipped, len(garbage))
		}
	}
}

func TestStreamGoesOnBehindALostSegment(t *testing.T) {
	keepalive := unhex(t, goldenKeepalive)
	var s stream
	var got [][]byte
	s.begin(isn)
	s.add(isn+1, keepalive, collect(&got))
	skipped, seq := 0, uint32(isn+1+len(keepalive)+10) // ten bytes never come
	for range maxHeldSegments + 1 {
		skipped += s.add(seq, keepalive, collect(&got))
		seq += uint32(len(keepalive))
	}
	if skipped != 10 || len(got) != maxHeldSegments+2 {
		t.Errorf("skipped %d bytes, %d messages", skipped, len(got))
	}
}

func TestStreamBeginsAnewWithAnotherSYN(t *testing.T) {
	all, want := conversation(t)
	var s stream
	var got [][]byte
	s.begin(1)
	s.add(2, all[:30], collect(&got))
	s.begin(1 << 20)
	s.begin(1 << 20) // repeated
	s.add(1<<20+1, all, collect(&got))
	wantMessages(t, got, want)
}

// FuzzStream feeds pieces of the input in an order that it chooses, and checks that what comes out is well-formed and
// nothing grows without bound.
func FuzzStream(f *testing.F) {
	all, _ := conversation(f)
	f.Add(all, []byte{20, 3, 90, 1})
	f.Add(append([]byte("garbage"), all...), []byte{200, 1})
	f.Add(bytes.Repeat([]byte{0xff}, 100), []byte{16, 3, 16})
	f.Fuzz(func(t *testing.T, data, plan []byte) {
		var s stream
		if len(plan) > 0 && plan[0]%2 == 0 {
			s.begin(isn - 1)
		}
		cut := 0
		check := func(m []byte) {
			cut += len(m)
			if len(m) < headerLen || !bytes.Equal(m[:markerLen], marker) || !plausible(m) {
				t.Fatalf("no message: %x", m)
			}
			decodeMessage(m, negotiated(nil, nil)) // must not panic
		}
		given := 0
		for at, i := 0, 0; i < len(plan) && at < len(data); i++ {
			end := min(len(data), at+int(plan[i])+1)
			s.add(isn+uint32(at), data[at:end], check)
			given += end - at
			if plan[i]%3 == 0 {
				at += int(plan[i]) / 2 // overlap
			} else {
				at = end + int(plan[i]%5)*int(plan[i]%2) // sometimes a gap
			}
		}
		if cut > given || len(s.buf) > given || s.heldLen > maxHeldBytes {
			t.Fatalf("%d bytes in, %d cut, %d kept, %d held", given, cut, len(s.buf), s.heldLen)
		}
	})
}
