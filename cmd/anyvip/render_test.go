package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTheCrossedExampleIsWhatTheCommandsPrint holds the files of examples/vrrp-crossed to
// the calls that its README has.
func TestTheCrossedExampleIsWhatTheCommandsPrint(t *testing.T) {
	t.Chdir("../../examples/vrrp-crossed")
	for _, tt := range []struct{ call, file string }{
		{"render balance -c anyvip.yaml --nodes s1,s2 --node s1", "anyvip.yaml"},
		{"render balance -c anyvip.yaml --nodes s1,s2 --node s2", "s2-anyvip.yaml"},
		{"render dns -c anyvip.yaml --name web.example.org --ttl 60", "web.zone"},
	} {
		want, err := os.ReadFile(tt.file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), printed(t, tt.call)); diff != "" {
			t.Errorf("%s is not what `anyvip %s` prints (-file +printed):\n%s", tt.file, tt.call, diff)
		}
	}
}

// TestThePagesShowWhatTheCommandsPrint holds pages to calls that they show.
func TestThePagesShowWhatTheCommandsPrint(t *testing.T) {
	t.Chdir("../../examples/vrrp-crossed")
	for _, tt := range []struct{ page, call string }{
		{"README.md", "render balance -c anyvip.yaml --nodes s1,s2"},
		{"../../docs/operations/vrrp.md", "render balance --nodes s1,s2,s3,s4 --interface eth1 --vips 10.0.5.101,10.0.5.102,10.0.5.103,10.0.5.104,10.0.5.105,10.0.5.106=51"},
	} {
		page, err := os.ReadFile(tt.page)
		if err != nil {
			t.Fatal(err)
		}
		want := "    $ anyvip " + tt.call + "\n"
		for line := range strings.Lines(printed(t, tt.call)) {
			want += strings.TrimRight("    "+line, " \n") + "\n"
		}
		if !strings.Contains(string(page), want) {
			t.Errorf("%s does not show\n%s", tt.page, want)
		}
	}
}

// printed is what a call prints.
func printed(t *testing.T, call string) string {
	t.Helper()
	var out bytes.Buffer
	root := newRootCommand()
	root.SetArgs(strings.Fields(call))
	root.SetOut(&out)
	if err := root.Execute(); err != nil {
		t.Fatalf("anyvip %s: %v", call, err)
	}
	return out.String()
}
