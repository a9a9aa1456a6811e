package lab

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// use says what this package does with a key that containerlab knows.
type use int

const (
	unknown use = iota
	acted       // the decoder reads it
	ignored     // means nothing here and harms nothing
	refused     // means something that this runner cannot do
)

// nodeKeys are the keys of a node, and of defaults, kinds and groups.
var nodeKeys = map[string]use{
	"kind":          acted,
	"group":         acted,
	"image":         acted,
	"entrypoint":    acted,
	"cmd":           acted,
	"binds":         acted,
	"exec":          acted,
	"env":           acted,
	"sysctls":       acted,
	"hostname":      acted,
	"startup-delay": acted,

	"aliases":           ignored,
	"auto-remove":       ignored,
	"cap-add":           ignored, // a node has every capability over its own namespaces
	"cgroup-parent":     ignored,
	"cgroupns-mode":     ignored,
	"cpu":               ignored,
	"cpu-set":           ignored,
	"credentials":       ignored,
	"healthcheck":       ignored,
	"image-pull-policy": ignored,
	"labels":            ignored,
	"memory":            ignored,
	"mgmt-ipv4":         ignored,
	"mgmt-ipv6":         ignored,
	"ports":             ignored, // there is no management network to publish them from
	"privileged":        ignored,
	"restart-policy":    ignored,
	"runtime":           ignored,
	"security-opts":     ignored,
	"shm-size":          ignored,

	"certificate":             refused,
	"components":              refused,
	"config":                  refused,
	"devices":                 refused,
	"dns":                     refused,
	"enforce-startup-config":  refused,
	"env-files":               refused,
	"extras":                  refused,
	"license":                 refused,
	"link-apply-mode":         refused,
	"network-mode":            refused,
	"pid-mode":                refused,
	"stages":                  refused,
	"startup-config":          refused,
	"suppress-startup-config": refused,
	"tmpfs":                   refused,
	"type":                    refused,
	"user":                    refused,
	"volumes":                 refused,
}

// linkKeys are the keys of a link.
var linkKeys = map[string]use{
	"type":      acted,
	"endpoints": acted,
	"mtu":       acted,

	"labels": ignored,
	"vars":   ignored,

	"endpoint":       refused,
	"host-interface": refused,
	"ipv4":           refused,
	"ipv6":           refused,
	"mode":           refused,
	"remote":         refused,
	"vni":            refused,
	"dst-port":       refused,
	"src-port":       refused,
}

// endpointKeys are the keys of a link's end in its long form.
var endpointKeys = map[string]use{
	"node":      acted,
	"interface": acted,
	"mac":       acted,
	"vars":      ignored,
	"ipv4":      refused,
	"ipv6":      refused,
}

// fileKeys are the top-level keys, topologyKeys those below topology.
var (
	fileKeys = map[string]use{
		"name": acted, "topology": acted,
		"prefix": ignored, "mgmt": ignored, "debug": ignored, "settings": ignored,
	}
	topologyKeys = map[string]use{
		"nodes": acted, "links": acted, "defaults": acted, "kinds": acted, "groups": acted,
	}
)

// known returns the entries that table acts on, and reports those that it refuses
// or does not know.
func (d *decoder) known(v at, table map[string]use) map[string]entry {
	found := make(map[string]entry)
	for _, e := range d.mapping(v) {
		switch table[e.key] {
		case acted:
			if _, twice := found[e.key]; twice {
				d.problem(e.name, "is given twice")
			}
			found[e.key] = e
		case ignored:
		case refused:
			d.problem(e.name, "is a key of containerlab that anyvip-lab cannot honour; remove it")
		case unknown:
			d.problem(e.name, "unknown key; %s", suggest(e.key, table))
		}
	}
	return found
}

// suggest names the key that was probably meant, or all keys that are possible.
func suggest(key string, table map[string]use) string {
	keys := slices.Sorted(maps.Keys(table))
	keys = slices.DeleteFunc(keys, func(k string) bool { return table[k] == refused })
	best := slices.MinFunc(keys, func(a, b string) int { return distance(key, a) - distance(key, b) })
	if distance(key, best) <= 2 {
		return fmt.Sprintf("did you mean %q?", best)
	}
	keys = slices.DeleteFunc(keys, func(k string) bool { return table[k] == ignored })
	return "possible are " + strings.Join(keys, ", ")
}

// distance is the Levenshtein distance of two short words.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
