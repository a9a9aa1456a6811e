package policy

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite docs/reference/reasons.md")

// The reference is what the comments of the set say, so that it cannot lag behind.
func TestReasonsAreDocumented(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "reason.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("# Reasons\n\nThe closed set of reasons that `anyvip status`, its JSON (in capitals), the API and events give for a decision. Generated from `pkg/policy/reason.go`.\n\n" +
		"| Reason | Meaning |\n|---|---|\n")
	code := CodeNone
	ast.Inspect(f, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(v.Names[0].Name, "Code") {
			return true
		}
		if code != CodeNone {
			meaning := strings.TrimSpace(v.Comment.Text())
			if meaning == "" {
				t.Errorf("%s has no comment", v.Names[0].Name)
			}
			fmt.Fprintf(&b, "| `%s` | %s |\n", code, meaning)
		}
		code++
		return true
	})
	if int(code) != len(codeNames) {
		t.Errorf("%d constants and %d names", code, len(codeNames))
	}
	const file = "../../docs/reference/reasons.md"
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	old, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(old), b.String()); diff != "" {
		t.Errorf("%s is stale; run go test ./pkg/policy -update (-file +generated):\n%s", file, diff)
	}
}
