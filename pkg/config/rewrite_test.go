package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRewriteChangesNothingElse(t *testing.T) {
	const before = `# of both
node: s1      # here
services:
  # the first
  - name: größer
    vrrp: {interface: eth1, priority: 150, vrid: 51} # two
  - name: b

    vrrp:
      # the link
      interface: eth1
      priority:   "100"   # quoted
      degraded: {lower_by: 50}
  - {name: c, vrrp: {vrid: 3}}
  - name: d
    vrrp:
      vrid: 4
`
	const after = `# of both
node: s2      # here
services:
  # the first
  - name: größer
    vrrp: {degraded: {lower_by: 100}, interface: eth1, priority: 190, vrid: 51} # two
  - name: b

    vrrp:
      # the link
      interface: eth1
      priority:   200   # quoted
      degraded: {lower_by: 100}
  - {name: c, vrrp: {priority: 180, vrid: 3}}
  - name: d
    vrrp:
      priority: 170
      degraded: {lower_by: 100}
      vrid: 4
`
	for _, mark := range []string{"", "\ufeff"} {
		got, err := Rewrite([]byte(mark+before), map[string]string{
			"node":                               "s2",
			"services[0].vrrp.priority":          "190",
			"services[0].vrrp.degraded.lower_by": "100",
			"services[1].vrrp.priority":          "200",
			"services[1].vrrp.degraded.lower_by": "100",
			"services[2].vrrp.priority":          "180",
			"services[3].vrrp.degraded.lower_by": "100",
			"services[3].vrrp.priority":          "170",
		})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(after, string(got)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func TestRewriteSaysWhatItCannot(t *testing.T) {
	for path, want := range map[string]string{
		"services[1].vrrp.priority":          "services[1].vrrp.priority: there is no services[1]; write 7 there",
		"checks[0].interval":                 "checks[0].interval: there is no checks; write 7 there",
		"services[0].name.first":             "services[0].name.first: there is no mapping for first; write 7 there",
		"services[0].vrrp.degraded.lower_by": "services[0].vrrp.degraded.lower_by: there is no mapping for lower_by; write 7 there",
	} {
		_, err := Rewrite([]byte("services:\n  - name: a\n    vrrp: {degraded: {}}\n"), map[string]string{path: "7"})
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if _, err := Rewrite([]byte("services: ["), map[string]string{"node": "s1"}); err == nil {
		t.Error("what is no YAML is rewritten")
	}
}
