package agent

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/anyvip/anyvip/"

// floors are the packages of the daemon, lowest first. A package imports only
// packages of lower floors, or parts of itself that are named in sameHouse.
var floors = [][]string{
	{"pkg/vip", "pkg/durable", "pkg/child", "pkg/latest"},
	{"pkg/sockdiag"},
	{"pkg/health", "checks", "pkg/kernel", "pkg/hint", "pkg/flow", "pkg/event", "pkg/balance", "bgp/neighbor"},
	{"pkg/policy", "bgp", "vrrp"},
	{"bgp/gobgp", "vrrp/wire", "pkg/status", "pkg/intent", "pkg/memory", "pkg/hook"},
	{"pkg/metrics", "pkg/web", "pkg/api"},
	{"pkg/config"},
	{"pkg/agent"},
	{"cmd/anyvip"},
}

// only narrows what a package may import of ours, beyond its floor.
var only = map[string][]string{
	"pkg/policy":   {"pkg/vip", "pkg/health"},
	"bgp":          {"pkg/vip"},
	"vrrp":         {"pkg/vip", "pkg/latest"},
	"vrrp/wire":    {"vrrp", "pkg/vip", "pkg/latest"},
	"bgp/neighbor": {"pkg/vip", "pkg/latest"},
	"pkg/balance":  {"pkg/vip"},
}

// doors are third-party libraries and who may open them. What stands in no
// door may be imported by nobody.
var doors = map[string][]string{
	"github.com/osrg/gobgp/v4":            {"bgp/gobgp", "lab"},
	"github.com/vishvananda/netlink":      {"pkg/kernel", "pkg/sockdiag", "lab"},
	"github.com/mdlayher/ndp":             {"bgp/neighbor", "vrrp/wire"},
	"github.com/mdlayher/arp":             {"vrrp/wire"},
	"google.golang.org/grpc":              {"pkg/api", "checks"},
	"google.golang.org/protobuf":          {"pkg/api", "cmd/anyvip"},
	"github.com/prometheus/client_golang": {"pkg/metrics"},
	"github.com/miekg/dns":                {"checks"},
	"github.com/jackc/pgx/v5":             {"checks"},
	"github.com/spf13/cobra":              {"cmd/anyvip"},
	"github.com/spf13/pflag":              {"cmd/anyvip", "pkg/config"},
	"github.com/spf13/viper":              {"pkg/config"},
	"github.com/goccy/go-yaml":            {"pkg/config", "lab"},
	"github.com/coreos/go-systemd/v22":    {"pkg/agent"},
	"github.com/godbus/dbus/v5":           {"pkg/hint"},
	"github.com/fsnotify/fsnotify":        {"pkg/hint"},
	"golang.org/x/net":                    {"bgp/neighbor", "vrrp/wire"},
	"golang.org/x/sync":                   {"pkg/agent", "pkg/hint", "bgp", "checks", "pkg/kernel", "pkg/api", "pkg/web", "lab"},
	"golang.org/x/sys":                    {"pkg/durable", "pkg/child", "pkg/kernel", "pkg/hint", "pkg/sockdiag", "pkg/agent", "pkg/api", "checks", "bgp/gobgp", "vrrp/wire", "lab", "cmd/anyvip"},
}

// pure packages take values and return values.
var pure = []string{"pkg/vip", "pkg/health", "pkg/policy", "pkg/event", "pkg/balance"}

// pureFiles are those of a package that has a goroutine in others.
var pureFiles = map[string][]string{"vrrp": {"advertisement.go", "border.go", "deadlines.go", "drop.go", "machine.go", "others.go", "router.go"}}

// noSystem are packages that reach nothing but through a border.
var noSystem = []string{"vrrp"}

var impure = []string{"net", "os", "os/exec", "syscall", "sync", "sync/atomic", "log", "log/slog", "context", "io", "math/rand", "math/rand/v2", "runtime", "unsafe"}

type goPackage struct {
	Dir        string
	ImportPath string
	Imports    []string
	GoFiles    []string
}

func packages(t *testing.T) []goPackage {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=Dir,ImportPath,Imports,GoFiles", module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []goPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := dec.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		p.ImportPath = strings.TrimPrefix(p.ImportPath, module)
		all = append(all, p)
	}
	if len(all) < len(floors) {
		t.Fatalf("go list found only %d packages", len(all))
	}
	return all
}

// standing is the package of the floors that p belongs to: itself, or the nearest
// parent, so that a package may have internal parts.
func standing(p string) (string, int) {
	for q := p; q != "."; q = filepath.Dir(q) {
		for i, f := range floors {
			if slices.Contains(f, q) {
				return q, i
			}
		}
	}
	return "", -1
}

func inLab(p string) bool { return p == "lab" || strings.HasPrefix(p, "lab/") || p == "cmd/anyvip-lab" }

func TestImportsFollowTheFloors(t *testing.T) {
	for _, p := range packages(t) {
		own, floor := standing(p.ImportPath)
		for _, imp := range p.Imports {
			if !strings.HasPrefix(imp, module) {
				continue
			}
			imp = strings.TrimPrefix(imp, module)
			if err := allowed(p.ImportPath, own, floor, imp); err != nil {
				t.Error(err)
			}
		}
		if floor < 0 && !inLab(p.ImportPath) {
			t.Errorf("%s stands on no floor: give it one in floors", p.ImportPath)
		}
	}
}

func allowed(path, own string, floor int, imp string) error {
	target, targetFloor := standing(imp)
	switch {
	case inLab(path) && inLab(imp), own != "" && target == own:
		return nil
	case inLab(path):
		return fmt.Errorf("%s imports %s: the lab knows nothing of the daemon", path, imp)
	case inLab(imp):
		return fmt.Errorf("%s imports %s: only tests may use the lab", path, imp)
	case targetFloor >= floor:
		return fmt.Errorf("%s imports %s, which is not on a lower floor", path, imp)
	case only[own] != nil && !slices.Contains(only[own], target):
		return fmt.Errorf("%s imports %s; it may import only %v", path, imp, only[own])
	}
	return nil
}

func TestEachLibraryHasItsDoors(t *testing.T) {
	for _, p := range packages(t) {
		own, _ := standing(p.ImportPath)
		if inLab(p.ImportPath) {
			own = "lab"
		}
		for _, imp := range p.Imports {
			if strings.HasPrefix(imp, module) || !strings.Contains(strings.SplitN(imp, "/", 2)[0], ".") {
				continue // ours, or the standard library
			}
			open := false
			for lib, who := range doors {
				if (imp == lib || strings.HasPrefix(imp, lib+"/")) && slices.Contains(who, own) {
					open = true
				}
			}
			if !open {
				t.Errorf("%s imports %s: that door is not open to it", p.ImportPath, imp)
			}
		}
	}
}

func TestThePureCoreIsPure(t *testing.T) {
	seen := 0
	for _, p := range packages(t) {
		for _, f := range pureFiles[p.ImportPath] {
			for _, what := range impureCalls(t, filepath.Join(p.Dir, f)) {
				t.Errorf("%s/%s: %s: it is pure", p.ImportPath, f, what)
			}
		}
		for _, imp := range []string{"net", "os", "syscall"} {
			if slices.Contains(noSystem, p.ImportPath) && slices.Contains(p.Imports, imp) {
				t.Errorf("%s imports %s: it has a border for that", p.ImportPath, imp)
			}
		}
		if !slices.Contains(pure, p.ImportPath) {
			continue
		}
		seen++
		for _, imp := range p.Imports {
			if slices.Contains(impure, imp) {
				t.Errorf("%s imports %s: it is pure", p.ImportPath, imp)
			}
		}
		for _, f := range p.GoFiles {
			for _, what := range impureCalls(t, filepath.Join(p.Dir, f)) {
				t.Errorf("%s/%s: %s: it is pure", p.ImportPath, f, what)
			}
		}
	}
	if seen != len(pure) {
		t.Errorf("saw %d of %d pure packages", seen, len(pure))
	}
}

// impureCalls finds goroutines, channels and the clock.
func impureCalls(t *testing.T, file string) (found []string) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	clock := []string{"Now", "Since", "Until", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick", "Sleep"}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			found = append(found, fmt.Sprintf("line %d starts a goroutine", fset.Position(n.Pos()).Line))
		case *ast.ChanType:
			found = append(found, fmt.Sprintf("line %d has a channel", fset.Position(n.Pos()).Line))
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clock, n.Sel.Name) {
				found = append(found, fmt.Sprintf("line %d reads the clock: time.%s", fset.Position(n.Pos()).Line, n.Sel.Name))
			}
		}
		return true
	})
	return found
}
