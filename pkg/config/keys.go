package config

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/anyvip/anyvip/bgp"
	"github.com/anyvip/anyvip/checks"
	"github.com/anyvip/anyvip/pkg/policy"
	"github.com/anyvip/anyvip/pkg/vip"
)

// key is one key of the document with everything that its tags say: what the
// reference and the table of defaults are written from.
type key struct {
	path   string // such as bgp.peers[].name
	name   string
	of     string // what it holds, in words
	preset string // its default, as written; empty: none
	sample string // where it must be given: what the reference gives
	doc    string
	kind   bool  // one of the kinds of checks
	list   bool  // inner describes each item
	absent bool  // nothing, not a mapping of defaults, where it is not given
	inner  []key // of a mapping, or of a list of mappings
}

// samples make the reference a valid document: one for each key that has to be
// given. A new key without a default that can be left out needs none.
func samples() map[string]string {
	return map[string]string{
		"node":                         "s1",
		"bgp.asn":                      "65101",
		"bgp.router_id":                "10.0.1.2",
		"bgp.allowed_prefixes":         "[192.0.2.0/24, 2001:db8:10::/48]",
		"bgp.peers[].name":             "tor-a",
		"bgp.peers[].address":          "10.0.1.1",
		"bgp.peers[].asn":              "65000",
		"checks[].dns.name":            "www.example.net",
		"checks[].heartbeat.ttl":       "5s",
		"checks[].dns.server":          "127.0.0.1:53",
		"checks[].exec.command":        "[/usr/local/bin/check-web, --quick]",
		"checks[].file.path":           "/run/web/ready",
		"checks[].http.url":            "http://127.0.0.1:8080/healthz",
		"checks[].name":                "web",
		"checks[].postgres.address":    "/var/run/postgresql",
		"checks[].postgres.user":       "anyvip",
		"checks[].tcp.address":         "127.0.0.1:8080",
		"hooks[].name":                 "pager",
		"hooks[].command":              "[/usr/local/bin/page]",
		"services[].pre_drain.command": "[/usr/local/bin/end-sessions]",
		"services[].addresses":         "[192.0.2.10, 2001:db8:10::10]",
		"services[].name":              "web",
		"services[].require":           "{all: [dns, heartbeat, http, postgres, {any: [exec, file, tcp]}]}",
	}
}

// keys returns what the document may hold.
func keys() []key { return keysOf(reflect.TypeFor[Config](), "", samples()) }

func keysOf(t reflect.Type, path string, samples map[string]string) []key {
	var ks []key
	for _, f := range fields(t) {
		if !f.kind {
			ks = append(ks, keyOf(f, t.Field(f.index).Type, join(path, f.key), samples))
			continue
		}
		kinds := checks.Kinds()
		for _, name := range slices.Sorted(maps.Keys(kinds)) {
			f.key = name
			k := keyOf(f, reflect.TypeOf(kinds[name]()).Elem(), join(path, name), samples)
			k.kind, k.doc = true, "a kind of check; every check has "+f.doc
			ks = append(ks, k)
		}
	}
	return ks
}

func keyOf(f field, t reflect.Type, path string, samples map[string]string) key {
	k := key{path: path, name: f.key, of: holds(t, f), preset: f.byDefault, sample: samples[path], doc: f.doc}
	if t.Kind() == reflect.Pointer {
		t, k.absent = t.Elem(), f.byDefault == ""
	}
	switch {
	case wordly(t):
	case t.Kind() == reflect.Struct:
		k.inner = keysOf(t, path, samples)
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct && !wordly(t.Elem()):
		k.list = true
		k.inner = keysOf(t.Elem(), path+"[]", samples)
	case t.Kind() == reflect.Bool && f.byDefault == "":
		k.preset = "false"
	case numeric(t) && f.byDefault == "" && k.sample == "":
		k.preset = "0"
	}
	return k
}

func numeric(t reflect.Type) bool {
	v := reflect.Zero(t)
	return t != durationType && (v.CanInt() || v.CanUint())
}

// holds says in words what a type takes.
func holds(t reflect.Type, f field) string {
	switch t {
	case durationType:
		return "duration"
	case reflect.TypeFor[netip.Addr](), reflect.TypeFor[policy.HostPrefix]():
		return "address"
	case reflect.TypeFor[netip.Prefix]():
		return "prefix"
	case reflect.TypeFor[bgp.RemoteASN]():
		return "AS number, or external"
	case reflect.TypeFor[vip.Community](), reflect.TypeFor[vip.LargeCommunity]():
		return "community"
	case reflect.TypeFor[policy.Require]():
		return "rule"
	}
	switch {
	case t.Kind() == reflect.Pointer:
		return holds(t.Elem(), f)
	case wordly(t):
		return "word"
	case t.Kind() == reflect.Struct:
		return "mapping"
	case t.Kind() == reflect.Slice:
		return "list of " + holds(t.Elem(), f)
	case t.Kind() == reflect.Bool:
		return "true or false"
	case numeric(t):
		low, high := bounds(t, f)
		if reflect.Zero(t).CanInt() && f.min+f.max == "" {
			return "number"
		}
		return fmt.Sprintf("%d to %d", low, high)
	}
	return strings.Replace(t.Kind().String(), "string", "text", 1)
}
