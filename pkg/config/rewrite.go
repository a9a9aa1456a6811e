package config

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// Rewrite returns a valid file's text with other values at some paths, such as
// services[2].vrrp.priority: words or numbers that need no quotes. Keys that are not
// there are added. All else stays as it is, comments too.
func Rewrite(data []byte, values map[string]string) ([]byte, error) {
	text := strings.TrimPrefix(string(data), "\ufeff")
	root, problems := parse([]byte(text))
	if root == nil {
		return nil, &Invalid{Problems: problems}
	}
	var edits []edit
	for _, path := range slices.Sorted(maps.Keys(values)) {
		e, err := editAt(root, strings.Split(path, "."), values[path])
		if err != nil {
			return nil, fmt.Errorf("%s: %w; write %s there", path, err, values[path])
		}
		edits = append(edits, e)
	}
	slices.SortStableFunc(edits, func(a, b edit) int {
		return cmp.Or(cmp.Compare(b.at.line, a.at.line), cmp.Compare(b.at.column, a.at.column))
	})
	lines := strings.SplitAfter(text, "\n")
	for _, e := range edits {
		line := []rune(lines[e.at.line-1])
		before, after := string(line[:e.at.column-1]), string(line[e.at.column-1:])
		after, ok := strings.CutPrefix(after, e.old)
		if !ok {
			return nil, fmt.Errorf("line %d, column %d: is not %q, as the parser says", e.at.line, e.at.column, e.old)
		}
		lines[e.at.line-1] = before + e.new + after
	}
	return []byte(strings.Join(lines, "")), nil
}

// edit puts one text in place of another, which stands in one line or is empty.
type edit struct {
	at       position
	old, new string
}

// editAt is the edit that gives a value to the end of a way into n.
func editAt(n ast.Node, way []string, value string) (edit, error) {
	values, flow := mappingOf(n)
	if len(values) == 0 {
		return edit{}, fmt.Errorf("there is no mapping for %s", way[0])
	}
	key, index, inList := strings.Cut(strings.TrimSuffix(way[0], "]"), "[")
	i := slices.IndexFunc(values, func(v *ast.MappingValueNode) bool { name, _ := keyText(v.Key); return name == key })
	if i < 0 && !inList {
		return addition(n, flow, way, value), nil
	}
	if i < 0 {
		return edit{}, fmt.Errorf("there is no %s", key)
	}
	child := values[i].Value
	if inList {
		list, ok := child.(*ast.SequenceNode)
		at, err := strconv.Atoi(index)
		if !ok || err != nil || at >= len(list.Values) {
			return edit{}, fmt.Errorf("there is no %s", way[0])
		}
		child = list.Values[at]
	}
	if len(way) > 1 {
		return editAt(child, way[1:], value)
	}
	return edit{start(child), strings.TrimSpace(child.GetToken().Origin), value}, nil
}

// addition is the edit that puts a way and its value before all else in a mapping.
func addition(n ast.Node, flow bool, way []string, value string) edit {
	at := start(n)
	text := way[len(way)-1] + ": " + value
	for _, key := range slices.Backward(way[:len(way)-1]) {
		text = key + ": {" + text + "}"
	}
	if flow {
		values, _ := mappingOf(n)
		return edit{at: start(values[0].Key), new: text + ", "}
	}
	return edit{at: at, new: text + "\n" + strings.Repeat(" ", at.column-1)}
}

// mappingOf are the pairs of a mapping, none for anything else, and whether it is
// written in braces.
func mappingOf(n ast.Node) (values []*ast.MappingValueNode, flow bool) {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values, n.IsFlowStyle
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, false
	}
	return nil, false
}
