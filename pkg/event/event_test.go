package event

import "testing"

func TestRingKeepsTheLatestInOrder(t *testing.T) {
	g := NewRing(3)
	for i := range 7 {
		if r := g.Add(Record{Name: string(rune('a' + i))}); r.Serial != uint64(i+1) {
			t.Errorf("record %d has serial %d", i, r.Serial)
		}
		kept := g.Records()
		if want := min(i+1, 3); len(kept) != want {
			t.Fatalf("%d records kept, want %d", len(kept), want)
		}
		for j, r := range kept {
			if want := uint64(i + 1 - len(kept) + j + 1); r.Serial != want {
				t.Errorf("after %d: place %d has serial %d, want %d", i+1, j, r.Serial, want)
			}
		}
	}
}

func TestRecordsAreCopies(t *testing.T) {
	g := NewRing(2)
	g.Add(Record{Name: "a"})
	kept := g.Records()
	g.Add(Record{Name: "b"})
	g.Add(Record{Name: "c"})
	if kept[0].Name != "a" {
		t.Errorf("an earlier copy changed to %q", kept[0].Name)
	}
}

func TestTheZeroRingKeepsNothing(t *testing.T) {
	var g Ring
	if r := g.Add(Record{}); r.Serial != 1 || len(g.Records()) != 0 {
		t.Errorf("serial %d, %d kept", r.Serial, len(g.Records()))
	}
}
