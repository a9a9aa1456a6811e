package bench

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAPartialRunKeepsTheRestOfTheDocument(t *testing.T) {
	file := filepath.Join(t.TempDir(), "benchmarks.md")
	full := bench{Options: Options{Out: io.Discard, Document: file, Micro: "BenchmarkX 1 2 ns/op\n"}}
	full.aim("wire", 1, 2, " ms", "")
	first, second := table{title: "First", method: "How.", columns: []string{"a"}}, table{title: "Second", method: "How.", columns: []string{"a"}}
	first.add("1")
	second.add("2")
	full.tables = []table{first}
	if err := full.write([]string{"Date: today"}); err != nil {
		t.Fatal(err)
	}
	partial := bench{Options: Options{Out: io.Discard, Document: file, Only: "second"}, tables: []table{second}}
	partial.aim("more", 3, 2, " ms", "It is.")
	for range 2 { // the second time it is there
		if err := partial.write([]string{"Date: tomorrow", "Programs: p"}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := documentHead + `- Date: today

## Targets

| Target | Limit      | Measured | Verdict |
|--------|------------|---------:|---------|
| wire   | under 2 ms |  1.00 ms | met     |
| more   | under 2 ms |  3.00 ms | missed  |

- Missed: more. It is.

## First

How.

| a |
|--:|
| 1 |

## Second

Measured anew. Date: tomorrow; Programs: p.

How.

| a |
|--:|
| 2 |

## ` + microTitle + `

` + microText("BenchmarkX 1 2 ns/op\n")
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("document (-want +got):\n%s", diff)
	}
}
