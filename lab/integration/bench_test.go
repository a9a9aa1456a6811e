package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/anyvip/anyvip/lab/bench"
	"github.com/anyvip/anyvip/lab/labtest"
)

// One round of everything: that the program measures and tells it. What it
// measured in a test means nothing.
func TestBenchMeasuresAndPrintsATableForEachQuestion(t *testing.T) {
	labtest.Need(t, "namespaces", "ip", "frr", "bird", "keepalived")
	if err := bench.Missing(); err != nil {
		labtest.Missing(t, "the programs to compare with", err)
	}
	document, temporary := filepath.Join(t.TempDir(), "benchmarks.md"), t.TempDir()
	t.Setenv("TMPDIR", temporary)
	const micro = "BenchmarkDecide/1000-services-2000-checks-2 1 2 ns/op\nBenchmarkAResultThatChangesNothing-2 1 2 ns/op 0 B/op 0 allocs/op\n"
	var out strings.Builder
	err := bench.Run(t.Context(), bench.Options{Size: bench.Smoke, Binaries: filepath.Dir(product(t)), Out: &out, Document: document, Micro: micro})
	t.Log("\n" + out.String())
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"\n- Machine: ", "\n## Targets\n", "| Target ", "| a result that changes nothing ", "    BenchmarkAResultThatChangesNothing-2 1 2 ns/op"} {
		if !strings.Contains(string(text), part) {
			t.Errorf("the document has no %q", part)
		}
	}
	for _, server := range []string{"anyvip", "BIRD", "ExaBGP", "gobgpd", "resilient group", "keepalived"} {
		if !strings.Contains(out.String(), "| "+server+" ") {
			t.Errorf("no table has a row for %s", server)
		}
	}
	if n := strings.Count(string(text), "\n## "); n != 12 {
		t.Errorf("%d sections, want targets, ten questions and the benchmarks of parts", n)
	}
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
