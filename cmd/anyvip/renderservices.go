package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/anyvip/anyvip/pkg/balance"
	"github.com/anyvip/anyvip/pkg/config"
)

// yaml is what goes into the file of one node, or of all: one document for each.
func (p *proposal) yaml(node string) (string, error) {
	var documents []string
	for n, name := range p.Nodes {
		if node != "" && node != name {
			continue
		}
		text := p.fragment(n)
		if p.from != nil {
			var err error
			if text, err = p.rewritten(n); err != nil {
				return "", err
			}
		}
		if node == "" {
			text = fmt.Sprintf("# %s\n%s", name, text)
		}
		documents = append(documents, text)
	}
	return strings.Join(documents, "---\n"), nil
}

// fragment is the services of a node.
func (p *proposal) fragment(n int) string {
	var b strings.Builder
	b.WriteString("services:\n")
	for _, v := range p.vips {
		addresses := make([]string, len(v.addresses))
		for j, h := range v.addresses {
			addresses[j] = yamlWord(written(h))
		}
		fmt.Fprintf(&b, "  - name: %s\n    mode: vrrp\n    addresses: [%s]\n    require: %s\n", yamlWord(v.name), strings.Join(addresses, ", "), p.requirement())
		fmt.Fprintf(&b, "    vrrp: {interface: %s, vrid: %d, priority: %d, degraded: {lower_by: %d}} # %s\n",
			yamlWord(v.link), v.balanced().VRID, p.Priority(v.place, n), balance.LowerBy, strings.Join(p.order(v.place), ", then "))
	}
	return b.String()
}

// order is the nodes that have a VIP, one after the other.
func (p *proposal) order(place int) (names []string) {
	for _, n := range p.Orders[place] {
		names = append(names, p.Nodes[n])
	}
	return names
}

func (p *proposal) requirement() string {
	if len(p.require) == 0 {
		return "none # a server whose service is dead keeps the address"
	}
	var list []string
	for _, check := range p.require {
		list = append(list, yamlWord(check))
	}
	return "{all: [" + strings.Join(list, ", ") + "]}"
}

var (
	plainWord  = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._-]*$`)
	plainIPv4  = regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+(/[0-9]+)?$`)
	otherWords = []string{"true", "false", "null", "none"}
)

// yamlWord is a text that YAML reads as this text.
func yamlWord(s string) string {
	if plainIPv4.MatchString(s) || plainWord.MatchString(s) && !slices.Contains(otherWords, strings.ToLower(s)) {
		return s
	}
	return strconv.Quote(s)
}

// validate finds what check-config would refuse, before anybody pastes it.
func (p *proposal) validate() error {
	var checks strings.Builder
	for i, check := range p.require {
		if i == 0 {
			checks.WriteString("checks:\n")
		}
		fmt.Fprintf(&checks, "  - name: %s\n    tcp: {address: \"127.0.0.1:1\"}\n", yamlWord(check))
	}
	for n, name := range p.Nodes {
		text := "node: " + yamlWord(name) + "\n"
		if p.from == nil {
			text += checks.String() + p.fragment(n)
		}
		_, _, err := config.Parse("", []byte(text), "")
		var invalid *config.Invalid
		if !errors.As(err, &invalid) {
			continue
		}
		var lines []string
		for _, problem := range invalid.Problems {
			lines = append(lines, problem.Problem.String())
		}
		return usageError{fmt.Errorf("%s\n%s", count(len(lines), "problem"), strings.Join(lines, "\n"))}
	}
	return nil
}

// rewritten is the file with the priorities of a node.
func (p *proposal) rewritten(n int) (string, error) {
	values := map[string]string{}
	want := *p.from.Config
	want.Services = slices.Clone(want.Services)
	if want.Node != "" {
		want.Node = p.Nodes[n]
		values["node"] = yamlWord(want.Node)
	}
	for _, v := range p.vips {
		s := &want.Services[v.service]
		if s.Fallback != nil {
			own := *s.Fallback
			s.Fallback = &own
		}
		r, key := s.VirtualRouters()
		path := fmt.Sprintf("services[%d].%s.", v.service, key)
		r.Priority = p.Priority(v.place, n)
		values[path+"priority"] = fmt.Sprint(r.Priority)
		if r.Degraded.LowerBy != balance.LowerBy {
			r.Degraded.LowerBy = balance.LowerBy
			values[path+"degraded.lower_by"] = fmt.Sprint(balance.LowerBy)
		}
	}
	text, err := config.Rewrite(p.from.data, values)
	if err != nil {
		return "", fmt.Errorf("%s: %w", p.from.file, err)
	}
	got, _, err := config.Parse(p.from.file, text, "")
	if err != nil {
		return "", fmt.Errorf("for node %s: %w", p.Nodes[n], counted(err))
	}
	if !got.Equal(&want) {
		return "", fmt.Errorf("%s: is written in a way that cannot be changed safely; write the priorities of the table there by hand", p.from.file)
	}
	return string(text), nil
}
