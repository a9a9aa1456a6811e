package config

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/anyvip/anyvip/checks"
)

// What no file in testdata can hold, or would hold badly.
func TestBytesThatAreNoConfiguration(t *testing.T) {
	for _, tt := range []struct{ name, data, want string }{
		{"nothing", "", "1:1: is empty"},
		{"white space", " \n\t\r\n", "1:1: is empty"},
		{"comments", "# nothing yet\n", "1:1: is empty"},
		{"a document mark", "---\n", "1:1: is empty"},
		{"null", "~\n", "1:1: has no value"},
		{"Latin-1", "version: 1\nnode: caf\xe9\n", "2:10: byte 0xe9 is not UTF-8 text"},
		{"a cut rune, columns in characters", "node: \"éé\xc3\"\n", "1:10: byte 0xc3 is not UTF-8 text"},
		{"UTF-16", "\xff\xfev\x00e\x00", "1:1: byte 0xff is not UTF-8 text"},
		{"a zero byte", "node: \x00\n", "1:7: control character U+0000; the file must be UTF-8 text"},
		{"10 MB", strings.Repeat("# 10 MB\n", 10<<20/8), "1:1: is larger than 1048576 bytes, which no configuration is"},
		{"deep lists", strings.Repeat("[", 100_000), "1:65: nests deeper than 64"},
		{"deep mappings", strings.Repeat("{a: ", 100_000), "1:257: nests deeper than 64"},
		{"deep lists in lines", strings.Repeat("- ", 100_000), "1:129: nests deeper than 64"},
		{"anchors on anchors", strings.Repeat("&a ", 100_000), "1:193: nests deeper than 64"},
		{"many words", "node: [" + strings.Repeat("a,", 150_000) + "]", "has more than 200000 words"},
		{"many keys", strings.Repeat("a: 1\n", 100_000), "1001:2: has more than 1000 keys in one mapping"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			began := time.Now()
			lines := complaints(t, tt.data)
			if len(lines) != 1 || !strings.Contains(lines[0], tt.want) {
				t.Errorf("got  %s\nwant %s alone", lines, tt.want)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

func TestLineEndsAndMarksOfEditorsMakeNoDifference(t *testing.T) {
	text := section("bgp") + section("checks") + section("services")
	plain := mustParse(t, text)
	for name, variant := range map[string]string{
		"CRLF":               strings.ReplaceAll(text, "\n", "\r\n"),
		"byte order mark":    "\ufeff" + text,
		"no last line end":   strings.TrimSuffix(text, "\n"),
		"document marks":     "---\n" + text + "...\n",
		"tab before comment": strings.Replace(text, "asn: 65101", "asn: 65101\t# ours", 1),
	} {
		if !mustParse(t, variant).Equal(plain) {
			t.Errorf("%s: changes the configuration", name)
		}
	}
}

// A large but honest configuration is read in a fraction of a second.
func TestAThousandServicesAreReadFast(t *testing.T) {
	var b strings.Builder
	b.WriteString(strings.Replace(section("bgp"), "192.0.2.0/24", "10.0.0.0/8", 1) + "checks:\n")
	for i := range 1000 {
		fmt.Fprintf(&b, "  - name: c%d\n    http: {url: \"http://127.0.0.1:8080/%d\", status: [200]}\n    interval: 1s\n    timeout: 500ms\n", i, i)
	}
	b.WriteString("services:\n")
	for i := range 1000 {
		fmt.Fprintf(&b, "  - name: s%d\n    addresses: [10.%d.%d.7]\n    require: {all: [c%d]}\n    ecmp: {communities: [\"65000:100\"]}\n", i, i/256, i%256, i)
	}
	began := time.Now()
	c := mustParse(t, b.String())
	if took := time.Since(began); len(c.Services) != 1000 || took > 5*time.Second {
		t.Errorf("%d services in %v", len(c.Services), took)
	}
}

func TestDefaultsStandWhereNothingIsSaid(t *testing.T) {
	c := mustParse(t, section("bgp")+section("checks")+section("services"))
	type defaults struct {
		Version           int
		Node              string
		Port              uint16
		HoldTime          time.Duration
		Interval          time.Duration
		Method            string
		MED, DegradedMED  uint32
		NoCommunities     bool
		Socket, Listen    string
		RecoveryDelay     time.Duration
		LocalAddressIsSet bool
	}
	ecmp, http := c.Services[0].ECMP, c.Checks[0].Kind.(*checks.HTTP)
	got := defaults{c.Version, c.Node, c.BGP.Peers[0].Port, c.BGP.Peers[0].HoldTime, c.Checks[0].Interval, http.Method, ecmp.MED,
		*ecmp.Degraded.MED, ecmp.Degraded.Communities == nil, c.API.Socket, c.HTTP.Listen, c.Services[0].RecoveryDelay,
		c.BGP.Peers[0].LocalAddress.IsValid()}
	want := defaults{1, "host", 179, 9 * time.Second, time.Second, "GET", 0, 100, true, "/run/anyvip/anyvip.sock",
		"127.0.0.1:9473", 5 * time.Second, false}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWhatIsSaidReplacesDefaults(t *testing.T) {
	c := mustParse(t, section("bgp")+section("checks")+section("services")+
		"    ecmp: {degraded: {med: 0, communities: []}}\nnode: s7\napi: {socket: /tmp/s}\n")
	d := c.Services[0].ECMP.Degraded
	if *d.MED != 0 || d.Communities == nil || *d.Prepend != 3 || c.Node != "s7" || c.API.Socket != "/tmp/s" {
		t.Errorf("got MED %d, communities %v, prepend %d, node %s, socket %s", *d.MED, d.Communities, *d.Prepend, c.Node, c.API.Socket)
	}
}

func mustParse(t *testing.T, data string) *Config {
	t.Helper()
	c, _, err := Parse("f", []byte(data), "host")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Each of viper's traps (FACTS.md) is a thing that this decoder does right.
func TestTrapsOfViper(t *testing.T) {
	t.Run("a user's words keep their case and their dots", func(t *testing.T) {
		c := mustParse(t, section("bgp")+`checks:
  - name: web.v1
    http:
      url: "http://127.0.0.1/Health"
      headers: [{name: X-Trace.Id, value: AbC}]
`+strings.Replace(section("services"), "all: [web]", "all: [web.v1]", 1))
		http := c.Checks[0].Kind.(*checks.HTTP)
		if h := http.Headers[0]; h.Name != "X-Trace.Id" || h.Value != "AbC" || c.Checks[0].Name != "web.v1" {
			t.Errorf("got check %s, header %+v", c.Checks[0].Name, h)
		}
	})
	for _, tt := range []struct{ name, data, want string }{
		{"a bare 5 is no duration", strings.Replace(section("checks"), "http:", "interval: 5\n    http:", 1), "has no unit; write 5s or 5ms"},
		{"true is no number", "version: true\n", "is not a whole number"},
		{"an unknown key is an error", "versio: 1\n", "unknown key; did you mean version?"},
		{"a key in capitals is an unknown key", "NODE: s1\n", "NODE: unknown key; did you mean node?"},
		{"a dot in a key splits nothing", "api.socket: /tmp/s\n", `["api.socket"]: unknown key`},
		{"a second document is an error", "node: s1\n---\nnode: s2\n", "3:1: a second YAML document starts here"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := strings.Join(complaints(t, tt.data), "\n"); !strings.Contains(got, tt.want) {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// FuzzParse holds that no input makes the decoder panic, run long or report a
// problem that is nowhere, and that what it takes once it takes again.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/bad/*.yaml", "testdata/good/*.yaml", "reference.yaml"} {
		for _, file := range glob(f, pattern) {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		began := time.Now()
		c, _, err := Parse("f", data, "host")
		if took := time.Since(began); took > 10*time.Second {
			t.Fatalf("took %v", took)
		}
		if err != nil {
			var invalid *Invalid
			if !errors.As(err, &invalid) {
				t.Fatalf("%T is no *Invalid", err)
			}
			problems := invalid.Problems
			if lines := strings.Count(err.Error(), "\n") + 1; lines != len(problems) {
				t.Fatalf("%d lines for %d problems", lines, len(problems))
			}
			for _, p := range problems {
				if p.Line < 1 || p.Column < 1 || p.Message == "" {
					t.Fatalf("problem without a place or a text: %+v", p)
				}
			}
			return
		}
		for _, s := range c.Services {
			for _, h := range s.Addresses {
				if !h.IsSingleIP() || !allowed(c.BGP.AllowedPrefixes, h.Addr()) {
					t.Fatalf("accepted the VIP %s with allowed prefixes %s", h, c.BGP.AllowedPrefixes)
				}
			}
		}
		if again, _, err := Parse("f", data, "host"); err != nil || !again.Equal(c) {
			t.Fatalf("read differently the second time: %v", err)
		}
	})
}

func allowed(ps []netip.Prefix, a netip.Addr) bool {
	for _, p := range ps {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
