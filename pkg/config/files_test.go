package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite what bad files state, the reference and the table")

// Each bad file starts with the errors that it must give, one "# want: " line
// each, without the file's name. -update rewrites these lines.
const want = "# want: "

func TestBadFilesGiveTheirErrors(t *testing.T) {
	for _, file := range glob(t, "testdata/bad/*.yaml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if *update {
				data = rewrite(t, file, string(data))
			}
			wanted, _ := split(string(data))
			got := complaints(t, string(data))
			if diff := cmp.Diff(wanted, got); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
}

// split separates the stated errors from the rest.
func split(data string) (wanted []string, rest string) {
	for strings.HasPrefix(data, want) {
		line, after, _ := strings.Cut(data, "\n")
		wanted = append(wanted, strings.TrimPrefix(line, want))
		data = after
	}
	return wanted, data
}

// complaints are the lines of the error that data gives.
func complaints(t *testing.T, data string) []string {
	t.Helper()
	c, warnings, err := Parse("f", []byte(data), "host")
	var invalid *Invalid
	if !errors.As(err, &invalid) || c != nil || warnings != nil {
		t.Fatalf("Parse gave %v, %v, %v; want a lone *Invalid", c, warnings, err)
	}
	lines := strings.Split(strings.ReplaceAll("\n"+err.Error(), "\nf:", "\n"), "\n")[1:]
	if len(lines) != len(invalid.Problems) {
		t.Errorf("%d problems in %d lines", len(invalid.Problems), len(lines))
	}
	return lines
}

// rewrite states the errors that file gives. How many there are does not depend
// on the lines that state them, but their positions do.
func rewrite(t *testing.T, file, data string) []byte {
	t.Helper()
	_, rest := split(data)
	n := len(complaints(t, rest))
	var b strings.Builder
	for _, line := range complaints(t, strings.Repeat("#\n", n)+rest) {
		b.WriteString(want + line + "\n")
	}
	b.WriteString(rest)
	if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return []byte(b.String())
}

func TestTenMistakesAreTenErrors(t *testing.T) {
	data, err := os.ReadFile("testdata/bad/ten-mistakes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = Parse("ten-mistakes.yaml", data, "host")
	var invalid *Invalid
	if !errors.As(err, &invalid) || len(invalid.Problems) != 10 {
		t.Fatalf("got %v, want ten problems", err)
	}
	for _, p := range invalid.Problems {
		if p.Line == 0 || p.Column == 0 || p.Path == "" {
			t.Errorf("%v has no place", p)
		}
	}
}

// Files that an operator is shown load without a problem or a warning.
func TestGoodFilesLoad(t *testing.T) {
	files := glob(t, "testdata/good/*.yaml")
	files = append(files, glob(t, "../../examples/*/*.yaml")...)
	for _, file := range append(files, "reference.yaml") {
		if strings.HasSuffix(file, ".clab.yml") {
			continue
		}
		t.Run(file, func(t *testing.T) {
			c, warnings, err := Load(file, "host")
			if err != nil || len(warnings) > 0 {
				t.Fatalf("problems: %v\nwarnings: %v", err, warnings)
			}
			if len(c.Services) == 0 {
				t.Error("the file has no services, so it shows little")
			}
		})
	}
}

func TestWarningsComeWithAUsableConfiguration(t *testing.T) {
	for _, tt := range []struct {
		name, data string
		want       []string
	}{
		{"a check that nobody requires", section("bgp") + section("checks") +
			"  - name: spare\n    tcp: {address: \"127.0.0.1:81\"}\n" + section("services"), []string{
			"9:11: checks[1].name: spare: is required by no service: it is probed and shown, but decides nothing",
		}},
		{"every check required", section("bgp") + section("checks") + section("services"), nil},
		{"no services", section("bgp") + section("checks"), []string{
			"1:1: services: is empty: nothing will be announced",
			"7:11: checks[0].name: web: is required by no service: it is probed and shown, but decides nothing",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, warnings, err := Parse("f", []byte(tt.data), "host")
			if err != nil || c == nil {
				t.Fatal(err)
			}
			var got []string
			for _, w := range warnings {
				got = append(got, w.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
}

// section is a valid section of a file.
func section(name string) string {
	return map[string]string{
		"bgp": `bgp:
  asn: 65101
  router_id: 10.0.1.2
  allowed_prefixes: [192.0.2.0/24]
  peers: [{name: tor-a, address: 10.0.1.1, asn: 65000}]
`,
		"checks": `checks:
  - name: web
    http: {url: "http://127.0.0.1:8080/"}
`,
		"services": `services:
  - name: web
    addresses: [192.0.2.10]
    require: {all: [web]}
`,
	}[name]
}

func glob(t testing.TB, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %d files, %v", pattern, len(files), err)
	}
	return files
}
