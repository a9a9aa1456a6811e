package config

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReferenceAndTableAreUpToDate(t *testing.T) {
	for file, text := range map[string]string{
		"reference.yaml":                 Reference(),
		"../../docs/reference/config.md": Table(),
	} {
		if *update {
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		old, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(old), text); diff != "" {
			t.Errorf("%s is stale; run go test ./pkg/config -update (-file +generated):\n%s", file, diff)
		}
	}
}

// The reference gives defaults: saying only what must be said means the same.
func TestReferenceGivesTheDefaults(t *testing.T) {
	full := mustParse(t, Reference())
	least := mustParse(t, `
node: s1
bgp:
  asn: 65101
  router_id: 10.0.1.2
  allowed_prefixes: [192.0.2.0/24, 2001:db8:10::/48]
  peers:
    - {name: tor-a, address: 10.0.1.1, asn: 65000}
checks:
  - {name: dns, dns: {server: "127.0.0.1:53", name: www.example.net}}
  - {name: exec, exec: {command: [/usr/local/bin/check-web, --quick]}}
  - {name: file, file: {path: /run/web/ready}}
  - {name: heartbeat, heartbeat: {ttl: 5s}}
  - {name: http, http: {url: "http://127.0.0.1:8080/healthz"}}
  - {name: postgres, postgres: {address: /var/run/postgresql, user: anyvip}}
  - {name: tcp, tcp: {address: "127.0.0.1:8080"}}
services:
  - name: web
    addresses: [192.0.2.10, 2001:db8:10::10]
    require: {all: [dns, heartbeat, http, postgres, {any: [exec, file, tcp]}]}
hooks:
  - {name: pager, command: [/usr/local/bin/page]}
`)
	if !full.Equal(least) {
		t.Errorf("full:  %+v\nleast: %+v", full, least)
	}
}
